"""What the control bus on Kafka is beyond the common promises: SAL, byte for byte."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client import CollectorRegistry

from daemons.bus import BusDeniedError, BusError, BusUnavailableError, Topic
from daemons.bus.control.factory import open_control_bus
from daemons.bus.control.kafka import KafkaControlBus
from daemons.bus.control.kafka_start import HISTORY_INDEXED
from daemons.bus.control.private_fields import PRIVATE_FIELDS
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import AvroSchema, sal_schema
from daemons.bus.sal.wire import encode, subject
from daemons.bus.settings_control import ControlBusSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from tests.contract.bus.control_benches import (
    PATIENCE_S,
    KafkaBench,
    nothing_more,
    take,
    until,
)
from tests.support.fixtures import Starter
from tests.support.servers import Apicurio, Kafka, SmallRegistry

pytestmark = pytest.mark.server

START = Topic("MTCamera", "logevent_startIntegration")
STATE = Topic("MTCamera", "logevent_summaryState")
ELEVATION = Topic("MTMount", "elevation")
VISIT = Topic("ScriptQueue", "logevent_nextVisit", 1)


@pytest.fixture
async def bench(
    kafka: Kafka, small_registry: SmallRegistry, tmp_path: Path
) -> AsyncIterator[KafkaBench]:
    made = KafkaBench(kafka, small_registry, tmp_path / "schemas")
    yield made
    await made.close()


@pytest.fixture
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


async def records(bench: KafkaBench, topic: Topic, count: int) -> list[ConsumerRecord]:
    """Return the first records of a topic, as anybody else reads them."""
    consumer = AIOKafkaConsumer(
        bench.topic(topic), bootstrap_servers=bench.kafka.bootstrap, auto_offset_reset="earliest"
    )
    async with asyncio.timeout(PATIENCE_S):
        await consumer.start()
        try:
            return [await consumer.getone() for _ in range(count)]
        finally:
            await consumer.stop()


async def configuration(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    answers = await admin.describe_configs([resource])
    return {entry[0]: entry[1] for entry in answers[0].resources[0][4]}


async def written(
    bench: KafkaBench, topic: Topic, change: Callable[[dict[str, Any]], None]
) -> bytes:
    """Return a message of a writer whose schema is not ours, registered."""
    spec = load_dictionary().get(topic)
    document = json.loads(sal_schema(spec).text)
    change(document)
    zeros = spec.complete({}) | {
        name: {"double": 0.0, "int": 0, "string": ""}[kind] for name, kind, _ in PRIVATE_FIELDS
    }
    record = zeros | {"salIndex": topic.index, "private_identity": "somebody", "added": 5}
    schema = AvroSchema(json.dumps(document))
    registry = SchemaRegistry(bench.registry.registry_url)
    registered = await registry.register(subject(bench.topic(topic)), schema)
    await registry.close()
    return encode(registered.schema_id, schema, record)


async def test_record_is_what_sal_software_expects(bench: KafkaBench) -> None:
    sender = bench.bus("ScriptQueue:1")
    sent = await sender.publish(VISIT, {"groupId": "g1", "position": [10.0, -30.0]})
    (record,) = await records(bench, VISIT, 1)
    assert record.topic == f"lsst.{bench.subname}.ScriptQueue.logevent_nextVisit"
    assert record.key == b'{ "name": "ScriptQueue", "index": 1, "topic": "logevent_nextVisit" }'
    assert not record.headers
    assert abs(record.timestamp / 1000 - (sent.sent - 37)) < 30
    magic, number = struct.unpack_from(">bI", record.value)
    registry = SchemaRegistry(bench.registry.registry_url)
    schema = await registry.by_id(number, expected="lsst.sal.ScriptQueue.logevent_nextVisit")
    await registry.close()
    assert magic == 0
    assert schema == sal_schema(load_dictionary().get(VISIT))
    assert subject(record.topic) in bench.registry.subjects


async def test_key_of_telemetry_is_empty_and_not_absent(bench: KafkaBench) -> None:
    await bench.bus().publish(ELEVATION, {"actualPosition": 80.0})
    (record,) = await records(bench, ELEVATION, 1)
    assert record.key == b""


async def test_topics_are_created_as_sal_clients_do(
    bench: KafkaBench, admin: AIOKafkaAdminClient
) -> None:
    sender = bench.bus()
    for topic in (START, ELEVATION, Topic("MTCamera", "command_start")):
        await sender.publish(topic, {})
    described = await admin.describe_topics([bench.topic(START), bench.topic(ELEVATION)])
    assert [len(topic["partitions"]) for topic in described] == [1, 1]
    assert (await configuration(admin, bench.topic(START)))["cleanup.policy"] == "compact"
    assert (await configuration(admin, bench.topic(ELEVATION)))["cleanup.policy"] == "delete"


async def test_topic_that_exists_is_left_as_it_is(
    bench: KafkaBench, admin: AIOKafkaAdminClient
) -> None:
    await admin.create_topics([NewTopic(bench.topic(ELEVATION), 4, 1)])
    await bench.bus().publish(ELEVATION, {})
    (described,) = await admin.describe_topics([bench.topic(ELEVATION)])
    assert len(described["partitions"]) == 4


async def test_reading_creates_and_registers_nothing(
    bench: KafkaBench, admin: AIOKafkaAdminClient
) -> None:
    async with bench.bus().subscribe([START, ELEVATION, VISIT]) as subscription:
        await subscription.ready()
        assert await nothing_more(subscription)
    assert not [name for name in await admin.list_topics() if bench.subname in name]
    assert bench.registry.subjects == ()


async def test_every_partition_is_read(bench: KafkaBench, admin: AIOKafkaAdminClient) -> None:
    await admin.create_topics([NewTopic(bench.topic(ELEVATION), 4, 1)])
    value = await written(bench, ELEVATION, lambda _: None)
    async with bench.bus().subscribe([ELEVATION]) as subscription:
        await subscription.ready()
        for partition in range(4):
            for key in (b"", None):
                await bench.send(ELEVATION, value, key=key, partition=partition)
        messages = await take(subscription, 8)
    assert {message.identity for message in messages} == {"somebody"}


async def test_partition_that_is_added_later_is_read_from_its_beginning(
    bench: KafkaBench, monkeypatch: pytest.MonkeyPatch, admin: AIOKafkaAdminClient
) -> None:
    monkeypatch.setattr("daemons.bus.control.kafka_reader._LOOK_FOR_NEW_S", 0.5)
    await admin.create_topics([NewTopic(bench.topic(ELEVATION), 1, 1)])
    value = await written(bench, ELEVATION, lambda _: None)
    async with bench.bus().subscribe([ELEVATION]) as subscription:
        await subscription.ready()
        await bench.send(ELEVATION, value, partition=0)
        await take(subscription, 1)
        await admin.create_partitions({bench.topic(ELEVATION): NewPartitions(2)})
        await bench.send(ELEVATION, value, partition=1)
        await bench.send(ELEVATION, value, partition=0)
        assert len(await take(subscription, 2)) == 2
        assert await nothing_more(subscription)


async def test_writers_schema_decides_what_a_message_has(bench: KafkaBench) -> None:
    def older(document: dict[str, Any]) -> None:
        document["fields"] = [f for f in document["fields"] if f["name"] != "imageName"]

    def newer(document: dict[str, Any]) -> None:
        document["fields"].append({"name": "added", "type": "int", "default": 0})

    async with bench.bus().subscribe([START]) as subscription:
        await subscription.ready()
        for change in (older, newer):
            await bench.send(START, await written(bench, START, change), key=b"k")
        old, new = await take(subscription, 2)
    assert "imageName" not in old.fields
    assert new.fields["added"] == 5
    assert new.fields["imageName"] == ""


async def test_schema_of_the_topics_owner_is_written_with(bench: KafkaBench) -> None:
    await written(
        bench, STATE, lambda d: d["fields"].append({"name": "x", "type": "int", "default": 7})
    )
    async with bench.bus().subscribe([STATE]) as subscription:
        await subscription.ready()
        await bench.bus().publish(STATE, {"summaryState": 2})
        (message,) = await take(subscription, 1)
    assert message.fields == {"summaryState": 2, "x": 7}


async def test_topic_outside_the_dictionary_is_refused(bench: KafkaBench) -> None:
    with pytest.raises(BusError, match="add it to a dictionary file"):
        await bench.bus().publish(Topic("MTCamera", "logevent_nothing"), {})


async def test_last_event_of_a_quiet_index_is_found_behind_many_of_a_busy_one(
    bench: KafkaBench,
) -> None:
    sender = bench.bus()
    visit = [Topic("ScriptQueue", "logevent_nextVisit", index) for index in (1, 2, 3)]
    await sender.publish(visit[2], {"groupId": "too long ago"})
    await sender.publish(visit[0], {"groupId": "quiet"})
    for number in range(HISTORY_INDEXED - 1):
        await sender.publish(visit[1], {"groupId": f"busy {number}"})
    async with bench.bus().subscribe([Topic("ScriptQueue", "logevent_nextVisit")]) as everyone:
        old = {m.topic.index: m.fields["groupId"] for m in await take(everyone, 2)}
        assert old == {1: "quiet", 2: f"busy {HISTORY_INDEXED - 2}"}
        assert await nothing_more(everyone)


async def test_history_survives_a_poisoned_end(bench: KafkaBench) -> None:
    await bench.bus().publish(START, {"imageName": "the last good one"})
    await bench.spoil(START, b"\x09nonsense")
    async with bench.bus().subscribe([START]) as subscription:
        (message,) = await take(subscription, 1)
    assert (message.fields["imageName"], message.historical) == ("the last good one", True)


async def test_registry_that_is_away_at_start_is_replaced_by_the_cache(bench: KafkaBench) -> None:
    await bench.bus().publish(START, {"imageName": "before"})
    async with bench.bus().subscribe([START]) as subscription:
        await take(subscription, 1)
    bench.registry.stop()
    async with bench.bus().subscribe([START]) as subscription:
        assert [m.fields["imageName"] for m in await take(subscription, 1)] == ["before"]
        await subscription.ready()
        await bench.bus().publish(START, {"imageName": "during"})
        assert [m.fields["imageName"] for m in await take(subscription, 1)] == ["during"]
    assert not bench.health.dependencies["schema_registry"].ok
    with pytest.raises(BusUnavailableError, match="schema registry"):
        await bench.bus().publish(STATE, {})


async def test_message_of_an_unknown_schema_waits_for_the_registry_and_no_other_does(
    bench: KafkaBench,
) -> None:
    sender = bench.bus()
    for topic in (START, STATE):
        await sender.publish(topic, {})
    async with bench.bus().subscribe([START, STATE], history=False) as subscription:
        await subscription.ready()
        await sender.publish(START, {})
        await take(subscription, 1)
        change = await written(bench, STATE, lambda d: d.update(description="by somebody else"))
        bench.registry.stop()
        await bench.send(STATE, change, key=b"k")
        await sender.publish(STATE, {"summaryState": 3})
        await sender.publish(START, {"imageName": "not held up"})
        assert [m.topic for m in await take(subscription, 1)] == [START]
        assert await nothing_more(subscription)
        bench.registry.start()
        late = await take(subscription, 2)
    assert [(m.topic, m.fields["summaryState"]) for m in late] == [(STATE, 0), (STATE, 3)]


async def test_one_reader_does_not_spoil_the_health_of_another(bench: KafkaBench) -> None:
    reporting = bench.reporting()
    with reporting.subscriber() as well:
        well.up("fine")
        with reporting.subscriber() as ill:
            ill.down("not fine")
            ill.down("not fine at all")
            assert not bench.health.dependencies["control_bus.subscribe"].ok
            assert bench.health.dependencies["control_bus.subscribe"].reason == "not fine at all"
        assert bench.health.dependencies["control_bus.subscribe"].ok
        well.down("gone")
    assert bench.health.dependencies["control_bus.subscribe"].reason == "no subscription is open"


async def test_bus_is_opened_from_settings(bench: KafkaBench, tmp_path: Path) -> None:
    health, figures = HealthBoard(), CollectorRegistry()
    bus = open_control_bus(
        ControlBusSettings(
            url=bench.kafka.url,
            registry_url=bench.registry.registry_url,
            subname=bench.subname,
            schema_cache=tmp_path / "kept",
            identity="somebody@else",
        ),
        identity="MTHeaderService",
        clock=SystemClock(),
        health=health,
        registry=figures,
    )
    assert isinstance(bus, KafkaControlBus)
    async with bus.subscribe([STATE]) as subscription:
        await subscription.ready()
        await bus.publish(STATE, {"summaryState": 2})
        (message,) = await take(subscription, 1)
    await bus.close()
    assert message.identity == "somebody@else"
    assert health.ready
    assert set(health.dependencies) == {
        "control_bus.publish",
        "control_bus.subscribe",
        "schema_registry",
    }
    assert figures.get_sample_value("arriero_bus_published_total", {"bus": "control_bus"}) == 1
    assert list((tmp_path / "kept").rglob("*.json"))


async def test_position_of_a_durable_reader_is_in_the_group_that_it_names(
    bench: KafkaBench, admin: AIOKafkaAdminClient
) -> None:
    sender = bench.bus()
    async with bench.bus().subscribe([START], durable=f"{bench.subname}-group") as subscription:
        await subscription.ready()
        for number in range(3):
            await sender.publish(START, {"imageName": str(number)})
        await take(subscription, 3)
    offsets = await admin.list_consumer_group_offsets(f"{bench.subname}-group")
    assert {partition.topic: place.offset for partition, place in offsets.items()} == {
        bench.topic(START): 3
    }


async def test_wrong_password_is_said_so(
    start_kafka: Starter[Kafka], small_registry: SmallRegistry, tmp_path: Path
) -> None:
    broker = start_kafka(users={"arriero": "mule"})
    secret = tmp_path / "password"
    secret.write_text("donkey")
    secret.chmod(0o600)
    health = HealthBoard()
    bus = open_control_bus(
        ControlBusSettings(
            url=broker.url,
            registry_url=small_registry.registry_url,
            security={
                "protocol": "SASL_PLAINTEXT",
                "username": "arriero",
                "password": {"file": str(secret)},
            },
            timeout_s=20,
        ),
        identity="x",
        clock=SystemClock(),
        health=health,
    )
    async with bus.subscribe([STATE]):
        with pytest.raises(BusDeniedError, match="refuses user `arriero`"):
            await bus.publish(STATE, {})
        await until(
            lambda: "refuses user `arriero`" in health.dependencies["control_bus.subscribe"].reason
        )
    await bus.close()


@pytest.mark.slow
async def test_sal_over_the_real_registry(kafka: Kafka, apicurio: Apicurio) -> None:
    bench = KafkaBench(kafka, apicurio)
    sender = bench.bus("MTCamera")
    try:
        await sender.publish(START, {"imageName": "MC_O_20260101_000001"})
        async with bench.bus().subscribe([START, VISIT]) as subscription:
            assert [m.historical for m in await take(subscription, 1)] == [True]
            await subscription.ready()
            await sender.publish(VISIT, {"groupId": "g"})
            await sender.publish(START, {"imageName": "MC_O_20260101_000002"})
            seen = {str(m.topic): m for m in await take(subscription, 2)}
    finally:
        await bench.close()
    assert seen[str(VISIT)].fields["groupId"] == "g"
    assert seen[str(START)].fields["imageName"] == "MC_O_20260101_000002"
