from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemons.bus import Topic
from headerservice.quality import Method, Quality, Resolved
from headerservice.rules import (
    Dating,
    Gate,
    Interpolation,
    KeywordRule,
    ReadingRule,
    Source,
)
from headerservice.sampling import between, sample_at, sample_over
from headerservice.series import Sample, Series

T0 = 1_795_273_000.0
TOPIC = Topic("MTMount", "azimuth")


def source(max_age_s: float | None = 3.0) -> Source:
    return Source(TOPIC, "x", Dating("timestamp", max_age_s=max_age_s))


def rule(how: str = "linear", pick: str | None = None, **reading: Any) -> KeywordRule:
    return KeywordRule(
        keyword="X",
        comment="x",
        required=True,
        reading=ReadingRule(type=reading.pop("type", "float"), **reading),
        sources=(source(),),
        at="start_of_integration",
        interpolation=Interpolation(how),
        pick=pick,
    )


def series(*values: tuple[float, Any], expires: float | None = None, **others: Any) -> Series:
    made = Series(capacity=100_000)
    for number, (time, value) in enumerate(values):
        made.insert(Sample(T0 + time, expires, {"x": value, **others}, (T0 + time, number, 1)))
    return made


def at(instant: float, values: Series, how: str = "linear", **options: Any) -> Resolved:
    age = options.pop("max_age_s", 3.0)
    return sample_at(rule(how, **options), source(age), values, T0 + instant)


@given(
    period=st.floats(0.05, 1.0),
    phase=st.floats(0.0, 1.0),
    speed=st.floats(-4.0, 4.0),
    jerk=st.floats(-0.01, 0.01),
    begin=st.floats(0.0, 360.0),
    instant=st.floats(5.0, 15.0),
)
def test_a_moving_angle_is_sampled_within_twenty_milliseconds_of_the_instant(
    period: float, phase: float, speed: float, jerk: float, begin: float, instant: float
) -> None:
    # A slewing mount: up to 4 deg/s, speeding up; positions on the bus are within [0, 360).
    assume(abs(speed) > 0.01)

    def position(time: float) -> float:
        return begin + speed * time + jerk * time * time

    times = [index * period + phase * period for index in range(-1, int(20 / period))]
    values = series(*((time, position(time) % 360.0) for time in times))
    found = at(instant, values, "angular", period=360.0)
    assert found.quality is Quality.GOOD
    assert found.method is Method.INTERPOLATED
    error = (float(found.value or 0.0) - position(instant) + 180.0) % 360.0 - 180.0
    rate = abs(speed + 2 * jerk * instant)
    assume(rate > abs(jerk) * period * period / 0.05)
    assert abs(error) <= rate * 0.020
    assert 0.0 <= float(found.value or 0.0) < 360.0


@given(start=st.floats(0, 359.999), arc=st.floats(-179.9, 179.9), fraction=st.floats(0.0, 1.0))
def test_an_angle_takes_the_shorter_arc(start: float, arc: float, fraction: float) -> None:
    angle = ReadingRule(type="float", period=360.0)
    value = between(angle, start, (start + arc) % 360.0, fraction)
    away = (value - start - arc * fraction + 180.0) % 360.0 - 180.0
    assert abs(away) < 1e-9
    assert 0.0 <= value < 360.0


@pytest.mark.parametrize(
    ("first", "second", "turn", "expected"),
    [
        (359.9, 0.1, 360.0, 0.0),
        (0.1, 359.9, 360.0, 0.0),
        (179.9, -179.9, 360.0, -180.0),
        (-0.1, 0.1, 360.0, 0.0),
        (11.9, -11.9, 24.0, -12.0),
        (-250.0, -249.0, 360.0, -249.5),
    ],
)
def test_an_angle_comes_round_where_its_ends_do(
    first: float, second: float, turn: float, expected: float
) -> None:
    angle = ReadingRule(type="float", period=turn)
    assert between(angle, first, second, 0.5) == pytest.approx(expected, abs=1e-9)


def test_a_sample_may_come_after_the_event() -> None:
    values = series((0.0, 10.0))
    early = at(0.5, values)
    assert (early.value, early.method, early.settled) == (10.0, Method.HELD, False)
    values.insert(Sample(T0 + 1.0, None, {"x": 20.0}, (T0 + 1.0, 9, 1)))
    late = at(0.5, values)
    assert (late.value, late.method, late.settled) == (15.0, Method.INTERPOLATED, True)
    assert late.age_s == pytest.approx(0.5)


def test_what_is_too_old_is_stale_and_not_a_value() -> None:
    found = at(10.0, series((0.0, 10.0)))
    assert (found.value, found.quality, found.seen) == (None, Quality.STALE, 10.0)
    assert found.age_s == pytest.approx(10.0)
    assert "10.0 s away" in found.reason


def test_a_gap_is_not_bridged_from_a_sample_that_is_too_far() -> None:
    # 1 s after the last sample before a gap of 100 s in which the mount slewed.
    found = at(1.0, series((0.0, 10.0), (100.0, 90.0)))
    assert (found.value, found.method) == (10.0, Method.HELD)


def test_a_sample_that_says_nothing_takes_no_part_in_an_interpolation() -> None:
    unset = {"unset": frozenset({0.0})}
    assert at(0.5, series((0.0, 0.0), (1.0, 20.0)), **unset).value == 20.0
    assert at(0.5, series((0.0, 10.0), (1.0, 0.0)), **unset).value == 10.0
    assert at(0.5, series((0.0, 0.0), (1.0, 0.0)), **unset).quality is Quality.DEFAULT
    assert at(0.5, series((0.0, math.nan), (1.0, 20.0))).value == 20.0
    gated = at(0.5, series((0.0, 1.0), (1.0, 1.0), am=0.0), gate=Gate("am", minimum=1.0))
    assert gated.quality is Quality.NOT_APPLICABLE


def test_nothing_heard_is_missing() -> None:
    assert at(0.0, series()).quality is Quality.MISSING
    assert at(0.0, series(), "step").quality is Quality.MISSING


def test_an_event_counts_from_its_time_on() -> None:
    values = series((0.0, 1.0), (5.0, 2.0))
    assert at(5.0, values, "step", max_age_s=None).value == 2.0
    assert at(4.999, values, "step", max_age_s=None).value == 1.0
    first = at(-1.0, values, "step", max_age_s=None)
    assert first.quality is Quality.MISSING
    assert "1.0 s after the instant" in first.reason


def test_a_sample_that_expired_is_stale() -> None:
    values = series((0.0, 0.8), expires=T0 + 60.0)
    assert at(59.0, values, "step", max_age_s=None).value == 0.8
    assert at(61.0, values, "step", max_age_s=None).quality is Quality.STALE


def test_a_value_that_cannot_be_true_is_told_and_not_written() -> None:
    found = at(0.5, series((0.0, 0.2), (1.0, 0.4)), range=(1.0, 40.0))
    assert (found.value, found.quality) == (None, Quality.OUT_OF_RANGE)
    assert found.seen == pytest.approx(0.3)


def over(pick: str, values: Series, begin: float, end: float) -> Resolved:
    members = {0: "UNKNOWN", 1: "NO", 2: "PARTIALLY", 3: "FULLY"}
    chosen = rule("step", pick, type="str", enum=members, unset=frozenset({0}))
    return sample_over(chosen, source(None), values, T0 + begin, T0 + end)


def test_extremes_of_an_exposure_begin_with_what_held_at_its_start() -> None:
    values = series((-50.0, 3), (5.0, 2), (8.0, 1), (20.0, 3))
    assert over("max", values, 0.0, 15.0).value == "FULLY"
    assert over("min", values, 0.0, 15.0).value == "NO"
    assert over("latest", values, 0.0, 15.0).value == "NO"
    assert over("max", values, 6.0, 15.0).value == "PARTIALLY"


def test_an_unknown_state_is_no_extreme() -> None:
    assert over("min", series((-1.0, 0), (5.0, 2)), 0.0, 15.0).value == "PARTIALLY"
    nothing = over("min", series((-1.0, 0)), 0.0, 15.0)
    assert nothing.quality is Quality.DEFAULT
    assert over("max", series(), 0.0, 15.0).quality is Quality.MISSING


def test_provenance_survives_the_journal() -> None:
    found = at(0.5, series((0.0, 10.0), (1.0, 20.0)))
    assert Resolved.from_json(found.to_json()) == found


def measured(
    pick: str, values: Series, how: str = "linear", max_age_s: float | None = 3.0, **reading: Any
) -> Resolved:
    """Return what a measured quantity did from 0 to 10 s."""
    return sample_over(rule(how, pick, **reading), source(max_age_s), values, T0, T0 + 10.0)


def test_a_mean_and_extremes_over_an_exposure_are_of_the_exposure_alone() -> None:
    values = series(*((float(time), 2.0 * time) for time in range(-5, 16)))
    assert measured("mean", values).value == pytest.approx(10.0)
    assert measured("min", values).value == pytest.approx(0.0)
    assert measured("max", values).value == pytest.approx(20.0)
    assert measured("latest", values).value == pytest.approx(20.0)
    found = measured("mean", values)
    assert (found.quality, found.method, found.settled) == (Quality.GOOD, Method.MEAN, True)


def test_the_mean_of_an_angle_that_comes_round_is_between_its_ends() -> None:
    values = series(*((float(time), (355.0 + time) % 360.0) for time in range(-5, 16)))
    assert measured("mean", values, "angular", period=360.0).value == pytest.approx(0.0, abs=1e-9)
    around = series(*((float(time), (174.0 + time + 180) % 360 - 180) for time in range(-5, 16)))
    found = measured("mean", around, "angular", period=360.0)
    assert found.value == pytest.approx(179.0, abs=1e-9)


def test_units_ranges_and_decimals_hold_for_a_mean_too() -> None:
    values = series(*((float(time), 1000.0 + time) for time in range(-5, 16)))
    assert measured("mean", values, scale=1e-3, decimals=3).value == 1.005
    found = measured("mean", values, range=(0.0, 100.0))
    assert (found.value, found.quality) == (None, Quality.OUT_OF_RANGE)


def test_a_statistic_over_a_gap_stands_and_says_so() -> None:
    times = [time for time in range(-5, 16) if not 2 < time < 7]
    found = measured("mean", series(*((float(time), 5.0) for time in times)))
    assert (found.value, found.quality, found.good) == (5.0, Quality.BRIDGED, True)
    assert "no sample for 5.0 s of the exposure" in found.reason


def test_a_statistic_of_little_of_an_exposure_is_no_value() -> None:
    found = measured("mean", series(*((float(time), 5.0) for time in range(-5, 2))))
    assert (found.value, found.quality, found.settled) == (None, Quality.STALE, False)
    assert "cover only 40% of the exposure" in found.reason


def test_a_mean_of_values_that_say_nothing_says_why() -> None:
    values = series(*((float(time), 0.0) for time in range(-5, 16)))
    found = measured("mean", values, unset=frozenset({0.0}))
    assert (found.value, found.quality) == (None, Quality.DEFAULT)
    assert measured("mean", series()).quality is Quality.MISSING


def test_a_mean_waits_for_the_sample_after_the_end() -> None:
    values = series(*((float(time), 1.0 * time) for time in range(-5, 10)))
    assert not measured("mean", values).settled
    values.insert(Sample(T0 + 10.5, None, {"x": 10.5}, (T0 + 10.5, 99, 1)))
    assert measured("mean", values).settled
    assert measured("mean", values).value == pytest.approx(5.0)


def test_a_value_between_samples_that_are_usually_nearer_says_so() -> None:
    dense = [(0.05 * step, 1.0 * step) for step in range(-40, 1)]
    found = at(1.0, series(*dense, (2.0, 40.0), (2.05, 41.0)))
    assert found.value == pytest.approx(20.0)
    assert (found.quality, found.method, found.good) == (
        *(Quality.BRIDGED, Method.INTERPOLATED),
        True,
    )
    assert "2.0 s are between the samples around the instant, usually 0.05 s" in found.reason
    even = at(1.0, series(*((0.5 * step, 1.0 * step) for step in range(-20, 20))))
    assert even.quality is Quality.GOOD
