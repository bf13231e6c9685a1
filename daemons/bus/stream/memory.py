"""The event stream in memory: a small broker inside this process.

It is a real implementation, for one process that runs every daemon, and the
twin that other rooms test against. It keeps what Kafka's keeps: partitions by
key, groups whose members share the partitions, commits of the longest
acknowledged run, redelivery to the next member. `MemoryBroker.stop` and
`start` are an absent broker.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import structlog

from daemons.bus.acks import AckTracker, Receipt
from daemons.bus.interface import BusUnavailableError, PoisonMessage, Subscription
from daemons.bus.metrics import BusMetrics, bus_metrics
from daemons.bus.report import ConnectionReport
from daemons.bus.stream.dead_letters import DeadLetters
from daemons.bus.stream.publishing import BUS, counted
from daemons.bus.stream.subscription import EventSubscription, RawMessage
from daemons.events.envelope import Event, encode
from daemons.runtime.health import HealthBoard

_log = structlog.get_logger(__name__)

PARTITIONS = 6
"""Partitions of a topic: how many members of a group can share it."""
KEPT = 10_000
"""Records that a partition keeps; then the oldest go. Some 120 MB of events in all."""


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record as it was sent."""

    key: str
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Log:
    """One partition: its records and the offset of the first that is kept."""

    kept: int
    first: int = 0
    records: deque[MemoryRecord] = field(default_factory=deque)

    @property
    def end(self) -> int:
        return self.first + len(self.records)

    def append(self, record: MemoryRecord) -> None:
        self.records.append(record)
        if len(self.records) > self.kept:
            self.records.popleft()
            self.first += 1

    def read(self, offset: int) -> tuple[int, MemoryRecord] | None:
        """Return the first record at or after an offset, with its own."""
        offset = max(offset, self.first)
        return None if offset >= self.end else (offset, self.records[offset - self.first])


@dataclass(slots=True)
class _Group:
    """A consumer group of one topic: where it is, and who is in it."""

    committed: dict[int, int] = field(default_factory=dict)
    members: list[_Member] = field(default_factory=list)

    def share_out(self, partitions: int) -> None:
        """Deal the partitions to the members anew; what was not committed comes again."""
        for member in self.members:
            member.commit()
            member.take([])
        for position, member in enumerate(self.members):
            member.take(range(position, partitions, len(self.members)))


class _Member:
    """One subscription of a group; a source of raw messages."""

    def __init__(self, broker: MemoryBroker, topic: str, group: _Group) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._tracker: AckTracker[int] = AckTracker()
        self._next: dict[int, int] = {}
        self.news = asyncio.Event()

    async def ready(self) -> None:
        """Return once the broker is there; the group keeps the position from then on."""
        while not self._broker.running:
            await self._wait()

    async def next(self) -> RawMessage:
        """Return the next record of a partition of ours."""
        while True:
            found = self._read() if self._broker.running else None
            if found is not None:
                return found
            await self._wait()

    async def _wait(self) -> None:
        self.news.clear()
        await self.news.wait()

    def _read(self) -> RawMessage | None:
        for partition, wanted in self._next.items():
            found = self._broker.read(self._topic, partition, wanted)
            if found is not None:
                return self._deliver(partition, wanted, *found)
        return None

    def _deliver(
        self, partition: int, wanted: int, offset: int, record: MemoryRecord
    ) -> RawMessage:
        where = f"{self._topic}[{partition}]@{offset}"
        if offset > wanted:
            _log.warning("records_expired_unread", where=where, records=offset - wanted)
        del self._next[partition]
        self._next[partition] = offset + 1  # last now, so that every partition has its turn
        receipt = self._tracker.deliver(partition, offset)
        return RawMessage(
            payload=record.payload,
            where=where,
            acknowledge=lambda: self._acknowledge(receipt),
            is_current=lambda: self._tracker.is_current(receipt),
        )

    def _acknowledge(self, receipt: Receipt[int]) -> None:
        if self._tracker.acknowledge(receipt):
            self.commit()

    def commit(self) -> None:
        """Let the group know how far we are, if the broker is there."""
        if self._broker.running:
            offsets = self._tracker.committable()
            self._group.committed.update(offsets)
            self._tracker.committed(offsets)

    def take(self, partitions: Collection[int]) -> None:
        """Hold these partitions, from where the group has come to, and no others."""
        self._tracker.revoke(list(self._tracker.partitions))
        self._tracker.assign(partitions)
        self._next = {number: self._group.committed.get(number, 0) for number in partitions}
        self.news.set()


class MemoryBroker:
    """A broker inside this process; it forgets everything when the process ends.

    Use it from one event loop at a time.

    Parameters
    ----------
    partitions
        Of every topic.
    kept
        Records that a partition keeps; older ones go, read or not.
    """

    def __init__(self, *, partitions: int = PARTITIONS, kept: int = KEPT) -> None:
        self._partitions = partitions
        self._kept = kept
        self._topics: dict[str, list[_Log]] = {}
        self._groups: dict[tuple[str, str], _Group] = {}
        self._watchers: list[Callable[[], None]] = []
        self.running = True
        """False between `stop` and `start`."""

    def stop(self) -> None:
        """Be away: publications wait and fail, deliveries and commits wait. Idempotent."""
        self.running = False
        self._changed()

    def start(self) -> None:
        """Be back, with everything as it was. Idempotent."""
        self.running = True
        for group in self._groups.values():
            for member in group.members:
                member.commit()
        self._changed()

    def append(
        self, topic: str, key: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Append a record, whatever it holds, as any client of a broker could."""
        number = zlib.crc32(key.encode()) % self._partitions
        self._logs(topic)[number].append(MemoryRecord(key, payload, headers or {}))
        for (name, _), group in self._groups.items():
            if name == topic:
                for member in group.members:
                    member.news.set()

    def read(self, topic: str, partition: int, offset: int) -> tuple[int, MemoryRecord] | None:
        """Return the first record of a partition at or after an offset, with its own."""
        return self._logs(topic)[partition].read(offset)

    def records(self, topic: str) -> list[MemoryRecord]:
        """Return what a topic keeps: in order within a key, not across keys."""
        return [record for log in self._logs(topic) for record in log.records]

    def join(self, topic: str, group: str) -> _Member:
        """Become a member of a group; its partitions are shared out anew."""
        found = self._groups.setdefault((topic, group), _Group())
        member = _Member(self, topic, found)
        found.members.append(member)
        found.share_out(self._partitions)
        return member

    def leave(self, topic: str, group: str, member: _Member) -> None:
        """Leave a group; what was not acknowledged goes to the next member."""
        found = self._groups[topic, group]
        member.commit()
        member.take([])
        found.members.remove(member)
        found.share_out(self._partitions)

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` at every `stop` and `start`; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _logs(self, topic: str) -> list[_Log]:
        if topic not in self._topics:
            self._topics[topic] = [_Log(self._kept) for _ in range(self._partitions)]
        return self._topics[topic]

    def _changed(self) -> None:
        for group in self._groups.values():
            for member in group.members:
                member.news.set()
        for watcher in list(self._watchers):
            watcher()


class MemoryEventStream:
    """An `EventStream` on a `MemoryBroker`.

    Parameters
    ----------
    broker
        Streams on the same broker and topic talk to each other.
    topic
        The events' topic.
    dead_letters
        The topic of unreadable messages; the topic with `.dead` behind it by default.
    publish_timeout_s
        How long `publish` waits for a broker that is stopped; not at all by default.
    health, metrics
        Told how it goes; private ones by default.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        topic: str = "arriero.events",
        dead_letters: str | None = None,
        publish_timeout_s: float = 0.0,
        health: HealthBoard | None = None,
        metrics: BusMetrics | None = None,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._dead_letters = dead_letters or f"{topic}.dead"
        self._timeout_s = publish_timeout_s
        self._health = health or HealthBoard()
        self._metrics = metrics or bus_metrics(None)
        self._subscriptions: set[EventSubscription] = set()
        self._closed = False
        self._unwatch = [self._watch("publish")]

    async def publish(self, event: Event) -> None:
        """Append the event; see `EventStream.publish`."""
        with counted(self._metrics):
            await self._available()
            self._broker.append(self._topic, event.partitionkey, encode(event))

    def subscribe(
        self, group: str, *, types: Collection[str] | None = None
    ) -> AbstractAsyncContextManager[Subscription[Event]]:
        """Read as a member of a group; see `EventStream.subscribe`."""
        return self._subscribe(group, types)

    @asynccontextmanager
    async def _subscribe(
        self, group: str, types: Collection[str] | None
    ) -> AsyncIterator[Subscription[Event]]:
        unwatch = self._watch(f"read.{group}")
        member = self._broker.join(self._topic, group)
        dead_letters = DeadLetters(self._bury, self._metrics)
        subscription = EventSubscription(
            member, group=group, types=types, dead_letters=dead_letters, metrics=self._metrics
        )
        undertaker = asyncio.create_task(dead_letters.run(), name=f"{BUS}.{group} dead letters")
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.close()
            undertaker.cancel()
            await asyncio.wait({undertaker})
            self._broker.leave(self._topic, group, member)
            unwatch()

    async def close(self) -> None:
        """End the subscriptions' iteration. Idempotent; the broker keeps everything."""
        self._closed = True
        for subscription in list(self._subscriptions):
            await subscription.close()
        while self._unwatch:
            self._unwatch.pop()()

    async def _bury(self, poison: PoisonMessage) -> None:
        await self._available()
        headers = {"where": poison.where, "reason": poison.reason}
        self._broker.append(self._dead_letters, poison.where, poison.payload, headers)

    async def _available(self) -> None:
        if self._closed:
            raise BusUnavailableError("the event stream is closed")
        if self._broker.running:
            return
        back = asyncio.Event()
        unwatch = self._broker.watch(back.set)
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self._broker.running:
                    back.clear()
                    await back.wait()
        except TimeoutError as error:
            raise BusUnavailableError("the broker in memory is stopped") from error
        finally:
            unwatch()

    def _watch(self, role: str) -> Callable[[], None]:
        """Keep the health board up to date; returns what ends that."""
        report = ConnectionReport(self._health, f"{BUS}.{role}", self._metrics, BUS)

        def tell() -> None:
            if self._broker.running:
                report.up("in memory")
            else:
                report.down("the broker in memory is stopped")

        tell()
        return self._broker.watch(tell)
