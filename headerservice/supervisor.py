"""Gives every exposure its worker, and a new one when a worker fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType

import structlog

from daemons.bus import ControlMessage
from headerservice import exposure as life
from headerservice.exposure import Phase, Timing
from headerservice.settings import HeaderServiceSettings
from headerservice.worker import Desk, ExposureWorker, Heard

_ATTEMPTS = 3
"""Workers that an exposure gets in one session, should they fail unexpectedly."""
_OLD_S = 30.0
"""An event that was sent so long ago comes from before a restart or an outage."""

_log = structlog.get_logger(__name__)


class Supervisor:
    """The workers of all exposures that are going on.

    Parameters
    ----------
    desk
        What they share.
    settings
        Their waiting times.
    """

    def __init__(self, desk: Desk, settings: HeaderServiceSettings) -> None:
        self._desk = desk
        self.settings = settings
        self._workers: dict[str, ExposureWorker] = {}
        self._failures: dict[str, int] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Take up what the journal has, say so, and work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for obs_id in await self._desk.journal.run(lambda journal: journal.unfinished()):
                    await self._open(obs_id, resume=True)
                ready()
                await asyncio.Event().wait()
            finally:
                self._group = None
                self._workers.clear()

    async def deliver(
        self, obs_id: str, message: ControlMessage, ack: Callable[[], Awaitable[None]]
    ) -> None:
        """Hand an event to its exposure, which is opened if need be."""
        heard = Heard(message, ack, self._desk.clock.monotonic())
        worker = self._workers.get(obs_id)
        if worker is None:
            old = self._desk.clock.tai() - message.sent > _OLD_S
            await self._open(obs_id, resume=old, first=heard)
        else:
            await worker.take(heard)

    def sample_came(self, message: ControlMessage) -> None:
        """Let the exposures know that wait for a message of this topic."""
        for worker in self._workers.values():
            if message.topic in worker.waits_for:
                worker.sample_came(float(message.sent))

    def use(self, desk: Desk) -> None:
        """Give exposures that begin from now on another desk, such as one with new definitions."""
        self._desk = desk

    @property
    def open(self) -> tuple[ExposureWorker, ...]:
        """The exposures that are going on, oldest first."""
        return tuple(self._workers.values())

    def phase_of(self, obs_id: str) -> str | None:
        """Return where an exposure is in its life; None for one that is not going on."""
        worker = self._workers.get(obs_id)
        return None if worker is None else worker.exposure.phase.value

    @property
    def unfinished(self) -> int:
        """Exposures without a final header."""
        return sum(worker.exposure.revision == 0 for worker in self._workers.values())

    def earliest(self) -> float | None:
        """Return the earliest time of the bus of which samples are still needed, TAI seconds."""
        known = [worker.began for worker in self._workers.values()]
        return min((began for began in known if began is not None), default=None)

    async def finished(self) -> None:
        """Return when no final header is due."""
        progress = self._desk.progress
        while any(worker.finishing for worker in self._workers.values()):
            progress.clear()
            await progress.wait()

    def timing(self, *, resumed: bool = False) -> Timing:
        """Return the waiting times of an exposure."""
        settings = self.settings
        return Timing(
            deadline_margin_s=settings.deadline_margin_s,
            settle_s=settings.settle_s,
            grace_s=max(settings.grace_s, settings.catch_up_grace_s if resumed else 0.0),
            revise_after_s=settings.revise_after_s,
            late_data_s=settings.late_data_s,
        )

    async def _open(self, obs_id: str, *, resume: bool, first: Heard | None = None) -> None:
        now = self._desk.steady.now()
        known = await self._desk.journal.run(lambda journal: journal.exposure(obs_id))
        timing = self.timing(resumed=resume)
        if known is None:
            earlier = await self._desk.journal.run(lambda journal: journal.messages_of(obs_id))
            messages = {message.topic: message for message in reversed(earlier)}
            fresh = life.opened(obs_id, now=now)
            known = replace(fresh, messages=MappingProxyType(messages)), {}
        elif known[0].phase is not Phase.PUBLISHED:
            known = life.resumed(known[0], timing=timing, now=now), known[1]
        exposure, sampled = known
        worker = ExposureWorker(
            exposure, sampled, desk=self._desk, timing=timing, early=self.settings.early
        )
        if first is not None:
            await worker.take(first)
        self._start(worker)

    def _start(self, worker: ExposureWorker) -> None:
        if self._group is None:
            return
        self._workers[worker.obs_id] = worker
        self._group.create_task(self._guard(worker), name=f"headerservice-exposure:{worker.obs_id}")

    async def _guard(self, worker: ExposureWorker) -> None:
        """Run a worker; should it fail, begin anew with what the journal has."""
        obs_id = worker.obs_id
        try:
            await worker.run()
        except Exception:  # noqa: BLE001 - a worker ends here; it is told, counted and begun anew
            _log.exception("exposure_failed", obs_id=obs_id)
            self._desk.metrics.crashes.inc()
            failures = self._failures[obs_id] = self._failures.get(obs_id, 0) + 1
            left = worker.left()
            self._workers.pop(obs_id, None)
            if failures < _ATTEMPTS:
                await asyncio.sleep(float(failures))
                await self._reopen(obs_id, left)
            else:
                _log.error(
                    "exposure_given_up",
                    obs_id=obs_id,
                    hint="it is taken up again when the service is enabled again",
                )
        else:
            self._workers.pop(obs_id, None)
            self._failures.pop(obs_id, None)
        finally:
            self._desk.progress.set()

    async def _reopen(self, obs_id: str, left: list[Heard]) -> None:
        if obs_id not in self._workers:
            await self._open(obs_id, resume=True)
        for heard in left:
            await self.deliver(obs_id, heard.message, heard.ack)
