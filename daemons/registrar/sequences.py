"""Events that were lost on their way: noticed by their numbers, asked for at the sender.

It reads the whole event stream as a group of its own, so one registrar of a
facility does it for all (`watch_gaps`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from daemons.bus import BusError, BusUnavailableError, Delivery, EventStream
from daemons.events import Event, EventsForgotten, EventsMissed, InvalidEventError, new_event
from daemons.events.gaps import GapWatch
from daemons.runtime.clock import Clock

_FLUSH_S = 1.0
"""How often what is known is written down, and what was read acknowledged."""
_AWAY_S = 2.0

_log = structlog.get_logger(__name__)


class Memory(Protocol):
    """Where what is known outlasts a restart."""

    async def load(self) -> dict[str, Any]:
        """Return what was saved; empty at first."""
        ...

    async def save(self, state: dict[str, Any]) -> None:
        """Keep it."""
        ...


class SequenceWatch:
    """Reads the numbers of all events.

    Parameters
    ----------
    stream
        The event stream.
    group
        Consumer group; nobody else's.
    source
        CloudEvents `source` of our requests.
    memory
        Where what is known is kept.
    patience_s
        How long a number may stay away, seconds.
    clock
        The time.
    registry
        Where the metrics are kept.
    """

    def __init__(
        self,
        stream: EventStream,
        *,
        group: str,
        source: str,
        memory: Memory,
        patience_s: float,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._stream = stream
        self._group = group
        self._source = source
        self._memory = memory
        self._clock = clock
        self._watch = GapWatch(patience_s=patience_s)
        self._unacknowledged: list[Delivery[Event]] = []
        self._changed = False
        self._missing = Gauge(
            "arriero_events_missing", "Events that were not seen yet by number.", registry=registry
        )
        self._lost = Counter(
            "arriero_events_lost", "Missed events that their sender has no more.", registry=registry
        )
        self._missing.set_function(
            lambda: float(sum(gap.last - gap.first + 1 for _, gap in self._watch.gaps()))
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        self._watch.load(await self._memory.load())
        while True:
            self._unacknowledged.clear()
            try:
                async with (
                    self._stream.subscribe(self._group) as events,
                    asyncio.TaskGroup() as tasks,
                ):
                    flushing = tasks.create_task(
                        self._repeat(self._flush, _FLUSH_S), name="registrar-gaps-flush"
                    )
                    async for delivery in events:
                        self._take(delivery)
                    flushing.cancel()
            except* BusUnavailableError as away:
                _log.warning("gap_watch_away", error=str(away.exceptions[0]))
            await asyncio.sleep(_AWAY_S)

    def _take(self, delivery: Delivery[Event]) -> None:
        event = delivery.message
        self._unacknowledged.append(delivery)
        if event.type == EventsForgotten.event_type:
            self._forgotten(event)
        with contextlib.suppress(ValueError):
            if event.sequence is not None and self._watch.see(
                event.source, int(event.sequence), self._clock.utc()
            ):
                self._changed = True

    def _forgotten(self, event: Event) -> None:
        try:
            fact = event.read(EventsForgotten)
        except InvalidEventError as error:
            _log.warning("event_ignored", event_id=event.id, reason=str(error))
            return
        lost = self._watch.give_up(fact.of_source, range(fact.first, fact.last + 1))
        if lost:
            self._changed = True
            self._lost.inc(lost)
            _log.error(
                "events_lost", source=fact.of_source, first=fact.first, last=fact.last, lost=lost
            )

    async def _repeat(self, job: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            await job()

    async def _flush(self) -> None:
        """Write down what is known, acknowledge what it was known from, ask for what is missing."""
        taken, self._unacknowledged = self._unacknowledged, []
        if self._changed:
            self._changed = False
            await self._memory.save(self._watch.to_json())
        for delivery in taken:
            await delivery.ack()
        now = self._clock.utc()
        for source, gap in self._watch.ask(now):
            _log.warning("events_missed", source=source, first=gap.first, last=gap.last)
            fact = EventsMissed(
                of_source=source, first=gap.first, last=gap.last, reader=self._group
            )
            event = new_event(
                fact, source=self._source, key=f"{source}:{gap.first}:{gap.last}:{gap.asks}:{now}"
            )
            try:
                await self._stream.publish(event)
            except BusError as error:
                _log.warning("request_not_sent", error=str(error))

    def status(self) -> list[dict[str, Any]]:
        """Return what is missing."""
        return [
            {"source": source, "first": gap.first, "last": gap.last, "asked": gap.asks}
            for source, gap in self._watch.gaps()
        ]
