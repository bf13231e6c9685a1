"""A Kafka consumer that outlives its broker and its own client.

One `KafkaReader` goes through many lives of an aiokafka consumer. A life ends
with an error, or when the progress watchdog finds the client stuck; the next
one begins where the last one was acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka import errors as kafka_errors

from daemons.bus.acks import AckTracker, Receipt
from daemons.bus.interface import BusUnavailableError
from daemons.bus.kafka_client import (
    KafkaCluster,
    KafkaError,
    TopicPlan,
    ensure_topics,
    topic_partitions,
)
from daemons.bus.kafka_ending import position_of, stop_consumer
from daemons.bus.kafka_guard import uncancelled
from daemons.bus.kafka_watchdog import KafkaProbe, Position, Progress, StallJudge
from daemons.bus.report import Cause, ConnectionReport
from daemons.runtime.errors import ArrieroError

_log = structlog.get_logger(__name__)

_POLL_MS = 500
"""A poll without records returns after so long."""
_BATCH = 200
"""Records of one poll."""
_NEVER_MS = 24 * 3600 * 1000
"""`max_poll_interval_ms`: whether we get on is the watchdog's question, and an
application that is slow to take messages keeps its partitions as long as it lives."""
_instances = count(1)

StartAt = Callable[
    [AIOKafkaConsumer, Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]
]
"""Says at which offsets a reader without a group begins."""


class ConsumerStuckError(BusUnavailableError):
    """The client lives and does not get on; it is made anew."""

    code = "bus.consumer_stuck"


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """One record, as far as event stream and control bus look at it."""

    partition: TopicPartition
    offset: int
    timestamp_ms: int
    """When it was produced, POSIX milliseconds UTC."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    receipt: Receipt[TopicPartition] | None
    """What `KafkaReader.ack` wants; None without a group."""

    def __str__(self) -> str:
        return f"{self.partition.topic}[{self.partition.partition}]@{self.offset}"


async def start_at_end(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """Return where the partitions end: only what is sent from now on is read."""
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


class KafkaReader:
    """Reads topics, as a member of a group or alone.

    With a group, partitions are shared, and the group resumes where `ack` came
    to; a new group begins at the oldest record. Without one, every partition is
    read from where `start_at` says, and `ack` does nothing.

    `run` does the work and ends only by cancellation.

    Parameters
    ----------
    cluster
        Where from.
    topics
        What; created where absent.
    report
        Told how the broker is.
    group
        Consumer group.
    start_at
        Where a reader without a group begins; at the end by default.
    member
        Name of this member in the group (Kafka's static membership): one that
        is killed and comes back within the session timeout has its partitions
        at once, instead of after it. No two that live may have the same.
    queue_size
        Records that may wait for `next`; then reading pauses.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topics: Collection[TopicPlan],
        *,
        report: ConnectionReport,
        group: str | None = None,
        start_at: StartAt = start_at_end,
        member: str | None = None,
        queue_size: int = 500,
    ) -> None:
        self._cluster = cluster
        self._topics = tuple(topics)
        self._report = report
        self._group = group
        self._start_at = start_at
        self._member = member
        self._queue: asyncio.Queue[KafkaRecord] = asyncio.Queue(queue_size)
        self._tracker: AckTracker[TopicPartition] = AckTracker()
        self._next: dict[TopicPartition, int] = {}
        self._acked = asyncio.Event()
        self._ready = asyncio.Event()
        self._held_up = False
        self._polled_at = 0.0
        self._reads = False

    async def ready(self) -> None:
        """Return once records sent from now on will be delivered."""
        await self._ready.wait()

    async def next(self) -> KafkaRecord:
        """Return the next record; waits while the broker is away."""
        while True:
            record = await self._queue.get()
            if self.is_current(record):
                return record  # the others come again, here or at another member

    def is_current(self, record: KafkaRecord) -> bool:
        """Return whether the partition of a record has been ours since it was read."""
        return record.receipt is None or self._tracker.is_current(record.receipt)

    def ack(self, record: KafkaRecord) -> None:
        """Note that a record is dealt with; it is committed soon, in the background."""
        if record.receipt is not None and self._tracker.acknowledge(record.receipt):
            self._acked.set()

    @property
    def outstanding(self) -> int:
        """Records that were read and not acknowledged."""
        return self._tracker.outstanding

    async def run(self) -> None:
        """Read until cancelled, through as many clients as it takes."""
        timing = self._cluster.timing
        backoff = timing.backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await uncancelled(self._live())
            except Exception as error:  # noqa: BLE001 - one life of a client ends here
                await self._explain(error)
            if loop.time() - began > timing.retry_cap_s:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _explain(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, ConsumerStuckError):
            self._say("stuck", str(error))
            return
        if isinstance(error, KafkaError | OSError | TimeoutError | ArrieroError):
            reason = str(await self._cluster.explain(error))
        else:
            _log.error("kafka_reader_failed", dependency=self._report.dependency, exc_info=error)
            reason = "a fault in our Kafka reader; see the log"
        self._say("error", reason)

    async def _live(self) -> None:
        await ensure_topics(self._cluster, self._topics)
        client_id = f"{self._cluster.client_id}-{next(_instances)}"
        consumer = self._new_consumer(client_id)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._start(consumer)
            self._report_reading(consumer)
            self._reads = True
            self._ready.set()
            self._polled_at = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as tasks:
                name = self._report.dependency
                # A group takes a cancelled task for one that has ended in order.
                for what, work in (
                    ("poll", self._poll(consumer)),
                    ("watchdog", self._watch(consumer, client_id)),
                    ("commit", self._commit(consumer)),
                ):
                    tasks.create_task(uncancelled(work), name=f"{name} {what}")
        finally:
            await self._end(consumer)

    def _say(self, cause: Cause, reason: str) -> None:
        """Report the end of a life; an attempt to begin one is no life."""
        if self._reads:
            self._report.given_up(cause, reason)
        else:
            self._report.down(reason)
        self._reads = False

    @property
    def _start_timeout_s(self) -> float:
        # Joining waits for members that died without a word.
        return self._cluster.timing.session_timeout_s + 2 * self._cluster.timing.request_timeout_s

    def _new_consumer(self, client_id: str) -> AIOKafkaConsumer:
        timing = self._cluster.timing
        options: dict[str, Any] = self._cluster.options() | {"client_id": client_id}
        return AIOKafkaConsumer(
            **options,
            group_id=self._group,
            group_instance_id=self._member,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=round(timing.session_timeout_s * 1000),
            heartbeat_interval_ms=round(timing.heartbeat_s * 1000),
            max_poll_interval_ms=_NEVER_MS,
        )

    async def _start(self, consumer: AIOKafkaConsumer) -> None:
        names = [plan.name for plan in self._topics]
        if self._group is not None:
            consumer.subscribe(names, listener=_Rebalance(self, consumer))
            await consumer.start()
            return
        known = await topic_partitions(self._cluster, names)
        partitions = [TopicPartition(name, number) for name in known for number in known[name]]
        consumer.assign(partitions)
        await consumer.start()
        unknown = [partition for partition in partitions if partition not in self._next]
        if unknown:
            self._next |= await self._start_at(consumer, unknown)
        for partition in partitions:
            consumer.seek(partition, self._next[partition])

    def _report_reading(self, consumer: AIOKafkaConsumer) -> None:
        partitions = len(consumer.assignment())
        self._report.up(f"reading {partitions} partitions at {self._cluster.address}")

    # Reading

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
            self._polled_at = loop.time()
            held = {partition: self._tracker.assignment(partition) for partition in batches}
            for partition, records in batches.items():
                if self._group is not None and held[partition] is None:
                    raise ConsumerStuckError(f"got records of {partition}, which is not ours")
                for record in records:
                    if self._tracker.assignment(partition) != held[partition]:
                        break  # taken from us meanwhile; its next holder reads them
                    await self._put(partition, record)

    async def _put(self, partition: TopicPartition, record: ConsumerRecord) -> None:
        receipt = None
        if self._group is not None:
            receipt = self._tracker.deliver(partition, record.offset)
        self._next[partition] = record.offset + 1
        self._held_up = self._queue.full()
        try:
            await self._queue.put(
                KafkaRecord(
                    partition=partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    key=record.key,
                    value=record.value,
                    headers=tuple(record.headers),
                    receipt=receipt,
                )
            )
        finally:
            self._held_up = False

    # Committing

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._acked.wait()
            self._acked.clear()
            try:
                await self._commit_now(consumer, self._cluster.timing.request_timeout_s)
            except TimeoutError:
                self._acked.set()  # the broker is away; the watchdog says so

    async def _commit_now(self, consumer: AIOKafkaConsumer, timeout_s: float) -> None:
        offsets = self._tracker.committable()
        if not offsets:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await consumer.commit(offsets)
        except (kafka_errors.CommitFailedError, kafka_errors.IllegalStateError) as error:
            # The group moved on without us; what it gave away is delivered again.
            _log.info("commit_came_too_late", group=self._group, error=repr(error))
        else:
            self._tracker.committed(offsets)

    async def partitions_revoked(
        self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
    ) -> None:
        """Commit what was acknowledged and forget the rest."""
        try:
            await uncancelled(self._commit_now(consumer, self._cluster.timing.stop_timeout_s))
        except (KafkaError, TimeoutError) as error:
            _log.warning("commit_before_rebalance_failed", group=self._group, error=repr(error))
        self._tracker.revoke(partitions)

    def partitions_assigned(
        self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
    ) -> None:
        """Begin anew with these partitions."""
        self._tracker.assign(partitions)
        _log.info(
            "partitions_assigned",
            group=self._group,
            partitions=sorted(f"{name}[{number}]" for name, number in partitions),
        )
        self._report_reading(consumer)

    # Watching

    async def _watch(self, consumer: AIOKafkaConsumer, client_id: str) -> None:
        timing = self._cluster.timing
        judge = StallJudge(timing.stall_after_s)
        probe = KafkaProbe(self._cluster)
        try:
            while True:
                await asyncio.sleep(timing.watch_every_s)
                try:
                    look = await self._look(consumer, client_id, probe)
                except (KafkaError, OSError, TimeoutError, ArrieroError) as error:
                    judge.forget()
                    self._report.down(str(await self._cluster.explain(error)))
                    continue
                self._report_reading(consumer)
                self._report.lag(self._group or "", look.lag)
                reason = judge.judge(look)
                if reason is not None:
                    raise ConsumerStuckError(f"the consumer was stuck: {reason}")
        finally:
            await probe.close()

    async def _look(
        self, consumer: AIOKafkaConsumer, client_id: str, probe: KafkaProbe
    ) -> Progress:
        # The position first: one that is older than the end can only look more behind.
        reached = {
            partition: await position_of(consumer, partition) for partition in consumer.assignment()
        }
        ends = await probe.ends(list(reached)) if reached else {}
        is_member = self._group is None or await self._is_member(client_id, probe)
        return Progress(
            at=asyncio.get_running_loop().time(),
            positions={
                partition: Position(position=reached[partition], end=end)
                for partition, end in ends.items()
            },
            is_member=is_member,
            polled_at=self._polled_at,
            is_held_up=self._held_up,
        )

    async def _is_member(self, client_id: str, probe: KafkaProbe) -> bool:
        members = await probe.members(str(self._group))
        if self._member is None:
            return any(member.client_id == client_id for member in members)
        # The broker remembers a static member's first client id, whoever comes after.
        return any(member.member_id.startswith(f"{self._member}-") for member in members)

    async def _end(self, consumer: AIOKafkaConsumer) -> None:
        with suppress(KafkaError, TimeoutError):
            await uncancelled(self._commit_now(consumer, self._cluster.timing.stop_timeout_s))
        self._tracker.revoke(list(self._tracker.partitions))
        await stop_consumer(consumer, self._cluster.timing.stop_timeout_s)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Passes aiokafka's news of a rebalance on.

    `on_partitions_assigned` is not a coroutine: aiokafka calls it before any
    record of the new assignment can have been read, and it must not yield.
    """

    def __init__(self, reader: KafkaReader, consumer: AIOKafkaConsumer) -> None:
        self._reader = reader
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._reader.partitions_revoked(self._consumer, revoked)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._reader.partitions_assigned(self._consumer, assigned)
