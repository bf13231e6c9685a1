"""The event stream on Kafka: groups, stuck clients, rights, what foreign clients see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from daemons.bus import BusDeniedError, BusError, BusUnavailableError, EventStream
from daemons.bus.address import parse_address
from daemons.bus.kafka_client import KafkaCluster, TopicPlan, ensure_topics, topic_partitions
from daemons.bus.kafka_consumer import KafkaReader
from daemons.bus.kafka_producer import KafkaProducer
from daemons.bus.metrics import bus_metrics
from daemons.bus.report import ConnectionReport
from daemons.bus.security import BusSecurity
from daemons.bus.stream.kafka import KafkaEventStream
from daemons.events import Event
from daemons.runtime.health import HealthBoard
from daemons.runtime.secrets import SecretRef
from tests.contract.bus.stream_reader import LONG_SESSION, doomed_reader, line
from tests.contract.bus.stream_worlds import (
    KAFKA_TIMING,
    PATIENCE_S,
    KafkaWorld,
    make_event,
    nothing_comes,
    number_of,
    numbers,
    opened,
    take,
    take_acked,
    until,
)
from tests.support.fixtures import Starter
from tests.support.servers import Kafka

pytestmark = pytest.mark.server


@pytest.fixture
async def world(kafka: Kafka) -> AsyncIterator[KafkaWorld]:
    world = KafkaWorld(kafka)
    async with opened(world):
        yield world


@pytest.fixture
async def private(start_kafka: Starter[Kafka]) -> AsyncIterator[KafkaWorld]:
    world = KafkaWorld(start_kafka())
    async with opened(world):
        yield world


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> list[AIOKafkaConsumer]:
    """The aiokafka consumers of readers in groups, in the order of their making."""
    made: list[AIOKafkaConsumer] = []
    original = KafkaReader._new_consumer

    def remember(self: KafkaReader, client_id: str) -> AIOKafkaConsumer:
        made.append(original(self, client_id))
        return made[-1]

    monkeypatch.setattr(KafkaReader, "_new_consumer", remember)
    return made


def restarts(world: KafkaWorld, cause: str) -> float:
    counter = world.metrics.client_restarts.labels(bus="event_stream", cause=cause)
    return float(counter._value.get())


# Groups


async def test_two_members_of_a_group_share_the_partitions(world: KafkaWorld) -> None:
    keys = [f"exposure-{number}" for number in range(12)]
    one, two, publisher = world.stream("one"), world.stream("two"), world.stream("publisher")
    seen: dict[str, list[Event]] = {"one": [], "two": []}

    async def read(name: str, stream: EventStream) -> None:
        async with stream.subscribe(world.group) as subscription:
            async for delivery in subscription:
                seen[name].append(delivery.message)
                await delivery.ack()

    async with asyncio.TaskGroup() as tasks:
        readers = [
            tasks.create_task(read("one", one)),
            tasks.create_task(read("two", two)),
        ]
        await until(lambda: both_hold_partitions(world))
        for number in range(60):
            await publisher.publish(make_event(number, key=keys[number % 12]))
        await until(lambda: len({event.id for event in seen["one"] + seen["two"]}) == 60)
        for reader in readers:
            reader.cancel()

    keys_of = {name: {event.partitionkey for event in events} for name, events in seen.items()}
    assert keys_of["one"]
    assert keys_of["two"]
    assert not keys_of["one"] & keys_of["two"]
    for events in seen.values():
        for key in keys:
            of_key = [number_of(event) for event in events if event.partitionkey == key]
            assert of_key == sorted(of_key)


async def both_hold_partitions(world: KafkaWorld) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.server.bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_consumer_groups([world.group])
    except GroupCoordinatorNotAvailableError:
        return False  # the first group of a broker has to wait for it
    finally:
        await admin.close()
    [(_, _, state, _, _, members, *_)] = answer.groups
    return state == "Stable" and len(members) == 2


async def test_the_other_member_takes_over_what_one_has_not_acknowledged(
    world: KafkaWorld,
) -> None:
    leaving, staying, publisher = (world.stream(name) for name in ("leaving", "staying", "pub"))
    async with leaving.subscribe(world.group) as first:
        await first.ready()
        for number in range(6):
            await publisher.publish(make_event(number, key=f"exposure-{number}"))
        held = await take(first, 6)
        for delivery in held[:2]:
            await delivery.ack()
    async with staying.subscribe(world.group) as second:
        got = numbers(await take(second, 4))
    assert set(got) >= set(numbers(held[2:]))


@pytest.mark.slow
async def test_a_killed_reader_loses_nothing(world: KafkaWorld) -> None:
    stream = world.stream()
    for number in range(5):
        await stream.publish(make_event(number))
    async with doomed_reader(world.server.url, world.topic, world.group) as reader:
        async with asyncio.timeout(PATIENCE_S):
            assert [await line(reader) for _ in range(6)] == ["ready", "0", "1", "2", "3", "4"]

    async with stream.subscribe(world.group) as subscription:
        assert await take_acked(subscription, 5) == [0, 1, 2, 3, 4]


async def test_a_named_member_that_was_killed_has_its_partitions_back_before_its_session_ends(
    kafka: Kafka,
) -> None:
    world = KafkaWorld(kafka, timing=LONG_SESSION)
    async with opened(world):
        stream = world.make_stream("again", 20.0, member="registrar-1")
        await stream.publish(make_event(1))
        command = (kafka.url, world.topic, world.group, "registrar-1")
        async with doomed_reader(*command) as reader, asyncio.timeout(PATIENCE_S):
            assert [await line(reader) for _ in range(2)] == ["ready", "1"]

        async with stream.subscribe(world.group) as subscription:
            assert numbers(await take(subscription, 1)) == [1]
        await stream.close()


@pytest.mark.slow
async def test_the_watchdog_knows_a_named_member(kafka: Kafka) -> None:
    timing = replace(KAFKA_TIMING, stall_after_s=2.0, watch_every_s=0.5)
    world = KafkaWorld(kafka, timing=timing)
    async with opened(world):
        for name in ("before", "after"):  # the broker goes on calling the second one `before`
            stream = world.make_stream(name, 20.0, member="registrar-1")
            async with stream.subscribe(world.group) as subscription:
                await subscription.ready()
                await asyncio.sleep(3 * timing.stall_after_s)
            await stream.close()
        assert restarts(world, "stuck") == 0


async def test_an_acknowledgement_is_committed_soon(world: KafkaWorld) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(3):
            await stream.publish(make_event(number))
        deliveries = await take(subscription, 3)
        await deliveries[1].ack()
        await deliveries[0].ack()
        await until(lambda: committed_sum(world, 2))


async def committed_sum(world: KafkaWorld, expected: int) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.server.bootstrap)
    await admin.start()
    try:
        kept = await admin.list_consumer_group_offsets(world.group)
    finally:
        await admin.close()
    offsets = [place.offset for tp, place in kept.items() if tp.topic == world.topic]
    return sum(offset for offset in offsets if offset > 0) == expected


# Clients that are alive and do not get on


@pytest.mark.slow
async def test_a_consumer_whose_fetching_died_is_noticed_and_made_anew(
    world: KafkaWorld, consumers: list[AIOKafkaConsumer]
) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(0))
        assert await take_acked(subscription, 1) == [0]
        consumers[0]._fetcher._fetch_task.cancel()
        await asyncio.sleep(1.0)  # for the request that is under way
        await stream.publish(make_event(1))
        assert await nothing_comes(subscription)  # it is stuck indeed

        assert await take_acked(subscription, 1) == [1]
        assert restarts(world, "stuck") == 1
        await until(lambda: world.read_health()[0])


@pytest.mark.slow
async def test_a_consumer_that_left_its_group_unawares_is_noticed_and_made_anew(
    world: KafkaWorld, consumers: list[AIOKafkaConsumer]
) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        coordinator = consumers[0]._coordinator
        coordinator._coordination_task.cancel()
        coordinator._heartbeat_task.cancel()
        # aiokafka's own cancellation comes out of its calls, or the watchdog sees it.
        await until(lambda: restarts(world, "error") + restarts(world, "stuck") == 1)
        await stream.publish(make_event(1))
        assert await take_acked(subscription, 1) == [1]


@pytest.mark.slow
async def test_an_application_that_is_slow_is_not_taken_for_a_stuck_consumer(
    kafka: Kafka, consumers: list[AIOKafkaConsumer]
) -> None:
    timing = replace(KAFKA_TIMING, stall_after_s=2.0, watch_every_s=0.5)
    world = KafkaWorld(kafka, timing=timing)
    async with opened(world):
        stream = world.stream()
        async with stream.subscribe(world.group) as subscription:
            await subscription.ready()
            async with asyncio.TaskGroup() as tasks:
                for number in range(1200):  # more than the reader's queue holds
                    tasks.create_task(stream.publish(make_event(number)))
            assert numbers(await take(subscription, 1)) == [0]
            await asyncio.sleep(3 * timing.stall_after_s)
            assert await take_acked(subscription, 1199) == list(range(1, 1200))
        assert restarts(world, "stuck") == 0
        assert len(consumers) == 1


@pytest.mark.slow
async def test_a_frozen_broker_is_waited_for(private: KafkaWorld) -> None:
    stream = private.stream(publish_timeout_s=3.0)
    async with stream.subscribe(private.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(0))
        assert await take_acked(subscription, 1) == [0]

        private.server.pause()
        with pytest.raises(BusUnavailableError, match="does not answer"):
            await stream.publish(make_event(1))
        await until(lambda: not private.read_health()[0])
        private.server.resume()

        patient = private.stream("patient", publish_timeout_s=PATIENCE_S)
        await patient.publish(make_event(2))
        seen = []
        while not seen or seen[-1] != 2:
            seen += await take_acked(subscription, 1)
        assert set(seen) <= {0, 1, 2}
        await until(lambda: private.health.ready)


# Topics and records


async def test_topics_are_created_as_planned_and_left_alone_when_they_exist(kafka: Kafka) -> None:
    cluster = KafkaCluster(parse_address(kafka.url), "test", timing=KAFKA_TIMING)
    plan = TopicPlan("planned", partitions=5, config={"cleanup.policy": "compact"})
    await ensure_topics(cluster, [plan, TopicPlan("other", partitions=2)])
    await ensure_topics(cluster, [replace(plan, partitions=7)])

    assert await topic_partitions(cluster, ["planned", "other"]) == {
        "planned": (0, 1, 2, 3, 4),
        "other": (0, 1),
    }


async def test_a_foreign_client_reads_a_cloud_event_in_structured_mode(world: KafkaWorld) -> None:
    event = make_event(3)
    await world.stream().publish(event)
    async with AIOKafkaConsumer(
        world.topic, bootstrap_servers=world.server.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        async with asyncio.timeout(PATIENCE_S):
            record = await consumer.getone()

    assert record.key == b"file.fits"
    assert dict(record.headers) == {"content-type": b"application/cloudevents+json"}
    assert json.loads(record.value)["id"] == event.id


async def test_a_message_that_is_too_large_is_refused_and_the_next_one_goes_on(
    world: KafkaWorld,
) -> None:
    stream = world.stream()
    large = make_event(1).model_copy(update={"subject": "x" * 2_000_000})
    with pytest.raises(BusError) as caught:
        await stream.publish(large)
    assert not caught.value.retryable
    await stream.publish(make_event(2))


async def test_an_idempotent_producer_waits_for_every_replica(world: KafkaWorld) -> None:
    stream = world.stream()
    await stream.publish(make_event(1))
    assert isinstance(stream, KafkaEventStream)
    life = stream._producer._life
    assert life is not None
    assert life.client._sender._acks == -1
    assert life.client._txn_manager is not None


@pytest.mark.slow
async def test_a_reader_without_a_group_begins_at_the_end_and_keeps_its_place(
    private: KafkaWorld, consumers: list[AIOKafkaConsumer]
) -> None:
    stream = private.stream(publish_timeout_s=PATIENCE_S)
    await stream.publish(make_event(0))
    cluster = KafkaCluster(parse_address(private.server.url), "alone", timing=KAFKA_TIMING)
    report = ConnectionReport(private.health, "alone", private.metrics, "event_stream")
    reader = KafkaReader(cluster, [TopicPlan(private.topic, 3)], report=report)
    running = asyncio.create_task(reader.run())
    try:
        await reader.ready()
        await stream.publish(make_event(1))
        async with asyncio.timeout(PATIENCE_S):
            assert b'"size_bytes":1' in ((await reader.next()).value or b"")
            consumers[0]._fetcher._fetch_task.cancel()
            await asyncio.sleep(1.0)  # for the request that is under way
            await stream.publish(make_event(2))
            assert b'"size_bytes":2' in ((await reader.next()).value or b"")
        assert restarts(private, "stuck") == 1
    finally:
        running.cancel()
        await asyncio.wait({running})


# Rights


Opener = Callable[[str, str], KafkaProducer]


@pytest.fixture
async def guarded(
    start_kafka: Starter[Kafka], tmp_path: Path
) -> AsyncIterator[tuple[Kafka, HealthBoard, Opener]]:
    """A Kafka that asks who is there, and what opens a producer of a user."""
    server = start_kafka(users={"forwarder": "right"})
    health = HealthBoard()
    producers: list[KafkaProducer] = []

    def open_producer(user: str, password: str) -> KafkaProducer:
        secret = tmp_path / f"{user}.secret"
        secret.write_text(password)
        secret.chmod(0o600)
        security = BusSecurity(
            protocol="SASL_PLAINTEXT", username=user, password=SecretRef(file=secret)
        )
        cluster = KafkaCluster(parse_address(server.url), "test", security, KAFKA_TIMING)
        report = ConnectionReport(health, "broker", bus_metrics(None), "event_stream")
        producers.append(KafkaProducer(cluster, topics=[TopicPlan("events")], report=report))
        return producers[-1]

    yield server, health, open_producer
    for producer in producers:
        await producer.close()


async def test_a_wrong_password_is_called_so(
    guarded: tuple[Kafka, HealthBoard, Opener], tmp_path: Path
) -> None:
    server, health, open_producer = guarded
    producer = open_producer(server.super_user[0], "wrong")
    with pytest.raises(BusDeniedError, match="wrong user name or password") as caught:
        await producer.send("events", b"1", timeout_s=4.0)
    assert "user `broker`" in str(caught.value)
    assert "wrong user name or password" in health.dependencies["broker"].reason

    (tmp_path / "broker.secret").write_text(server.super_user[1])
    await producer.send("events", b"2", timeout_s=PATIENCE_S)
    assert health.ready


@pytest.mark.slow
async def test_missing_rights_are_called_so_until_they_are_given(
    guarded: tuple[Kafka, HealthBoard, Opener],
) -> None:
    server, health, open_producer = guarded
    allowed, denied = open_producer(*server.super_user), open_producer("forwarder", "right")
    await allowed.send("events", b"1", timeout_s=PATIENCE_S)
    with pytest.raises(BusDeniedError, match="user `forwarder`"):
        await denied.send("events", b"2", timeout_s=8.0)
    assert "forwarder" in health.dependencies["broker"].reason

    configuration = server.directory / "server.properties"
    text = configuration.read_text()
    configuration.write_text(
        text.replace("super.users=User:broker", "super.users=User:broker;User:forwarder")
    )
    await asyncio.to_thread(server.restart)
    await denied.send("events", b"3", timeout_s=PATIENCE_S)
    await until(lambda: health.ready)


async def test_a_plain_client_at_a_listener_with_passwords_is_told_what_to_check(
    guarded: tuple[Kafka, HealthBoard, Opener],
) -> None:
    server, _, _ = guarded
    health = HealthBoard()
    report = ConnectionReport(health, "broker", bus_metrics(None), "event_stream")
    timing = replace(KAFKA_TIMING, request_timeout_s=2.0)
    cluster = KafkaCluster(parse_address(server.url), "test", timing=timing)
    producer = KafkaProducer(cluster, report=report)
    try:
        with pytest.raises(BusUnavailableError, match=r"security\.protocol"):
            await producer.send("events", b"1", timeout_s=6.0)
    finally:
        await producer.close()
