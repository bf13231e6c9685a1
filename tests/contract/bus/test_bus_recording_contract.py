"""A recording of one bus, replayed onto another, is the same messages again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from daemons.bus import Topic
from daemons.bus.control.factory import open_control_bus
from daemons.bus.recording.file import RecordingWriter, read_recording
from daemons.bus.recording.record import record
from daemons.bus.recording.replay import ReplayPlan, ReplayReport, replay
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import AvroSchema
from daemons.bus.sal.wire import encode, subject
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from tests.contract.bus.control_benches import (
    PATIENCE_S,
    Bench,
    KafkaBench,
    MemoryBench,
    MqttBench,
    take,
)
from tests.support.servers import Kafka, Mosquitto, SmallRegistry
from tests.support.waiting import until

START = Topic("MTCamera", "logevent_startIntegration")
VISIT = Topic("ScriptQueue", "logevent_nextVisit", 1)
ELEVATION = Topic("MTMount", "elevation")
TEMPERATURE = Topic("ESS", "temperature", 301)
TOPICS = [START, VISIT, ELEVATION, TEMPERATURE]
KINDS = [
    "memory",
    pytest.param("kafka", marks=pytest.mark.server),
    pytest.param("mqtt", marks=pytest.mark.server),
]


def bench_of(kind: str, request: pytest.FixtureRequest) -> Bench:
    if kind == "memory":
        return MemoryBench()
    if kind == "kafka":
        return KafkaBench(
            request.getfixturevalue("kafka"), request.getfixturevalue("schema_registry")
        )
    return MqttBench(request.getfixturevalue("mosquitto"))


@pytest.fixture(params=KINDS)
async def benches(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bench, Bench]]:
    pair = bench_of(request.param, request), bench_of(request.param, request)
    yield pair
    for bench in pair:
        await bench.close()


@asynccontextmanager
async def recorded(bench: Bench, file: Path, topics: list[Topic]) -> AsyncIterator[None]:
    """Record what is sent within, until so much came as was sent."""
    stop, ready = asyncio.Event(), asyncio.Event()
    writer = RecordingWriter(file, about={"bus": bench.name})
    task = asyncio.create_task(
        record(
            bench.bus("recorder"), topics, writer, clock=SystemClock(), ready=ready.set, stop=stop
        )
    )
    await ready.wait()
    yield
    stop.set()
    await task


async def night(bench: Bench) -> None:
    sender = bench.bus("MTCamera")
    for number in range(3):
        await sender.publish(ELEVATION, {"actualPosition": 60.0 + 0.1 * number})
        await sender.publish(START, {"imageName": f"MC_O_20261103_00000{number}"})
        await sender.publish(TEMPERATURE, {"temperatureItem": [8.25, *[float("nan")] * 15]})
    await sender.publish(VISIT, {"position": [53.1, -28.1], "groupId": "g"})


async def replayed(bench: Bench, file: Path, *, in_order: bool = True) -> ReplayReport:
    plan = ReplayPlan(speed=None, in_order=in_order)
    return await replay(file, bench.bus("replay"), plan, clock=SystemClock())


def told(message: Any) -> str:
    """Return a message as text, where NaN is like NaN."""
    return repr((message.topic, dict(message.fields), message.sent, message.sequence)) + repr(
        (message.identity, message.origin)
    )


async def test_replay_is_the_same_messages_again(
    benches: tuple[Bench, Bench], tmp_path: Path
) -> None:
    first, second = benches
    file = tmp_path / "night.jsonl.gz"
    async with recorded(first, file, TOPICS):
        await night(first)
        await until(lambda: len(list(read_recording(file))) == 10)
    async with second.bus().subscribe(TOPICS, history=False) as heard:
        await heard.ready()
        report = await replayed(second, file)
        got = await take(heard, 10)
    assert (report.sent, report.refused) == (10, {})
    assert sorted(map(told, got)) == sorted(told(each.message) for each in read_recording(file))


async def raw(bench: KafkaBench, topic: Topic, count: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        bench.topic(topic), bootstrap_servers=bench.kafka.bootstrap, auto_offset_reset="earliest"
    )
    async with asyncio.timeout(PATIENCE_S):
        await consumer.start()
        try:
            return [await consumer.getone() for _ in range(count)]
        finally:
            await consumer.stop()


@pytest.mark.server
async def test_replay_on_kafka_is_the_same_bytes_with_the_writers_own_schema(
    kafka: Kafka, schema_registry: SmallRegistry, tmp_path: Path
) -> None:
    first, second = KafkaBench(kafka, schema_registry), KafkaBench(kafka, schema_registry)
    stranger = Topic("Strange", "logevent_thing")  # in no dictionary, and not as we would write it
    schema = AvroSchema(
        json.dumps(
            {
                "type": "record",
                "name": "logevent_thing",
                "namespace": "lsst.sal.Strange",
                "fields": [
                    {"name": "private_sndStamp", "type": "double", "default": 0.0},
                    {"name": "private_rcvStamp", "type": "double", "default": 0.0},
                    {"name": "private_efdStamp", "type": "double", "default": 0.0},
                    {"name": "private_kafkaStamp", "type": "double", "default": 0.0},
                    {"name": "private_seqNum", "type": "int", "default": 0},
                    {"name": "private_revCode", "type": "string", "default": ""},
                    {"name": "private_identity", "type": "string", "default": ""},
                    {"name": "private_origin", "type": "int", "default": 0},
                    {"name": "weight", "type": ["null", "float"], "default": None},
                ],
            }
        )
    )
    registry = SchemaRegistry(schema_registry.registry_url)
    found = await registry.register(subject(first.topic(stranger)), schema)
    await registry.close()
    sent = 1795273035.25
    record_ = {
        "private_sndStamp": sent,
        "private_efdStamp": sent - 37.0,
        "private_kafkaStamp": sent,
        "private_seqNum": 4,
        "private_revCode": schema.revision,
        "private_identity": "Strange",
        "private_origin": 3,
        "weight": 0.1,
    }
    value = encode(found.schema_id, schema, record_)
    file = tmp_path / "night.jsonl.gz"
    async with recorded(first, file, [START, stranger]):
        await first.send(stranger, value, key=b"k")
        await first.bus("MTCamera").publish(START, {"imageName": "a", "exposureTime": 15.0})
        await until(lambda: len(list(read_recording(file))) == 2, timeout_s=60)
    report = await replayed(second, file, in_order=False)
    assert report.sent == 2
    for topic in (START, stranger):
        (before,), (after,) = await raw(first, topic, 1), await raw(second, topic, 1)
        assert after.value[5:] == before.value[5:], topic
    assert (await raw(first, START, 1))[0].key == (await raw(second, START, 1))[0].key
    for bench in (first, second):
        await bench.close()


@pytest.mark.server
async def test_topic_that_the_bus_refuses_is_told_and_the_rest_is_sent(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = MemoryBench()
    file = tmp_path / "night.jsonl.gz"
    strange = Topic("Strange", "logevent/thing")
    async with recorded(first, file, [START, strange]):
        sender = first.bus("x")
        await sender.publish(strange, {"a": 1})
        await sender.publish(START, {"imageName": "a"})
        await until(lambda: len(list(read_recording(file))) == 2)
    second = bench_of("mqtt", request)
    report = await replayed(second, file)
    await second.close()
    assert (report.sent, report.left_out) == (1, 1)
    assert "cannot be an MQTT topic" in report.refused[str(strange)]


# ---- dead letters


@pytest.mark.server
@pytest.mark.parametrize("kind", ["kafka", "mqtt"])
async def test_what_cannot_be_read_is_kept_in_a_file(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bench = bench_of(kind, request)
    letters = tmp_path / "letters.jsonl"
    settings = bench.settings().model_copy(update={"dead_letters": letters})
    bus = open_control_bus(
        settings, identity="x", clock=SystemClock(), health=HealthBoard(), registry=bench.figures
    )
    payloads = [b"\x00\x00", b"\xff" * 900_000, b"[" * 5000]
    if kind == "mqtt":
        payloads.append(b'{"a": "' + b"x" * 5_000_000 + b'"}')
    await bench.bus("MTCamera").publish(START, {"imageName": "topic exists"})
    async with bus.subscribe([START], history=False) as heard:
        await heard.ready()
        for payload in payloads:
            await bench.spoil(START, payload)
        await bench.bus("MTCamera").publish(START, {"imageName": "good"})
        (good,) = await take(heard, 1)
    await bus.close()
    await bench.close()
    lines = [json.loads(line) for line in letters.read_text().splitlines()]
    assert good.fields["imageName"] == "good"
    assert sorted(line["size_bytes"] for line in lines) == sorted(map(len, payloads))
    assert all(line["reason"] and "startIntegration" in line["where"] for line in lines)


# ---- the command line


@pytest.mark.server
def test_record_and_replay_on_the_command_line(mosquitto: Mosquitto, tmp_path: Path) -> None:
    first, second = MqttBench(mosquitto), MqttBench(mosquitto)
    config = tmp_path / "arriero.yaml"
    control_bus = {"url": mosquitto.mqtt_url, "prefix": first.prefix}
    config.write_text(yaml.dump({"site": {"host": "h"}, "control_bus": control_bus}))
    file = tmp_path / "night.jsonl.gz"
    arriero = [sys.executable, "-m", "daemons.cli.main", "-c", str(config), "bus"]
    recorder = subprocess.Popen(
        [*arriero, "record", str(file), "--topic", "MTCamera.logevent_startIntegration",
         "--topic", "MTMount.elevation", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert recorder.stderr is not None
    assert recorder.stderr.readline().startswith("recording 2 topics into")

    async def send() -> None:
        sender = first.bus("MTCamera")
        for number in range(3):
            await sender.publish(START, {"imageName": str(number)})
        await until(lambda: len(list(read_recording(file))) == 3)
        await first.close()

    asyncio.run(send())
    os.kill(recorder.pid, signal.SIGTERM)
    said, _ = recorder.communicate(timeout=60)
    assert recorder.returncode == 0
    assert json.loads(said)["messages"] == 3
    again = subprocess.run(
        [*arriero, "record", str(file), "--topic", "MTMount.elevation"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (again.returncode, "overwrites nothing" in again.stderr) == (65, True)

    async def listen() -> list[str]:
        async with second.bus().subscribe([START], history=False) as heard:
            await heard.ready()
            done = await asyncio.to_thread(
                subprocess.run,
                [*arriero, "replay", str(file), "--fast", "--subname", second.prefix, "--json"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 3), done.stderr
            got = await take(heard, 3)
        await second.close()
        return [message.fields["imageName"] for message in got]

    assert asyncio.run(listen()) == ["0", "1", "2"]
    production = subprocess.run(
        [*arriero, "replay", str(file), "--subname", "sal"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert production.returncode != 0
    assert "--onto-production" in production.stderr
