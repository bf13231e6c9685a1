"""Exposures against the clock: warned of, announced as late, announced as incomplete."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from daemons.forwarder import lateness
from daemons.forwarder.facts import Facts
from daemons.forwarder.journal import Journal
from daemons.forwarder.lateness import Deadlines, Lateness, Overdue
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.runtime.clock import Clock

_REMEMBERED = 1000
"""Exposures that are known to be known."""
_SHOWN = 12
"""Missing detectors that a log line names."""

_log = structlog.get_logger(__name__)


class DeadlineKeeper:
    """Says which exposures are late.

    Parameters
    ----------
    journal
        What is known of exposures.
    facts
        Makes the events.
    live
        The settings.
    metrics
        Measures.
    clock
        The time.
    announce
        Told that the outbox has something.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        facts: Facts,
        live: LiveSettings,
        metrics: ForwarderMetrics,
        clock: Clock,
        announce: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._facts = facts
        self._live = live
        self._metrics = metrics
        self._clock = clock
        self._announce = announce
        self._known: dict[str, None] = {}
        self._wake = asyncio.Event()

    def opened(self, obs_id: str) -> None:
        """Say that an image of an exposure came; its deadlines run."""
        if obs_id in self._known:
            return
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[obs_id] = None
        self._wake.set()

    async def run(self) -> None:
        """Keep the deadlines until cancelled."""
        while True:
            self._wake.clear()
            due = await self.step()
            wait_s = None if due is None else max(0.02, due - self._clock.utc())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def step(self) -> float | None:
        """Deal with what is due; return when something is next, UTC seconds."""
        settings = self._live.settings
        deadlines = Deadlines(
            settings.warn_after_s, settings.late_after_s, settings.incomplete_after_s
        )
        due = await self._journal.read("deadline", lambda base: lateness.next_due(base, deadlines))
        if due is None or due > self._clock.utc():
            return due
        overdue = await self._journal.write(
            "deadlines",
            lambda base: lateness.step(
                base,
                deadlines,
                settings.share,
                self._facts.exposure_shortfall,
                now=self._clock.utc(),
            ),
        )
        for each in overdue:
            self._tell(each)
        if any(each.lateness >= Lateness.LATE for each in overdue):
            self._announce()
        return await self._journal.read("deadline", lambda base: lateness.next_due(base, deadlines))

    def _tell(self, overdue: Overdue) -> None:
        self._metrics.late.labels(overdue.lateness.name.lower()).inc()
        missing = sorted(overdue.share.missing)
        _log.warning(
            f"exposure_{overdue.lateness.name.lower()}",
            obs_id=overdue.share.obs_id,
            seconds=round(overdue.age_s, 3),
            stored=len(overdue.share.stored),
            expected=len(overdue.share.wanted),
            missing=missing[:_SHOWN],
            more=max(0, len(missing) - _SHOWN),
        )
