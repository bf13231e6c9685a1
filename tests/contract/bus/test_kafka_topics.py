"""Asking Kafka for topics creates none, though the broker makes every topic it is asked for."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from daemons.bus.address import parse_address
from daemons.bus.kafka_client import KafkaCluster, TopicPlan, ensure_topics, topic_partitions
from daemons.bus.kafka_guard import existing_partitions
from tests.contract.bus.control_benches import QUICK_KAFKA
from tests.support.servers import Kafka

pytestmark = pytest.mark.server


async def names(kafka: Kafka) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def test_asking_creates_nothing(kafka: Kafka) -> None:
    cluster = KafkaCluster(parse_address(kafka.url), "test", timing=QUICK_KAFKA)
    absent, there = f"absent-{uuid4().hex}", f"there-{uuid4().hex}"
    await ensure_topics(cluster, [TopicPlan(there, partitions=3)])
    with pytest.raises(UnknownTopicOrPartitionError, match=absent):
        await topic_partitions(cluster, [there, absent])
    existing = await existing_partitions(cluster, [there, absent])
    assert (existing.of(there), existing.of(absent)) == ((0, 1, 2), ())
    assert await topic_partitions(cluster, [there]) == {there: (0, 1, 2)}
    await ensure_topics(cluster, [TopicPlan(there, partitions=9)])
    await asyncio.sleep(1.0)  # the broker makes topics behind one's back, but soon
    assert absent not in await names(kafka)
