"""What every control bus promises: memory, Kafka and MQTT alike."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from daemons.bus import BusError, BusUnavailableError, Topic
from daemons.runtime.clock import SystemClock, TaiSeconds
from tests.contract.bus.control_benches import (
    Bench,
    KafkaBench,
    MemoryBench,
    MqttBench,
    nothing_more,
    take,
    take_deliveries,
    until,
)

START = Topic("MTCamera", "logevent_startIntegration")
STATE = Topic("MTCamera", "logevent_summaryState")
ELEVATION = Topic("MTMount", "elevation")


def visit(index: int) -> Topic:
    return Topic("ScriptQueue", "logevent_nextVisit", index)


MEMORY = "memory"
KAFKA = pytest.param("kafka", marks=pytest.mark.server)
MQTT = pytest.param("mqtt", marks=pytest.mark.server)


def shared(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    if request.param == "kafka":
        return KafkaBench(
            request.getfixturevalue("kafka"), request.getfixturevalue("schema_registry")
        )
    return MqttBench(request.getfixturevalue("mosquitto"))


@pytest.fixture(params=[MEMORY, KAFKA, MQTT])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A broker that is shared by the session and never taken away."""
    made = shared(request)
    yield made
    await made.close()


@pytest.fixture(params=[MEMORY, KAFKA])
async def past_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A broker that keeps messages to be read again; MQTT keeps none."""
    made = shared(request)
    yield made
    await made.close()


@pytest.fixture(params=[KAFKA, MQTT])
async def wire_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A broker that carries bytes; memory carries messages."""
    made = shared(request)
    yield made
    await made.close()


@pytest.fixture(params=[MEMORY, KAFKA, MQTT])
async def private_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A broker of the test's own."""
    made: Bench
    if request.param == "memory":
        made = MemoryBench()
    elif request.param == "kafka":
        made = KafkaBench(
            request.getfixturevalue("start_kafka")(), request.getfixturevalue("schema_registry")
        )
    else:
        made = MqttBench(request.getfixturevalue("start_mosquitto")())
    yield made
    await made.close()


@pytest.fixture
def names() -> Callable[[int], Iterator[dict[str, Any]]]:
    return lambda count: ({"imageName": f"MC_O_20260101_{n:06d}"} for n in range(1, count + 1))


def durable(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def images(messages: Any) -> list[str]:
    return [message.fields["imageName"] for message in messages]


async def test_message_arrives_as_it_was_sent(bench: Bench) -> None:
    before = SystemClock().tai()
    sender = bench.bus("MTCamera")
    async with bench.bus().subscribe([START]) as subscription:
        await subscription.ready()
        sent = await sender.publish(START, {"imageName": "MC_O_20260101_000001", "timeout": 2.5})
        (message,) = await take(subscription, 1)
    assert message == sent
    assert message.fields["imageName"] == "MC_O_20260101_000001"
    assert message.fields["timeout"] == 2.5
    assert before <= message.sent <= SystemClock().tai()
    assert (message.identity, message.origin) == ("MTCamera", os.getpid())
    assert not message.historical
    assert bench.broker_is_well


async def test_fields_left_out_are_zero_and_private_fields_are_taken_off(bench: Bench) -> None:
    sender = bench.bus()
    async with bench.bus().subscribe([visit(1)]) as subscription:
        await subscription.ready()
        await sender.publish(visit(1), {"groupId": "g"})
        (message,) = await take(subscription, 1)
    assert message.fields["position"] == [0.0, 0.0]
    assert message.fields["instrument"] == ""
    assert message.fields["nimages"] == 0
    assert not [name for name in message.fields if name.startswith("private_")]
    assert "salIndex" not in message.fields


async def test_nan_survives(bench: Bench) -> None:
    topic = Topic("ESS", "temperature", 301)
    sender = bench.bus()
    async with bench.bus().subscribe([topic]) as subscription:
        await subscription.ready()
        await sender.publish(topic, {"temperatureItem": [8.25, float("nan")]})
        (message,) = await take(subscription, 1)
    assert message.fields["temperatureItem"][0] == 8.25
    assert message.fields["temperatureItem"][1] != message.fields["temperatureItem"][1]


async def test_each_topic_counts_for_itself_and_keeps_its_order(
    bench: Bench, names: Callable[[int], Iterator[dict[str, Any]]]
) -> None:
    sender = bench.bus()
    async with bench.bus().subscribe([START, STATE]) as subscription:
        await subscription.ready()
        expected = []
        for fields in names(100):
            expected.append((await sender.publish(START, fields)).fields["imageName"])
            await sender.publish(STATE, {"summaryState": 2})
        messages = await take(subscription, 200)
    starts = [message for message in messages if message.topic == START]
    assert images(starts) == expected
    assert [message.sequence for message in starts] == list(range(1, 101))
    assert [m.sequence for m in messages if m.topic == STATE] == list(range(1, 101))


async def test_sequence_can_be_given(bench: Bench) -> None:
    topic = Topic("MTHeaderService", "ackcmd")
    sender = bench.bus()
    async with bench.bus().subscribe([topic]) as subscription:
        await subscription.ready()
        await sender.publish(topic, {"ack": 303}, sequence=1_959_872_645)
        await sender.publish(topic, {"ack": 303})
        messages = await take(subscription, 2)
    assert [message.sequence for message in messages] == [1_959_872_645, 1]


async def test_late_joiner_learns_the_last_event_of_each_topic(
    bench: Bench, names: Callable[[int], Iterator[dict[str, Any]]]
) -> None:
    sender = bench.bus()
    for fields in names(30):
        await sender.publish(START, fields)
    await sender.publish(STATE, {"summaryState": 5})
    await sender.publish(ELEVATION, {"actualPosition": 45.0})
    async with bench.bus().subscribe([START, STATE, ELEVATION]) as subscription:
        old = await take(subscription, 2)
        assert {str(message.topic) for message in old} == {str(START), str(STATE)}
        assert all(message.historical for message in old)
        assert images(m for m in old if m.topic == START) == ["MC_O_20260101_000030"]
        await subscription.ready()
        await sender.publish(START, {"imageName": "MC_O_20260101_000031"})
        (new,) = await take(subscription, 1)
        assert (new.fields["imageName"], new.historical) == ("MC_O_20260101_000031", False)


async def test_late_joiner_learns_the_last_event_of_each_index(bench: Bench) -> None:
    sender = bench.bus()
    for group, index in [("a", 1), ("b", 2), ("c", 1), ("d", 3), ("e", 3)]:
        await sender.publish(visit(index), {"groupId": group})
    async with (
        bench.bus().subscribe([visit(0)]) as every,
        bench.bus().subscribe([visit(1)]) as first,
    ):
        old = {m.topic.index: m.fields["groupId"] for m in await take(every, 3)}
        assert old == {1: "c", 2: "b", 3: "e"}
        assert [m.fields["groupId"] for m in await take(first, 1)] == ["c"]
        assert await nothing_more(first)


async def test_history_can_be_left_out(bench: Bench) -> None:
    sender = bench.bus()
    await sender.publish(START, {"imageName": "old"})
    async with bench.bus().subscribe([START], history=False) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "new"})
        assert images(await take(subscription, 1)) == ["new"]


async def test_reader_of_one_index_gets_only_that(bench: Bench) -> None:
    sender = bench.bus()
    async with bench.bus().subscribe([visit(2)]) as one, bench.bus().subscribe([visit(0)]) as every:
        await one.ready()
        await every.ready()
        for index in (1, 2, 3, 0):
            await sender.publish(visit(index), {"groupId": f"g{index}"})
        got = {m.fields["groupId"]: m.topic.index for m in await take(every, 4)}
        assert got == {"g0": 0, "g1": 1, "g2": 2, "g3": 3}
        assert [m.fields["groupId"] for m in await take(one, 1)] == ["g2"]
        assert await nothing_more(one)


async def test_reader_gets_only_its_topics(bench: Bench) -> None:
    sender = bench.bus()
    async with bench.bus().subscribe([STATE]) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "x"})
        await sender.publish(STATE, {"summaryState": 1})
        assert [m.topic for m in await take(subscription, 1)] == [STATE]


async def test_unknown_field_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(BusError, match="startIntegration has no field imagename"):
        await bench.bus().publish(START, {"imagename": "x"})


async def test_wrong_type_is_refused(bench: Bench) -> None:
    with pytest.raises(BusError, match=r"imageNumber.*'seven'"):
        await bench.bus().publish(START, {"imageNumber": "seven"})


async def test_index_of_a_component_without_index_is_refused(bench: Bench) -> None:
    with pytest.raises(BusError, match="MTCamera is not indexed"):
        await bench.bus().publish(Topic("MTCamera", "logevent_summaryState", 1), {})


async def test_durable_reader_gets_again_what_it_did_not_acknowledge(
    bench: Bench, names: Callable[[int], Iterator[dict[str, Any]]]
) -> None:
    sender = bench.bus()
    await sender.publish(START, {"imageName": "before everything"})
    name = durable("header")
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        await subscription.ready()
        sent = [(await sender.publish(START, f)).fields["imageName"] for f in names(5)]
        deliveries = await take_deliveries(subscription, 5)
        assert images(d.message for d in deliveries) == sent
        await deliveries[0].ack()
        await deliveries[1].ack()
        await deliveries[3].ack()
        await bench.settle()
    await sender.publish(START, {"imageName": "while away"})
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        again: list[str] = []
        while "while away" not in again:
            again += images(await take(subscription, 1))
        await bench.settle()
    assert sent[0] not in again
    assert sent[1] not in again
    assert [image for image in again if image in {sent[2], sent[4]}] == [sent[2], sent[4]]
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        assert await nothing_more(subscription)


async def test_reader_that_is_killed_loses_nothing(wire_bench: Bench) -> None:
    bench = wire_bench
    sender = bench.bus()
    name = durable("killed")
    command = [sys.executable, "-m", "tests.contract.bus.control_reader_process"]
    command += [bench.settings().model_dump_json(), name, "2"]
    reader = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert reader.stdout is not None

    async def told(count: int, output: asyncio.StreamReader = reader.stdout) -> list[str]:
        words: list[str] = []
        while len(words) < count:
            line = (await output.readline()).decode()
            if line.startswith("reader: "):
                words.append(line.removeprefix("reader: ").strip())
        return words

    try:
        async with asyncio.timeout(60):
            assert await told(1) == ["ready"]
            for number in range(5):
                await sender.publish(START, {"imageName": str(number)})
            assert await told(5) == ["0", "1", "2", "3", "4"]
            await asyncio.sleep(1.5)  # commits follow acknowledgements within a second
    finally:
        reader.kill()
        await reader.wait()
    await sender.publish(START, {"imageName": "5"})
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        assert images(await take(subscription, 4)) == ["2", "3", "4", "5"]


async def test_durable_reader_that_acknowledged_nothing_gets_everything_again(bench: Bench) -> None:
    sender = bench.bus()
    name = durable("again")
    for _ in range(2):
        async with bench.bus().subscribe([STATE], durable=name, history=False) as subscription:
            await subscription.ready()
            if _ == 0:
                await sender.publish(STATE, {"summaryState": 4})
            (message,) = await take(subscription, 1, ack=False)
            assert message.fields["summaryState"] == 4


async def test_durable_reader_hears_what_was_sent_while_it_was_away_on_a_new_topic(
    bench: Bench,
) -> None:
    sender = bench.bus()
    name = durable("new-topic")
    async with bench.bus().subscribe([START, STATE], durable=name, history=False) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "first"})
        await take(subscription, 1)
    await sender.publish(STATE, {"summaryState": 3})
    async with bench.bus().subscribe([START, STATE], durable=name, history=False) as subscription:
        messages = await take(subscription, 1)
        while messages[-1].topic != STATE:
            messages += await take(subscription, 1)
    assert messages[-1].fields["summaryState"] == 3


async def test_past_is_read_again_from_an_instant_on(past_bench: Bench) -> None:
    bench = past_bench
    sender = bench.bus()
    await sender.publish(ELEVATION, {"actualPosition": 1.0})
    await asyncio.sleep(0.05)
    sent = await sender.publish(ELEVATION, {"actualPosition": 2.0})
    await sender.publish(ELEVATION, {"actualPosition": 3.0})
    async with bench.bus().subscribe([ELEVATION], since=TaiSeconds(sent.sent - 0.01)) as again:
        assert [m.fields["actualPosition"] for m in await take(again, 2)] == [2.0, 3.0]
        await again.ready()
        await sender.publish(ELEVATION, {"actualPosition": 4.0})
        assert [m.fields["actualPosition"] for m in await take(again, 1)] == [4.0]


async def test_history_and_past_join_without_a_gap_or_a_repetition(past_bench: Bench) -> None:
    bench = past_bench
    sender = bench.bus()
    for name in ("a", "b"):
        await sender.publish(START, {"imageName": name})
    await asyncio.sleep(0.05)
    sent = await sender.publish(START, {"imageName": "c"})
    await sender.publish(START, {"imageName": "d"})
    async with bench.bus().subscribe([START], since=TaiSeconds(sent.sent - 0.01)) as subscription:
        messages = await take(subscription, 3)
        assert [(m.fields["imageName"], m.historical) for m in messages] == [
            ("b", True),
            ("c", False),
            ("d", False),
        ]
        assert await nothing_more(subscription)


async def test_iteration_ends_when_the_bus_is_closed(bench: Bench) -> None:
    bus = bench.bus()
    async with bus.subscribe([START]) as subscription:

        async def read() -> int:
            return len([delivery async for delivery in subscription])

        reading = asyncio.create_task(read())
        await subscription.ready()
        await bus.close()
        async with asyncio.timeout(20):
            assert await reading == 0


async def test_subscription_outlives_its_broker(private_bench: Bench) -> None:
    bench = private_bench
    sender = bench.bus()
    async with bench.bus().subscribe([START]) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "before"})
        assert images(await take(subscription, 1)) == ["before"]
        await bench.stop()
        with pytest.raises(BusUnavailableError):
            await sender.publish(START, {"imageName": "lost"})
        await until(lambda: not bench.broker_is_well)
        await bench.start()
        await until(lambda: bench.broker_is_well)
        await subscription.ready()
        await sender.publish(START, {"imageName": "after"})
        seen: list[str] = []
        while "after" not in seen:
            seen += images(await take(subscription, 1))
    assert "before" not in seen


async def test_durable_reader_loses_nothing_over_a_broker_restart(private_bench: Bench) -> None:
    bench = private_bench
    sender = bench.bus()
    async with bench.bus().subscribe([START], durable="survivor") as subscription:
        await subscription.ready()
        for number in range(10):
            await sender.publish(START, {"imageName": f"before {number}"})
        first = images(await take(subscription, 4))
        await bench.stop()
        await bench.start()
        for number in range(10):
            await _persistently(sender, START, {"imageName": f"after {number}"})
        seen = list(first)
        while "after 9" not in seen:
            seen += images(await take(subscription, 1))
    expected = [f"before {n}" for n in range(10)] + [f"after {n}" for n in range(10)]
    assert [image for image in dict.fromkeys(seen) if image in expected] == expected


async def test_broker_that_is_absent_at_start_is_waited_for(private_bench: Bench) -> None:
    bench = private_bench
    await bench.stop()
    sender = bench.bus()
    async with bench.bus().subscribe([START]) as subscription:
        waiting = asyncio.create_task(subscription.ready())
        with pytest.raises(BusUnavailableError):
            await sender.publish(START, {"imageName": "nobody takes it"})
        assert not waiting.done()
        await until(lambda: bench.health.dependencies and not bench.broker_is_well)
        await bench.start()
        async with asyncio.timeout(60):
            await waiting
        await _persistently(sender, START, {"imageName": "now"})
        seen: list[str] = []
        while "now" not in seen:
            seen += images(await take(subscription, 1))
        await until(lambda: bench.broker_is_well)


@pytest.mark.server
@pytest.mark.parametrize("kind", ["kafka", "mqtt"])
async def test_broker_that_freezes_is_noticed_and_waited_for(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"start_{'kafka' if kind == 'kafka' else 'mosquitto'}")()
    registry = request.getfixturevalue("schema_registry")
    bench = KafkaBench(server, registry) if kind == "kafka" else MqttBench(server)
    sender = bench.bus()
    async with bench.bus().subscribe([START]) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "before"})
        await take(subscription, 1)
        server.pause()
        await until(lambda: not bench.health.dependencies["control_bus.subscribe"].ok)
        with pytest.raises(BusUnavailableError):
            await sender.publish(START, {"imageName": "lost or late"})
        server.resume()
        await until(lambda: bench.broker_is_well)
        await _persistently(sender, START, {"imageName": "after"})
        seen: list[str] = []
        while "after" not in seen:
            seen += images(await take(subscription, 1))
    await bench.close()


async def _persistently(bus: Any, topic: Topic, fields: dict[str, Any]) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.publish(topic, fields)
            except BusUnavailableError:
                continue
            return


@pytest.mark.parametrize(
    "payload", [b"\x07garbage", b"\x00\x00\x00", b"\x00\x7f\xff\xff\xff\x00", b"[1, 2]"]
)
async def test_poison_message_is_counted_and_skipped(wire_bench: Bench, payload: bytes) -> None:
    bench = wire_bench
    sender = bench.bus()
    name = durable("poisoned")
    await sender.publish(START, {"imageName": "topic exists"})
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        await subscription.ready()
        await sender.publish(START, {"imageName": "a"})
        await bench.spoil(START, payload)
        await sender.publish(START, {"imageName": "b"})
        assert images(await take(subscription, 2)) == ["a", "b"]
        await bench.settle()
    assert bench.figure("arriero_bus_poison_messages_total", bus="control_bus") >= 1
    async with bench.bus().subscribe([START], durable=name, history=False) as subscription:
        assert await nothing_more(subscription)
