"""From raw messages to deliveries of events; the same for every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from daemons.bus.interface import Delivery, PoisonMessage
from daemons.bus.metrics import BusMetrics
from daemons.bus.stream.dead_letters import DeadLetters
from daemons.events.envelope import Event, InvalidEventError, decode

_REASON_LENGTH = 2000
"""How much is said about a message that cannot be read."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """Bytes from a broker, and how to say that they are dealt with."""

    payload: bytes
    where: str
    """Topic, partition and offset, or the like."""
    acknowledge: Callable[[], None]
    is_current: Callable[[], bool]
    """False when the message comes again anyway, here or at another member."""


class MessageSource(Protocol):
    """What a transport gives a subscription."""

    async def ready(self) -> None:
        """Return once messages sent from now on will come."""
        ...

    async def next(self) -> RawMessage:
        """Return the next message; waits while the broker is away."""
        ...


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """One event, to be acknowledged."""

    message: Event
    _acknowledge: Callable[[], None]

    async def ack(self) -> None:
        """Say that the event is dealt with for good; the broker is told in the background."""
        self._acknowledge()


class EventSubscription:
    """An open subscription: iterate over it, from one task.

    Parameters
    ----------
    source
        Where raw messages come from.
    group
        Consumer group, for the figures.
    types
        Event types to deliver; the others are acknowledged unseen. None: all.
    dead_letters
        Takes what cannot be read.
    metrics
        Counts deliveries.
    """

    def __init__(
        self,
        source: MessageSource,
        *,
        group: str,
        types: Collection[str] | None,
        dead_letters: DeadLetters,
        metrics: BusMetrics,
    ) -> None:
        self._source = source
        self._types = None if types is None else frozenset(types)
        self._dead_letters = dead_letters
        self._delivered = metrics.delivered.labels(bus="event_stream", group=group)
        self._closed = asyncio.Event()
        self._pending: asyncio.Task[RawMessage] | None = None

    def __aiter__(self) -> AsyncIterator[Delivery[Event]]:
        return self

    async def __anext__(self) -> EventDelivery:
        while True:
            raw = await self._next()
            if raw is None:
                raise StopAsyncIteration
            delivery = self._read(raw) if raw.is_current() else None
            if delivery is not None:
                self._delivered.inc()
                return delivery

    async def ready(self) -> None:
        """Return once events announced from now on will be delivered, or when closed."""
        await self._unless_closed(self._source.ready())

    async def close(self) -> None:
        """End the iteration. Idempotent."""
        self._closed.set()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})

    def _read(self, raw: RawMessage) -> EventDelivery | None:
        try:
            event = decode(raw.payload)
        except InvalidEventError as error:
            reason = str(error)[:_REASON_LENGTH]
            poison = PoisonMessage(where=raw.where, payload=raw.payload, reason=reason)
            self._dead_letters.put(poison, raw.acknowledge)
            return None
        if self._types is not None and event.type not in self._types:
            raw.acknowledge()
            return None
        return EventDelivery(event, raw.acknowledge)

    async def _next(self) -> RawMessage | None:
        """Return the next message, or None when closed.

        The waiting task survives a cancellation of the caller: a message that
        it had already taken would otherwise be lost until the next restart.
        """
        if self._closed.is_set():
            return None
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._source.next())
        pending = self._pending
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({pending, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
        if self._closed.is_set() or not pending.done():
            return None
        self._pending = None
        return pending.result()

    async def _unless_closed(self, waiting: Awaitable[None]) -> None:
        task = asyncio.ensure_future(waiting)
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            closed.cancel()
