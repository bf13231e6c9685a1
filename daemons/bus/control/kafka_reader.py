"""One subscription on Kafka: reads exactly its topics, every partition, and outlives its broker.

Partitions are assigned by hand, so nothing is ever rebalanced. A durable
subscription keeps its position under a group's name, with commits of its own; two
readers of the same name at a time would both get everything.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka import errors as kafka_errors

from daemons.bus.acks import AckTracker, Receipt
from daemons.bus.control.kafka_decode import Decoder, Wanted
from daemons.bus.control.kafka_start import (
    HISTORY_INDEXED,
    HISTORY_SINGLE,
    Start,
    commit_note,
    records_before,
    start_offsets,
)
from daemons.bus.control.mailbox import Mailbox
from daemons.bus.interface import BusUnavailableError, ControlMessage, Topic
from daemons.bus.kafka_client import KafkaCluster, KafkaError
from daemons.bus.kafka_guard import existing_partitions, uncancelled
from daemons.bus.kafka_watchdog import KafkaProbe, Position, Progress, StallJudge
from daemons.bus.report import ConnectionReport
from daemons.runtime.errors import ArrieroError

MAILBOX_SIZE = 2000
"""Messages that wait for the subscriber before reading pauses."""

_BATCH = 500
_AT_A_TIME = 50
"""Records that are decoded before others get their turn."""
_POLL_S = 0.5
_COMMIT_EVERY_S = 0.5
_LOOK_FOR_MISSING_S = 1.0
_LOOK_FOR_NEW_S = 60.0
_REGISTRY_AGAIN_S = 2.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaDelivery:
    """A message from Kafka."""

    message: ControlMessage
    _acks: AckTracker[TopicPartition]
    _receipt: Receipt[TopicPartition] | None

    async def ack(self) -> None:
        """Say that the message is dealt with for good; committed within a second."""
        if self._receipt is not None:
            self._acks.acknowledge(self._receipt)


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """What a subscription was asked for."""

    topics: Mapping[str, Wanted]
    """By name on Kafka."""
    indexed: frozenset[str]
    """Those of indexed components."""
    history: bool
    start: Start

    @property
    def group(self) -> str | None:
        """Group that keeps the position."""
        return self.start.durable

    def history_window(self) -> dict[str, int]:
        """Return how far to look back for the last events, by topic."""
        return {
            name: HISTORY_INDEXED if name in self.indexed else HISTORY_SINGLE
            for name, wanted in self.topics.items()
            if wanted.topic.is_event and self.history
        }


class KafkaReader:
    """Reads the topics of one subscription into a mailbox.

    Parameters
    ----------
    cluster
        Where.
    plan
        What.
    decoder
        Makes messages of records.
    report
        Told how the broker is.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        plan: ReaderPlan,
        decoder: Decoder,
        report: ConnectionReport,
    ) -> None:
        self._cluster = cluster
        self._plan = plan
        self._decoder = decoder
        self._report = report
        self._delivered = report.metrics.delivered.labels(bus=report.bus, group=plan.group or "")
        self._mailbox: Mailbox[KafkaDelivery] = Mailbox(MAILBOX_SIZE)
        self._acks: AckTracker[TopicPartition] = AckTracker()
        self._next: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()
        self._starts: Mapping[TopicPartition, int] | None = None
        self._told = False
        self._handed: dict[TopicPartition, int] = {}
        self._ready = asyncio.Event()
        self._polled_at = 0.0
        self._held_up = False
        self._postponed: dict[TopicPartition, float] = {}

    async def ready(self) -> None:
        """Return once messages sent from now on will be delivered."""
        await self._ready.wait()

    def __aiter__(self) -> AsyncIterator[KafkaDelivery]:
        return self

    async def __anext__(self) -> KafkaDelivery:
        delivery = await self._mailbox.get()
        self._delivered.inc()
        return delivery

    def close(self) -> None:
        """End the iteration."""
        self._mailbox.close()
        self._ready.set()

    async def run(self) -> None:
        """Read until cancelled, with a new client whenever one fails."""
        backoff = self._cluster.timing.backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await uncancelled(self._live())
            except (KafkaError, OSError, TimeoutError, ArrieroError) as error:
                self._report.down(str(await self._cluster.explain(error)))
            except Exception:  # noqa: BLE001 - one life of a client ends here, whatever ended it
                _log.exception("control_bus_reader_failed")
                self._report.given_up("error", "a fault of ours; see the log")
            if loop.time() - began > self._cluster.timing.retry_cap_s:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _live(self) -> None:
        """Read with one client until it fails."""
        consumer = AIOKafkaConsumer(
            **self._cluster.options(),
            group_id=self._plan.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        probe = KafkaProbe(self._cluster)
        self._assigned = set()
        try:
            async with asyncio.timeout(2 * self._cluster.timing.request_timeout_s):
                await consumer.start()
            await self._look(consumer)
            self._report.up(f"reading from {self._cluster.address}")
            self._ready.set()
            pumping = asyncio.create_task(self._pump(consumer), name="control-reader-pump")
            watching = asyncio.create_task(self._watch(consumer, probe), name="control-watch")
            committing = asyncio.create_task(self._commit_often(consumer), name="control-commit")
            await _first_failure([pumping, watching, committing])
        finally:
            await self._retire(consumer, probe)

    async def _retire(self, consumer: AIOKafkaConsumer, probe: KafkaProbe) -> None:
        bound_s = self._cluster.timing.stop_timeout_s
        await _finish(self._commit(consumer), bound_s)
        await _finish(consumer.stop(), bound_s)
        await _finish(probe.close(), bound_s)

    # ---- what to read

    async def _look(self, consumer: AIOKafkaConsumer) -> bool:
        """Take up the partitions that are there now; return whether a topic is still missing."""
        existing = await existing_partitions(self._cluster, list(self._plan.topics))
        kept = {tp for tp in self._assigned if tp.topic in existing.undecided}
        present = set(existing.partitions) | kept
        new = present - self._next.keys()
        if self._starts is None:
            if existing.undecided:
                raise kafka_errors.LeaderNotAvailableError(*existing.undecided)
            self._starts = await start_offsets(self._cluster, consumer, new, self._plan.start)
        if not self._told:
            await self._tell_history(consumer, self._starts)
            self._told = True
            self._assigned = set()  # looking back has changed it
        # What appears later was made later: all of it is news.
        self._next |= {partition: self._starts.get(partition, 0) for partition in new}
        self._acks.assign(new)
        if present != self._assigned:
            self._assigned = present
            self._assign(consumer)
        if new and self._plan.group is not None:
            await self._commit_offsets(consumer, {tp: self._next[tp] for tp in new})
        return len({partition.topic for partition in present}) < len(self._plan.topics)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        consumer.assign(list(self._assigned))
        for partition in self._assigned:
            consumer.seek(partition, self._next[partition])
        self._postponed.clear()

    async def _tell_history(
        self, consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int]
    ) -> None:
        """Deliver the last event of each topic and index from before the starts."""
        window = self._plan.history_window()
        old = {partition: start for partition, start in starts.items() if partition.topic in window}
        if not old:
            return
        last: dict[Topic, ControlMessage] = {}
        for record in await records_before(consumer, old, window):
            wanted = self._plan.topics[record.topic]
            message = await self._decoder.read(record, wanted, historical=True)
            if message is not None:
                before = last.get(message.topic)
                if before is None or before.sent <= message.sent:
                    last[message.topic] = message
        for message in sorted(last.values(), key=lambda message: message.sent):
            await self._mailbox.put(KafkaDelivery(message, self._acks, None))

    # ---- reading

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        missing = True
        look_at = loop.time()
        while True:
            self._polled_at = loop.time()
            if self._polled_at >= look_at:
                missing = await self._look(consumer)
                look_at = loop.time() + (_LOOK_FOR_MISSING_S if missing else _LOOK_FOR_NEW_S)
            if not self._assigned:
                await asyncio.sleep(max(0.0, look_at - loop.time()))
                continue
            self._resume(consumer, loop.time())
            batches = await consumer.getmany(timeout_ms=int(_POLL_S * 1000), max_records=_BATCH)
            await self._take(consumer, list(batches.values()))

    def _resume(self, consumer: AIOKafkaConsumer, now: float) -> None:
        due = [partition for partition, at in self._postponed.items() if at <= now]
        for partition in due:
            del self._postponed[partition]
            consumer.resume(partition)

    async def _take(
        self, consumer: AIOKafkaConsumer, batches: Sequence[Sequence[ConsumerRecord]]
    ) -> None:
        """Deliver what was fetched: each partition in its order, all together in that of time."""
        ordered = heapq.merge(*batches, key=lambda record: record.timestamp)
        for place, record in enumerate(ordered, start=1):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # decoding may go on for many milliseconds otherwise
            partition = TopicPartition(record.topic, record.partition)
            if partition in self._postponed:
                continue
            try:
                message = await self._decoder.read(record, self._plan.topics[record.topic])
            except BusUnavailableError:
                consumer.seek(partition, record.offset)
                consumer.pause(partition)
                now = asyncio.get_running_loop().time()
                self._postponed[partition] = now + _REGISTRY_AGAIN_S
                continue
            self._held_up = True
            await self._hand_over(partition, record.offset, message)
            self._held_up = False

    async def _hand_over(
        self, partition: TopicPartition, offset: int, message: ControlMessage | None
    ) -> None:
        if offset < self._next[partition]:
            # The partition was made anew, or cut: its offsets begin again.
            self._acks.assign([partition])
            self._handed.pop(partition, None)
        receipt = None if self._plan.group is None else self._receipt(partition, offset)
        if message is not None:
            await self._mailbox.put(KafkaDelivery(message, self._acks, receipt))
        elif receipt is not None:
            self._acks.acknowledge(receipt)
        self._next[partition] = offset + 1

    def _receipt(self, partition: TopicPartition, offset: int) -> Receipt[TopicPartition]:
        if self._handed.get(partition) == offset:
            # It was being handed over when the client before this one was lost.
            return Receipt(partition, offset, self._acks.assignment(partition) or 0)
        self._handed[partition] = offset
        return self._acks.deliver(partition, offset)

    # ---- watching and committing

    async def _watch(self, consumer: AIOKafkaConsumer, probe: KafkaProbe) -> None:
        """Find out whether broker and client still get on; raises when they do not."""
        timing = self._cluster.timing
        judge = StallJudge(timing.stall_after_s)
        while True:
            await asyncio.sleep(timing.watch_every_s)
            partitions = [tp for tp in self._assigned if tp not in self._postponed]
            async with asyncio.timeout(timing.watch_every_s):
                ends = await probe.ends(partitions) if partitions else {}
                # Not `_next`: the client also steps over what is no message.
                positions = {
                    partition: Position(await consumer.position(partition), end)
                    for partition, end in ends.items()
                    if partition in self._assigned
                }
            look = Progress(
                at=asyncio.get_running_loop().time(),
                positions=positions,
                is_member=True,
                polled_at=self._polled_at,
                is_held_up=self._held_up,
            )
            stuck = judge.judge(look)
            if stuck is not None:
                self._report.given_up("stuck", stuck)
                raise kafka_errors.KafkaError(stuck)

    async def _commit_often(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        movable = self._acks.committable().items()
        offsets = {
            partition: offset for partition, offset in movable if partition in self._assigned
        }
        if offsets and self._plan.group is not None:
            await self._commit_offsets(consumer, offsets)
            self._acks.committed(offsets)

    async def _commit_offsets(
        self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]
    ) -> None:
        note = commit_note()
        await consumer.commit({partition: (offset, note) for partition, offset in offsets.items()})


async def _first_failure(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait until one of several endless tasks fails; end the others and raise what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _finish(step: Coroutine[Any, Any, None], bound_s: float) -> None:
    """Carry out a step of an ending within a bound, whatever it raises."""
    task = asyncio.create_task(step, name="control-reader-ending")
    await asyncio.wait({task}, timeout=bound_s)
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is not None:
        _log.debug("control_bus_reader_ending", error=repr(task.exception()))
