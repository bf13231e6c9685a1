"""Waiting for a dependency that is away: together, with full jitter, as long as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from daemons.forwarder.errors import DrainingError
from daemons.runtime.errors import ArrieroError
from daemons.runtime.health import HealthBoard

_log = structlog.get_logger(__name__)


def longest_wait_s(away_s: float, *, first_s: float, most_s: float) -> float:
    """Return the bound of the next wait: as long as the outage has lasted, within limits.

    So the waits grow exponentially with one client, and do not grow faster when
    many fail together. The wait itself is drawn evenly below the bound (Brooker,
    "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
    """
    return min(most_s, max(first_s, away_s))


class Patience:
    """How the tasks of a service wait for one dependency, and what the health board says of it.

    Parameters
    ----------
    name
        The dependency's name on the health board.
    health
        Where its state is reported.
    draining
        Set when the service ends: whoever waits gives up with `DrainingError`.
    first_s, most_s
        Bounds of the wait, seconds.
    monotonic
        Seconds on a clock that never steps.
    """

    def __init__(
        self,
        name: str,
        health: HealthBoard,
        *,
        draining: asyncio.Event | None = None,
        first_s: float = 0.25,
        most_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._health = health
        self._draining = draining
        self._first_s = first_s
        self._most_s = most_s
        self._monotonic = monotonic
        self._away_since: float | None = None
        self._back = asyncio.Event()

    @property
    def away(self) -> bool:
        """True while the dependency is out of reach."""
        return self._away_since is not None

    def succeeded(self, reason: str) -> None:
        """Say that it is there; whoever waits tries again at once."""
        if self._away_since is not None:
            _log.info("dependency_back", dependency=self.name)
        self._away_since = None
        self._back.set()
        self._health.report(self.name, ok=True, reason=reason)

    def slow(self, reason: str) -> None:
        """Say that it has not answered for a while; somebody still waits for the answer."""
        self._health.report(self.name, ok=False, reason=reason)

    async def failed(self, error: BaseException) -> None:
        """Say that it is away, and wait before the next attempt.

        Raises
        ------
        DrainingError
            The service ends; what is in hand is taken up again at the next start.
        """
        now = self._monotonic()
        if self._away_since is None:
            self._away_since = now
            self._back.clear()
            code = error.code if isinstance(error, ArrieroError) else type(error).__name__
            _log.warning("dependency_away", dependency=self.name, code=code, error=_words(error))
        self._health.report(self.name, ok=False, reason=_words(error))
        bound = longest_wait_s(now - self._away_since, first_s=self._first_s, most_s=self._most_s)
        await self._wait(random.uniform(0.0, bound))  # noqa: S311 - spreads load, guards nothing

    async def _wait(self, seconds: float) -> None:
        if self._draining is None:
            await _first_of(seconds, self._back)
            return
        if not self._draining.is_set():
            await _first_of(seconds, self._back, self._draining)
        if self._draining.is_set():
            raise DrainingError(
                f"{self.name} is away and the service ends; this is taken up again when it starts"
            )


async def _first_of(seconds: float, *events: asyncio.Event) -> None:
    """Return when the time is over or one of the events is set."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
