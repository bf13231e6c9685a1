"""The Kafka of the tests is a real one."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.support.fixtures import Starter
from tests.support.servers import Kafka

pytestmark = pytest.mark.server


async def _send(kafka: Kafka, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _first(kafka: Kafka, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        record = await consumer.getone()
        value: bytes | None = record.value
        return value
    finally:
        await consumer.stop()


async def test_shared_kafka_takes_and_gives_a_message(kafka: Kafka) -> None:
    await _send(kafka, "support-roundtrip", b"hello")
    assert await _first(kafka, "support-roundtrip") == b"hello"


async def test_what_kafka_acknowledged_outlives_a_kill(start_kafka: Starter[Kafka]) -> None:
    kafka = start_kafka()
    await _send(kafka, "support-kill", b"kept")
    bootstrap = kafka.bootstrap
    kafka.kill()
    assert not kafka.running
    kafka.start()
    assert kafka.bootstrap == bootstrap
    assert await _first(kafka, "support-kill") == b"kept"
