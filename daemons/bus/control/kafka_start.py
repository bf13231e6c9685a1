"""Where a subscription on Kafka begins, and the events from before that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from daemons.bus.kafka_client import KafkaCluster
from daemons.runtime.clock import TaiSeconds, tai_to_utc

HISTORY_INDEXED = 500
"""Messages of an indexed component's event topic that are searched for the last of each index."""
HISTORY_SINGLE = 20
"""The same for a component without index: the last one, or one before it that can be read."""
_HISTORY_WAIT_S = 15.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscription begins when it has no position yet."""

    durable: str | None
    """Group that the position is kept under."""
    since: TaiSeconds | None
    """By time of sending."""


def commit_note() -> str:
    """Return what is kept with a committed offset: when it was committed, POSIX milliseconds."""
    return str(int(time.time() * 1000))


async def start_offsets(
    cluster: KafkaCluster,
    consumer: AIOKafkaConsumer,
    partitions: Collection[TopicPartition],
    start: Start,
) -> dict[TopicPartition, int]:
    """Return the offset at which to begin each partition.

    That is where the group stopped; for a partition that it has no position in, what
    was sent since its last commit (the topic is new); without a group, what was sent
    since the instant asked for; otherwise the end.

    Raises
    ------
    KafkaError, OSError, TimeoutError
        The cluster does not answer.
    """
    offsets: dict[TopicPartition, int] = dict(await consumer.end_offsets(list(partitions)))
    since_ms = None if start.since is None else int(tai_to_utc(start.since) * 1000)
    known: dict[TopicPartition, int] = {}
    if start.durable is not None:
        known, last_ms = await _committed(cluster, start.durable)
        since_ms = last_ms if last_ms is not None else since_ms
    unknown = [partition for partition in partitions if partition not in known]
    offsets |= {partition: known[partition] for partition in partitions if partition in known}
    if since_ms is not None and unknown:
        found = await consumer.offsets_for_times(dict.fromkeys(unknown, since_ms))
        offsets |= {partition: place.offset for partition, place in found.items() if place}
    return offsets


async def _committed(
    cluster: KafkaCluster, group: str
) -> tuple[dict[TopicPartition, int], int | None]:
    """Return a group's offsets, and when the latest was committed in POSIX milliseconds."""
    admin = AIOKafkaAdminClient(**cluster.options())
    try:
        await admin.start()
        kept = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    offsets = {partition: place.offset for partition, place in kept.items() if place.offset >= 0}
    notes = [int(place.metadata) for place in kept.values() if str(place.metadata).isdecimal()]
    return offsets, max(notes, default=None)


async def records_before(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], window: Mapping[str, int]
) -> list[ConsumerRecord]:
    """Return the last records before each start, oldest first in each partition.

    Parameters
    ----------
    consumer
        Its assignment is changed.
    starts
        Where each partition of an event topic begins for us.
    window
        How many offsets to go back, by topic.

    Raises
    ------
    KafkaError, OSError, TimeoutError
        The cluster does not answer.
    """
    begins = await consumer.beginning_offsets(list(starts))
    ranges = {
        partition: (max(begins[partition], start - window[partition.topic]), start)
        for partition, start in starts.items()
    }
    ranges = {partition: (low, high) for partition, (low, high) in ranges.items() if low < high}
    if not ranges:
        return []
    consumer.assign(list(ranges))
    for partition, (low, _) in ranges.items():
        consumer.seek(partition, low)
    records: list[ConsumerRecord] = []
    try:
        async with asyncio.timeout(_HISTORY_WAIT_S):
            while not await _finished(consumer, ranges):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(batch)
    except TimeoutError:
        _log.warning("control_bus_history_incomplete", waited_s=_HISTORY_WAIT_S)
    return [
        record
        for record in records
        if record.offset < ranges[TopicPartition(record.topic, record.partition)][1]
    ]


async def _finished(
    consumer: AIOKafkaConsumer, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> bool:
    for partition, (_, high) in ranges.items():
        if await consumer.position(partition) < high:
            return False
    return True
