"""What every event stream promises, in memory, on Kafka and on MQTT."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from daemons.bus import BusUnavailableError
from daemons.events import ImageQuarantined
from tests.contract.bus.stream_worlds import (
    PATIENCE_S,
    KafkaWorld,
    MemoryWorld,
    MqttWorld,
    World,
    make_event,
    nothing_comes,
    number_of,
    numbers,
    opened,
    take,
    take_acked,
    until,
)

WORLDS = [
    "memory",
    pytest.param("kafka", marks=pytest.mark.server),
    pytest.param("mqtt", marks=pytest.mark.server),
]


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A broker that is shared with other tests and stays up."""
    match request.param:
        case "kafka":
            made: World = KafkaWorld(request.getfixturevalue("kafka"))
        case "mqtt":
            made = MqttWorld(request.getfixturevalue("mosquitto"))
        case _:
            made = MemoryWorld()
    async with opened(made):
        yield made


FRAGILE_WORLDS = [
    "memory",
    pytest.param("kafka", marks=[pytest.mark.server, pytest.mark.slow]),
    pytest.param("mqtt", marks=pytest.mark.server),
]


@pytest.fixture(params=FRAGILE_WORLDS)
async def fragile(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A broker that the test may stop."""
    match request.param:
        case "kafka":
            made: World = KafkaWorld(request.getfixturevalue("start_kafka")())
        case "mqtt":
            made = MqttWorld(request.getfixturevalue("start_mosquitto")())
        case _:
            made = MemoryWorld()
    async with opened(made):
        yield made


async def test_an_event_arrives_as_it_was_published(world: World) -> None:
    stream = world.stream()
    event = make_event(7)
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(event)
        [delivery] = await take(subscription, 1)

    assert delivery.message == event
    assert delivery.message.read(ImageQuarantined).codes == ("fits.truncated",)


async def test_a_new_group_begins_at_the_oldest_event_that_is_kept(world: World) -> None:
    stream = world.stream()
    for number in range(3):
        await stream.publish(make_event(number))

    async with stream.subscribe("late") as subscription:
        await subscription.ready()
        await stream.publish(make_event(3))
        if world.keeps_before_first_subscription:
            assert await take_acked(subscription, 4) == [0, 1, 2, 3]
        else:
            assert await take_acked(subscription, 1) == [3]


async def test_what_was_not_acknowledged_comes_again_in_order(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(5):
            await stream.publish(make_event(number))
        assert numbers(await take(subscription, 5)) == [0, 1, 2, 3, 4]

    async with stream.subscribe(world.group) as subscription:
        assert numbers(await take(subscription, 5)) == [0, 1, 2, 3, 4]


async def test_a_group_resumes_where_it_acknowledged(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(6):
            await stream.publish(make_event(number))
        assert await take_acked(subscription, 3) == [0, 1, 2]

    await stream.publish(make_event(6))
    async with stream.subscribe(world.group) as subscription:
        assert await take_acked(subscription, 4) == [3, 4, 5, 6]
        assert await nothing_comes(subscription)


async def test_acknowledgements_out_of_order_lose_nothing(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(4):
            await stream.publish(make_event(number))
        deliveries = await take(subscription, 4)
        await deliveries[3].ack()
        await deliveries[0].ack()
        await deliveries[2].ack()

    async with stream.subscribe(world.group) as subscription:
        assert numbers(await take(subscription, 1)) == [1]


async def test_acknowledging_twice_changes_nothing(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(3):
            await stream.publish(make_event(number))
        deliveries = await take(subscription, 3)
        for _ in range(3):
            await deliveries[0].ack()

    async with stream.subscribe(world.group) as subscription:
        assert numbers(await take(subscription, 2)) == [1, 2]


async def test_events_of_one_key_arrive_in_the_order_of_publishing(world: World) -> None:
    stream = world.stream()
    keys = ("a.fits", "b.fits", "c.fits", "d.fits")
    seen: dict[str, list[int]] = {key: [] for key in keys}
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(80):
            await stream.publish(make_event(number, key=keys[number % 4]))
        for _ in range(80):
            [delivery] = await take(subscription, 1)
            seen[delivery.message.partitionkey].append(number_of(delivery.message))
            await delivery.ack()

    assert seen == {key: list(range(position, 80, 4)) for position, key in enumerate(keys)}


async def test_every_group_gets_every_event(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe("one") as one, stream.subscribe("two") as two:
        await one.ready()
        await two.ready()
        for number in range(4):
            await stream.publish(make_event(number))
        assert await take_acked(one, 4) == [0, 1, 2, 3]
        assert await take_acked(two, 4) == [0, 1, 2, 3]


async def test_other_types_are_acknowledged_unseen(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group, types={"image.stored"}) as subscription:
        await subscription.ready()
        for number in range(3):
            await stream.publish(make_event(number))
        assert await nothing_comes(subscription)

    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(3))
        assert await take_acked(subscription, 1) == [3]


async def test_two_streams_on_one_topic_talk_to_each_other(world: World) -> None:
    publisher, reader = world.stream("publisher"), world.stream("reader")
    async with reader.subscribe(world.group) as subscription:
        await subscription.ready()
        await publisher.publish(make_event(1))
        assert await take_acked(subscription, 1) == [1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not JSON at all \xff\xfe",
        json.dumps({"specversion": "1.0", "id": "1"}).encode(),
        make_event(1).model_copy(update={"data": {"host": 3}}).model_dump_json().encode(),
    ],
    ids=["empty", "bytes", "no CloudEvent", "data that do not fit"],
)
async def test_a_poison_message_is_set_aside_and_holds_up_nothing(
    world: World, payload: bytes
) -> None:
    stream = world.stream()
    async with (
        stream.subscribe(world.group) as subscription,
        aclosing(world.dead_letters()) as dead_letters,
    ):
        await subscription.ready()
        burial = asyncio.ensure_future(anext(dead_letters))
        await asyncio.sleep(0.3)  # MQTT keeps nothing for a listener who comes later
        await stream.publish(make_event(0))
        await world.send_raw(payload)
        await stream.publish(make_event(1))
        assert await take_acked(subscription, 2) == [0, 1]
        async with asyncio.timeout(PATIENCE_S):
            letter = await burial
        assert letter.payload == payload
        assert letter.reason
        await until(lambda: poison_count(world) == 1)
        await asyncio.sleep(0.2)  # for its acknowledgement

    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(2))
        assert await take_acked(subscription, 1) == [2]
    assert poison_count(world) == 1


def poison_count(world: World) -> float:
    return float(world.metrics.poison.labels(bus="event_stream")._value.get())


async def test_giving_up_waiting_for_an_event_loses_none(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        iterator = aiter(subscription)
        seen = []
        publishing = asyncio.ensure_future(publish_slowly(world, 40))
        while len(seen) < 40:
            try:
                async with asyncio.timeout(0.001):
                    delivery = await anext(iterator)
            except TimeoutError:
                continue
            seen.append(number_of(delivery.message))
            await delivery.ack()
        await publishing

    assert seen == list(range(40))


async def publish_slowly(world: World, count: int) -> None:
    stream = world.stream("slow")
    for number in range(count):
        await stream.publish(make_event(number))
        await asyncio.sleep(0.0007 * (number % 5))


async def test_closing_the_stream_ends_the_iteration(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()

        async def read_all() -> list[int]:
            return [number_of(delivery.message) async for delivery in subscription]

        reading = asyncio.ensure_future(read_all())
        await asyncio.sleep(0.1)
        await stream.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await reading == []

    with pytest.raises(BusUnavailableError, match="closed"):
        await stream.publish(make_event(1))
    await stream.close()


async def test_closing_finishes_the_publications_that_are_under_way(world: World) -> None:
    stream = world.stream()
    async with world.stream("reader").subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(0))
        publishing = [asyncio.ensure_future(stream.publish(make_event(n))) for n in range(1, 60)]
        await asyncio.sleep(0)
        await stream.close()
        await asyncio.gather(*publishing)
        assert await take_acked(subscription, 60) == list(range(60))


async def test_an_error_in_the_reader_comes_out_as_it_is(world: World) -> None:
    stream = world.stream()

    async def stumble() -> None:
        async with stream.subscribe(world.group) as subscription:
            await subscription.ready()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()


async def test_figures_count_what_was_published_and_delivered(world: World) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        for number in range(3):
            await stream.publish(make_event(number))
        await take_acked(subscription, 3)

    assert world.metrics.published.labels(bus="event_stream")._value.get() == 3
    assert world.metrics.delivered.labels(bus="event_stream", group=world.group)._value.get() == 3


async def test_publishing_while_the_broker_is_away_fails_within_its_timeout(
    fragile: World,
) -> None:
    stream = fragile.stream(publish_timeout_s=2.0)
    await stream.publish(make_event(0))
    await fragile.broker_stops()

    async with asyncio.timeout(10.0):  # of a test that hangs, not of the promise
        with pytest.raises(BusUnavailableError) as caught:
            await stream.publish(make_event(1))
    assert caught.value.retryable
    assert not fragile.health_of("publish")[0]
    failures = fragile.metrics.publish_failures.labels(bus="event_stream", code="bus.unavailable")
    assert failures._value.get() == 1


async def test_what_failed_through_an_outage_is_not_sent_again_and_again(fragile: World) -> None:
    impatient = fragile.stream(publish_timeout_s=1.0)
    patient = fragile.stream(publish_timeout_s=PATIENCE_S)
    async with patient.subscribe(fragile.group) as subscription:
        await subscription.ready()
        await impatient.publish(make_event(0))
        assert await take_acked(subscription, 1) == [0]
        await fragile.broker_stops()
        for _ in range(5):
            with pytest.raises(BusUnavailableError):
                await impatient.publish(make_event(1))
        await fragile.broker_starts()
        await patient.publish(make_event(2))
        await until(lambda: fragile.health.ready)
        await impatient.publish(make_event(3))

        seen = [0]
        while seen[-1] != 3:
            seen += await take_acked(subscription, 1)
    assert 2 in seen
    assert 1 not in seen


async def test_a_broker_that_is_absent_at_the_start_is_waited_for(fragile: World) -> None:
    await fragile.broker_stops()
    stream = fragile.stream(publish_timeout_s=PATIENCE_S)
    async with stream.subscribe(fragile.group) as subscription:
        iterator = aiter(subscription)
        publishing = asyncio.ensure_future(stream.publish(make_event(1)))
        await until(lambda: told(fragile, "publish") and told(fragile, f"read.{fragile.group}"))
        assert not fragile.health.ready

        await fragile.broker_starts()
        await subscription.ready()
        await publishing
        await stream.publish(make_event(2))
        async with asyncio.timeout(PATIENCE_S):
            seen = [number_of((await anext(iterator)).message)]
            while seen[-1] != 2:
                seen.append(number_of((await anext(iterator)).message))
        assert set(seen) <= {1, 2}
        await until(lambda: fragile.health.ready)


def told(world: World, role: str) -> bool:
    """Return whether the board says that the broker is away, and why."""
    ok, reason = world.health_of(role)
    return not ok and reason not in {"not known", "not reached yet"}


async def test_publisher_and_reader_go_on_through_a_restart_of_the_broker(fragile: World) -> None:
    stream = fragile.stream(publish_timeout_s=1.0)
    confirmed: list[int] = []
    received: list[int] = []
    done = asyncio.Event()

    async def publish_all() -> None:
        for number in range(60):
            while True:
                try:
                    await stream.publish(make_event(number))
                except BusUnavailableError:
                    continue
                confirmed.append(number)
                break
            await asyncio.sleep(0.05)
        done.set()

    async with stream.subscribe(fragile.group) as subscription:
        await subscription.ready()

        async def receive_all() -> None:
            async for delivery in subscription:
                received.append(number_of(delivery.message))
                await delivery.ack()

        receiving = asyncio.create_task(receive_all())
        publishing = asyncio.create_task(publish_all())
        await until(lambda: len(received) >= 10)
        await fragile.broker_stops()
        await asyncio.sleep(0.5)
        await fragile.broker_starts()
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
        await until(lambda: set(confirmed) <= set(received))
        receiving.cancel()
        await asyncio.wait({receiving, publishing})

    assert confirmed == list(range(60))
    firsts = [
        number for position, number in enumerate(received) if number not in received[:position]
    ]
    assert firsts == list(range(60))  # a repetition never comes before its turn
    assert fragile.health_of("publish")[0]
