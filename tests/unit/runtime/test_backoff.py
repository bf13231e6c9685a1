"""Waiting times between attempts, and waiting for what is away."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemons.runtime.errors import ArrieroError, UnavailableError
from daemons.runtime.health import HealthBoard
from daemons.runtime.retry import Backoff, is_retryable, retry_forever

BASES = st.floats(min_value=0.01, max_value=10)
FACTORS = st.floats(min_value=1, max_value=10)


@given(
    base_s=BASES,
    times=st.floats(min_value=1, max_value=100),
    factor=FACTORS,
    share=st.floats(min_value=0, max_value=1),
    seed=st.integers(),
    failures=st.integers(min_value=1, max_value=200),
)
def test_every_wait_is_between_floor_and_ceiling(
    base_s: float, times: float, factor: float, share: float, seed: int, failures: int
) -> None:
    floor_s, cap_s = base_s * share, base_s * times
    backoff = Backoff(
        base_s=base_s,
        cap_s=cap_s,
        factor=factor,
        floor_s=floor_s,
        random_source=random.Random(seed),
    )
    before = 0.0
    for _ in range(failures):
        ceiling = backoff.ceiling_s
        assert before <= ceiling <= cap_s
        assert floor_s * 0.999999 <= backoff.next_s() <= ceiling * 1.000001
        before = ceiling
    assert backoff.failures == failures
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.ceiling_s == base_s


def test_waits_are_spread_over_the_whole_range() -> None:
    waits = [Backoff(base_s=8, cap_s=8, floor_s=0).next_s() for _ in range(400)]
    assert min(waits) < 1
    assert max(waits) > 7


@pytest.mark.parametrize(
    "wrong", [{"base_s": 0.01}, {"cap_s": 0.1}, {"factor": 0.5}, {"floor_s": -1.0}]
)
def test_a_backoff_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a backoff needs"):
        Backoff(**wrong)


def test_what_may_be_retried() -> None:
    assert is_retryable(UnavailableError("away"))
    assert is_retryable(ConnectionResetError())
    assert is_retryable(TimeoutError())
    assert not is_retryable(ArrieroError("broken"))
    assert not is_retryable(ValueError())


class Flaky:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.slept: list[float] = []

    async def __call__(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "connected"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_an_away_dependency_is_waited_for_and_reported() -> None:
    attempt = Flaky(UnavailableError("refused"), UnavailableError("refused"), TimeoutError())
    health = HealthBoard()
    heard: list[tuple[bool, str]] = []
    health.on_change(lambda known: heard.append((known.ok, known.reason)))
    with capture_logs() as logs:
        result = await retry_forever(
            attempt, dependency="broker", health=health, sleep=attempt.sleep
        )
    assert result == "connected"
    assert len(attempt.slept) == 3
    assert heard == [(False, "refused"), (True, "reached")]
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("dependency_away", "warning"),
        ("dependency_away", "debug"),
        ("dependency_away", "warning"),
        ("dependency_back", "info"),
    ]


async def test_success_at_once_says_nothing_and_is_reported() -> None:
    health = HealthBoard()
    with capture_logs() as logs:
        await retry_forever(Flaky(), dependency="broker", health=health)
    assert logs == []
    assert health.ready


async def test_what_waiting_cannot_mend_is_raised() -> None:
    attempt = Flaky(ArrieroError("wrong password"))
    with pytest.raises(ArrieroError, match="wrong password"):
        await retry_forever(attempt, dependency="broker", health=HealthBoard(), sleep=attempt.sleep)
    assert attempt.slept == []
