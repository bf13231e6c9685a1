"""Trying again: how long to wait, and waiting for what is away.

Two kinds, not to be mixed:

* a *call* that may fail once in a while: `stamina.retry(on=is_retryable, ...)`,
  a few attempts within seconds;
* a *dependency* that is away, for minutes or a night: `retry_forever`, which
  says so on the `HealthBoard` and goes on until it is back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from daemons.runtime.errors import ArrieroError
from daemons.runtime.health import HealthBoard

_log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_MAX_EXPONENT = 60
"""Doubling more often than this overflows nothing and changes nothing."""


def is_retryable(error: Exception) -> bool:
    """Return whether the same call may succeed later without anybody changing anything."""
    if isinstance(error, ArrieroError):
        return error.retryable
    return isinstance(error, (ConnectionError, TimeoutError))


class Backoff:
    """Waiting times that grow from failure to failure, spread out at random ("full jitter").

    The n-th wait is uniform between `floor_s` and min(`cap_s`, `base_s` x `factor`^n), so
    that many clients of one broker do not come back in step.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Parameters
    ----------
    base_s
        Longest first wait.
    cap_s
        Longest wait of all.
    factor
        Growth of the longest wait from failure to failure; at least 1.
    floor_s
        Shortest wait.
    random_source
        Where chance comes from; None: the system's.
    """

    def __init__(
        self,
        *,
        base_s: float = 0.5,
        cap_s: float = 30.0,
        factor: float = 2.0,
        floor_s: float = 0.05,
        random_source: random.Random | None = None,
    ) -> None:
        if not 0 <= floor_s <= base_s <= cap_s or factor < 1:
            raise ValueError(
                "a backoff needs 0 <= floor_s <= base_s <= cap_s and factor >= 1, not "
                f"{floor_s}, {base_s}, {cap_s}, {factor}"
            )
        self._base_s = base_s
        self._cap_s = cap_s
        self._factor = factor
        self._floor_s = floor_s
        self._random = random_source or random.SystemRandom()
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    @property
    def ceiling_s(self) -> float:
        """Longest that the next wait can be."""
        growth = self._factor ** min(self._failures, _MAX_EXPONENT)
        return min(self._cap_s, self._base_s * growth)

    def next_s(self) -> float:
        """Count a failure and return how long to wait, seconds."""
        wait_s = self._random.uniform(self._floor_s, self.ceiling_s)
        self._failures += 1
        return wait_s

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._failures = 0


async def retry_forever(
    attempt: Callable[[], Awaitable[ResultT]],
    *,
    dependency: str,
    health: HealthBoard,
    backoff: Backoff | None = None,
    retry_on: Callable[[Exception], bool] = is_retryable,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ResultT:
    """Call until it succeeds; meanwhile the dependency is reported as away.

    Each attempt must bound its own time. The first failure and every change of
    its reason is a warning; success after failures is told too.

    Parameters
    ----------
    attempt
        What to call.
    dependency
        Name on the health board.
    health
        The board.
    backoff
        Waiting times; None: up to half a second at first, up to 30 s later.
    retry_on
        Which exceptions mean "away"; the others are raised.
    sleep
        How to wait.
    """
    backoff = Backoff() if backoff is None else backoff
    told = ""
    while True:
        try:
            result = await attempt()
        except Exception as error:
            if not retry_on(error):
                raise
            reason = str(error) or type(error).__name__
            health.report(dependency, ok=False, reason=reason)
            wait_s = backoff.next_s()
            level = _log.debug if reason == told else _log.warning
            level("dependency_away", dependency=dependency, reason=reason, retry_s=round(wait_s, 2))
            told = reason
            await sleep(wait_s)
        else:
            if told:
                _log.info("dependency_back", dependency=dependency, failures=backoff.failures)
            health.report(dependency, ok=True, reason="reached")
            backoff.reset()
            return result
