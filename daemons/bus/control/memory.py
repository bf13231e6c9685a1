"""The control bus inside one process: the default of a demo, and the twin of Kafka in tests.

A `MemoryControlBroker` stands for the broker and keeps the log; each service has
its own `MemoryControlBus` on it, with its own identity. Like Kafka, the broker
keeps messages for those who read from an instant on or under a durable name, and
the last event of each topic and index for those who come late. `stop` and `start`
play a broker that is away.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog

from daemons.bus.control.private_fields import Stamper
from daemons.bus.interface import BusError, BusUnavailableError, ControlMessage, Topic
from daemons.bus.sal.dictionary import SalDictionary, load_dictionary
from daemons.runtime.clock import Clock, SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard

RETENTION = 20_000
"""Messages that a broker keeps, all topics together; about a minute of a whole
observatory's telemetry."""

_log = structlog.get_logger(__name__)


class MemoryControlBroker:
    """The log that all buses of a process share.

    Parameters
    ----------
    retention
        How many messages are kept for reading again; the last event of each topic
        and index is kept for ever.
    """

    def __init__(self, *, retention: int = RETENTION) -> None:
        self._retention = retention
        self._log: deque[ControlMessage] = deque()
        self._first = 0
        self._latest: dict[Topic, ControlMessage] = {}
        self._dropped_latest: dict[Topic, ControlMessage] = {}
        self._committed: dict[str, int] = {}
        self._readers: set[MemorySubscription] = set()
        self._listeners: list[Callable[[], None]] = []
        self._running = True

    @property
    def running(self) -> bool:
        """False between `stop` and `start`."""
        return self._running

    @property
    def end(self) -> int:
        """Offset that the next message gets."""
        return self._first + len(self._log)

    def stop(self) -> None:
        """Go away: nothing is taken and nothing is delivered until `start`."""
        self._running = False
        self._tell()
        for reader in self._readers:
            reader.wake()

    def start(self) -> None:
        """Come back with everything that was kept; what was not acknowledged comes again."""
        self._running = True
        self._tell()
        for reader in self._readers:
            reader.reconnected()

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each `stop` and `start`; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def append(self, message: ControlMessage) -> None:
        """Take a message for good and wake the readers.

        Raises
        ------
        BusUnavailableError
            The broker is stopped.
        """
        if not self._running:
            raise BusUnavailableError(
                f"the memory broker is stopped, so {message.topic} was not sent: start it"
            )
        self._log.append(message)
        if message.topic.is_event:
            self._latest[message.topic] = message
        if len(self._log) > self._retention:
            dropped = self._log.popleft()
            self._first += 1
            if dropped.topic.is_event:
                self._dropped_latest[dropped.topic] = dropped
        for reader in self._readers:
            reader.wake()

    def at(self, offset: int) -> ControlMessage:
        """Return the message at an offset that is kept."""
        return self._log[offset - self._first]

    @property
    def first(self) -> int:
        """Offset of the oldest message that is kept."""
        return self._first

    def offset_since(self, instant: TaiSeconds) -> int:
        """Return the offset of the first kept message that was sent at an instant or later."""
        for position, message in enumerate(self._log):
            if message.sent >= instant:
                return self._first + position
        return self.end

    def latest_before(self, offset: int) -> Mapping[Topic, ControlMessage]:
        """Return the last event of each topic and index before an offset."""
        if offset >= self.end:
            return dict(self._latest)
        known = dict(self._dropped_latest)
        for position in range(offset - self._first):
            message = self._log[position]
            if message.topic.is_event:
                known[message.topic] = message
        return known

    def attach(self, reader: MemorySubscription) -> None:
        """Let a reader know of what comes.

        Raises
        ------
        BusError
            Its durable name is in use.
        """
        if reader.durable is not None and any(
            other.durable == reader.durable for other in self._readers
        ):
            raise BusError(f"another subscription has the durable name {reader.durable}")
        self._readers.add(reader)

    def detach(self, reader: MemorySubscription) -> None:
        """Forget a reader; the position of its durable name stays."""
        self._readers.discard(reader)

    def committed(self, durable: str) -> int | None:
        """Return where the reader of a durable name goes on."""
        return self._committed.get(durable)

    def commit(self, durable: str, offset: int) -> None:
        """Keep where the reader of a durable name goes on."""
        self._committed[durable] = offset


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryDelivery:
    """A message of the memory bus."""

    message: ControlMessage
    _reader: MemorySubscription
    _offset: int | None

    async def ack(self) -> None:
        """Say that the message is dealt with for good."""
        if self._offset is not None:
            self._reader.acknowledge(self._offset)


class MemorySubscription:
    """A reader's place in the log; opened by `MemoryControlBus.subscribe`."""

    def __init__(
        self,
        broker: MemoryControlBroker,
        topics: Collection[Topic],
        *,
        durable: str | None,
        since: TaiSeconds | None,
        history: bool,
    ) -> None:
        self.durable = durable
        self._broker = broker
        self._topics = frozenset(topics)
        self._unacknowledged: set[int] = set()
        self._wake = asyncio.Event()
        self._closed = False
        self._cursor = self._begin(since)
        self._history: deque[ControlMessage] = deque()
        if history:
            last = broker.latest_before(self._cursor).values()
            self._history.extend(
                sorted((m for m in last if self._wants(m.topic)), key=lambda m: m.sent)
            )
        broker.attach(self)
        self._commit()

    def _begin(self, since: TaiSeconds | None) -> int:
        committed = None if self.durable is None else self._broker.committed(self.durable)
        if committed is not None:
            return max(committed, self._broker.first)
        if since is not None:
            return self._broker.offset_since(since)
        return self._broker.end

    def _wants(self, topic: Topic) -> bool:
        return topic in self._topics or dataclasses.replace(topic, index=0) in self._topics

    def wake(self) -> None:
        """Look again whether there is something to deliver."""
        self._wake.set()

    def reconnected(self) -> None:
        """Begin again, if durable, with what was not acknowledged: the broker is back."""
        committed = None if self.durable is None else self._broker.committed(self.durable)
        if committed is not None:
            self._cursor = committed
            self._unacknowledged.clear()
        self._wake.set()

    def acknowledge(self, offset: int) -> None:
        """Take an acknowledgement; one that comes after the end or a reconnection is void."""
        if self._closed or offset not in self._unacknowledged:
            return
        self._unacknowledged.discard(offset)
        self._commit()

    def _commit(self) -> None:
        if self.durable is not None:
            self._broker.commit(self.durable, min(self._unacknowledged, default=self._cursor))

    async def ready(self) -> None:
        """Return once messages sent from now on will be delivered."""
        while not self._broker.running and not self._closed:
            self._wake.clear()
            await self._wake.wait()

    def __aiter__(self) -> AsyncIterator[MemoryDelivery]:
        return self

    async def __anext__(self) -> MemoryDelivery:
        while not self._closed:
            if self._broker.running:
                delivery = self._next()
                if delivery is not None:
                    return delivery
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    def _next(self) -> MemoryDelivery | None:
        if self._history:
            message = dataclasses.replace(self._history.popleft(), historical=True)
            return MemoryDelivery(message, self, None)
        if self._cursor < self._broker.first:
            lost = self._broker.first - self._cursor
            _log.warning("control_bus_messages_outlived", lost=lost, durable=self.durable)
            self._cursor = self._broker.first
        while self._cursor < self._broker.end:
            offset = self._cursor
            self._cursor += 1
            message = self._broker.at(offset)
            if self._wants(message.topic):
                if self.durable is None:
                    return MemoryDelivery(message, self, None)
                self._unacknowledged.add(offset)
                return MemoryDelivery(message, self, offset)
        self._commit()
        return None

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        self._broker.detach(self)
        self._wake.set()


class MemoryControlBus:
    """A service's access to a `MemoryControlBroker`.

    Parameters
    ----------
    broker
        The log, shared with the other buses of the process.
    identity
        `private_identity` of what this bus sends.
    clock
        Where the time of sending comes from.
    origin
        `private_origin`; this process's id by default.
    dictionary
        What the topics carry. Payloads of known topics are completed with zeros and
        checked, as SAL does; those of other topics are taken as they are.
    health
        Where the broker's presence is reported, as `control_bus`.
    """

    def __init__(
        self,
        broker: MemoryControlBroker,
        *,
        identity: str,
        clock: Clock | None = None,
        origin: int | None = None,
        dictionary: SalDictionary | None = None,
        health: HealthBoard | None = None,
    ) -> None:
        self._broker = broker
        self._stamper = Stamper(identity, clock or SystemClock(), origin=origin)
        self._dictionary = dictionary or load_dictionary()
        self._subscriptions: set[MemorySubscription] = set()
        self._closed = False
        self._health = health or HealthBoard()
        self._report()
        self._forget = broker.on_change(self._report)

    def _report(self) -> None:
        if self._broker.running:
            self._health.report("control_bus", ok=True, reason="in memory of this process")
        else:
            self._health.report("control_bus", ok=False, reason="the memory broker is stopped")

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        """Send a message and return it as sent."""
        if self._closed:
            raise BusError(f"the control bus is closed, so {topic} was not sent")
        payload = self._dictionary.complete(topic, fields)
        message = self._stamper.stamp(topic, payload, sequence)
        self._broker.append(message)
        await asyncio.sleep(0)  # let the readers run, as a network would
        return message

    async def forward(self, message: ControlMessage) -> None:
        """Send a message of somebody else as it was; see `ForwardingBus.forward`."""
        if self._closed:
            raise BusError(f"the control bus is closed, so {message.topic} was not sent")
        self._broker.append(dataclasses.replace(message, historical=False))
        await asyncio.sleep(0)  # let the readers run, as a network would

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Collection[Topic],
        *,
        history: bool = True,
        durable: str | None = None,
        since: TaiSeconds | None = None,
    ) -> AsyncIterator[MemorySubscription]:
        """Read topics; see `ControlBus.subscribe`."""
        subscription = MemorySubscription(
            self._broker, topics, durable=durable, since=since, history=history
        )
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            subscription.close()
            self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """End the subscriptions and take no more messages."""
        if not self._closed:
            self._closed = True
            self._forget()
        for subscription in tuple(self._subscriptions):
            subscription.close()
