"""From the outbox to the event stream: in sequence, at least once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from daemons.bus import BusError, EventStream
from daemons.forwarder.journal import Journal
from daemons.forwarder.ledger import PendingEvent
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.outlet import Outlet
from daemons.forwarder.patience import Patience
from daemons.runtime.errors import ArrieroError

_log = structlog.get_logger(__name__)


class Announcer(Outlet):
    """Publishes what is in the outbox.

    Several publications are under way at the same time. What is noted as published
    is always a beginning of the sequence: where one fails, those after it are
    published again, so that consumers never miss one that came before another.

    Parameters
    ----------
    stream
        The event stream.
    journal
        The outbox.
    patience
        How a stream that is away is waited for.
    live
        The settings.
    metrics
        Measures.
    """

    def __init__(
        self,
        stream: EventStream,
        *,
        journal: Journal,
        patience: Patience,
        live: LiveSettings,
        metrics: ForwarderMetrics,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._journal = journal
        self._patience = patience
        self._live = live
        self._metrics = metrics

    async def _take_out(self) -> bool:
        events = await self._journal.pending(self._live.settings.publish_window)
        if events:
            await self._publish(events)
        return bool(events)

    async def _publish(self, events: Sequence[PendingEvent]) -> None:
        tasks = [
            asyncio.create_task(self._publish_one(event), name=f"publish-{event.sequence}")
            for event in events
        ]
        try:
            outcomes = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        done: list[int] = []
        failure: Exception | None = None
        for event, error in zip(events, outcomes, strict=True):
            if error is not None and not _for_good(error):
                failure = error
                break
            if error is not None:
                await self._refused(event, error)
            else:
                done.append(event.sequence)
                self._metrics.stage.labels("announce").observe(self._metrics.age(event.created_at))
        if done:
            await self._journal.published(done)
            self._metrics.published.inc(len(done))
        if failure is not None:
            self._metrics.failure("announce", _code(failure))
            await self._patience.failed(failure)
        else:
            self._patience.succeeded("reached")

    async def _publish_one(self, pending: PendingEvent) -> Exception | None:
        timeout_s = self._live.settings.publish_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._stream.publish(pending.event)
        except TimeoutError:
            return TimeoutError(f"the event stream gave no answer within {timeout_s:g} s")
        except ArrieroError as error:
            return error
        return None

    async def _refused(self, pending: PendingEvent, error: Exception) -> None:
        """Leave out an event that the stream refuses for good, so that the others go on."""
        self._metrics.failure("announce", _code(error))
        _log.error(
            "event_refused",
            sequence=pending.sequence,
            type=pending.event.type,
            subject=pending.event.subject,
            error=str(error),
        )
        await self._journal.refused(pending.sequence, str(error))


def _for_good(error: Exception) -> bool:
    return isinstance(error, BusError) and not error.retryable


def _code(error: Exception) -> str:
    return error.code if isinstance(error, ArrieroError) else "timeout"
