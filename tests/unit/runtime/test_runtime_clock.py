"""TAI and UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import erfa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.runtime.clock import (
    SystemClock,
    TaiSeconds,
    UtcSeconds,
    leap_seconds_expire,
    tai_minus_utc,
    tai_to_utc,
    utc_to_tai,
)


def utc(text: str) -> UtcSeconds:
    return UtcSeconds(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_tai_minus_utc_is_that_of_iers_bulletin_c() -> None:
    assert tai_minus_utc(utc("1972-01-01T00:00:00")) == 10
    assert tai_minus_utc(utc("2016-12-31T23:59:59")) == 36
    assert tai_minus_utc(utc("2017-01-01T00:00:00")) == 37


@given(st.integers(min_value=63_072_000, max_value=4_000_000_000))
def test_utc_to_tai_and_back_is_the_same_second(seconds: int) -> None:
    assert float(tai_to_utc(utc_to_tai(UtcSeconds(float(seconds))))) == seconds


@given(
    st.floats(min_value=63_072_100, max_value=4e9), st.floats(min_value=63_072_100, max_value=4e9)
)
def test_tai_never_runs_backwards(one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert utc_to_tai(UtcSeconds(early)) <= utc_to_tai(UtcSeconds(late))


def test_times_before_1972_are_refused() -> None:
    with pytest.raises(ValueError, match="1972"):
        tai_minus_utc(UtcSeconds(0.0))
    with pytest.raises(ValueError, match="1972"):
        tai_to_utc(TaiSeconds(0.0))


def test_system_clock_agrees_with_itself() -> None:
    clock = SystemClock()
    before, tai, after = clock.utc(), clock.tai(), clock.utc()
    assert before <= tai_to_utc(tai) <= after + 1e-6
    assert clock.monotonic() <= clock.monotonic()


def test_leap_second_table_tells_until_when_it_holds() -> None:
    assert leap_seconds_expire().utcoffset() == timedelta(0)
    assert leap_seconds_expire() > datetime(2025, 1, 1, tzinfo=UTC)


def test_leap_second_table_is_that_of_erfa() -> None:
    for row in erfa.leap_seconds.get():
        if row["year"] >= 1972:
            start = UtcSeconds(datetime(row["year"], row["month"], 1, tzinfo=UTC).timestamp())
            assert tai_minus_utc(start) == row["tai_utc"]
