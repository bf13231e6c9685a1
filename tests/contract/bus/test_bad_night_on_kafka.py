"""Everything that can be wrong with messages on Kafka, in one night: told, kept, never a crash."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import fastavro
import pytest

from daemons.bus import ControlMessage, Topic
from daemons.bus.control.factory import open_control_bus
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import AvroSchema
from daemons.bus.sal.wire import subject
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from tests.contract.bus.control_benches import KafkaBench, take
from tests.support.sal_client import schema as sal_schema
from tests.support.servers import Kafka, SmallRegistry

pytestmark = pytest.mark.server

START = Topic("MTCamera", "logevent_startIntegration")
PRIVATE: Mapping[str, Any] = {
    "private_sndStamp": 1795273035.5,
    "private_rcvStamp": 0.0,
    "private_efdStamp": 1795272998.5,
    "private_kafkaStamp": 1795273035.5,
    "private_seqNum": 1,
    "private_revCode": "00000000",
    "private_identity": "MTCamera",
    "private_origin": 7,
}


class Writer:
    """A sender that frames its messages by hand, with whatever schema."""

    def __init__(self, bench: KafkaBench) -> None:
        self.bench = bench
        self.registry = SchemaRegistry(bench.registry.registry_url)

    async def framed(
        self, rows: list[tuple[str, str]], record: Mapping[str, Any], name: str = START.name
    ) -> bytes:
        document = sal_schema(START.component, name, rows, indexed=False)
        found = await self.registry.register(
            subject(self.bench.topic(START)), AvroSchema(json.dumps(document))
        )
        body = io.BytesIO()
        fastavro.schemaless_writer(body, document, {**PRIVATE, **record})
        return b"\x00" + struct.pack(">I", found.schema_id) + body.getvalue()

    async def send(self, value: bytes | None) -> None:
        await self.bench.send(START, value, key=b"k")


@pytest.fixture
async def bench(kafka: Kafka, small_registry: SmallRegistry) -> AsyncIterator[KafkaBench]:
    made = KafkaBench(kafka, small_registry)
    yield made
    await made.close()


async def test_bad_messages_are_kept_and_the_good_ones_go_on(
    bench: KafkaBench, tmp_path: Path
) -> None:
    writer = Writer(bench)
    letters = tmp_path / "letters.jsonl"
    settings = bench.settings().model_copy(update={"dead_letters": letters})
    bus = open_control_bus(
        settings, identity="x", clock=SystemClock(), health=HealthBoard(), registry=bench.figures
    )
    good = await writer.framed([("imageName", "string")], {"imageName": "first"})
    foreign = await writer.framed(
        [("imageName", "string")], {"imageName": "of another record"}, "logevent_other"
    )
    bad = {
        "unknown schema": b"\x00\x00\x0f\x42\x40" + good[5:],
        "another record": foreign,
        "cut": good[:-3],
        "left over": good + b"\x00",
        "no Avro": good[:5] + b"\xff" * 40,
        "no frame": b"{}",
        "huge": b"\x01" + b"\x00" * 900_000,
        "no value": None,
    }
    await writer.send(good)
    async with bus.subscribe([START]) as heard:
        await heard.ready()
        seen: list[ControlMessage] = await take(heard, 1)
        for value in bad.values():
            await writer.send(value)
        # In the middle of the night the schema gains a field, loses one, and changes a type.
        rows = [("imageName", "string"), ("added", "int")]
        await writer.send(await writer.framed(rows, {"imageName": "more", "added": 5}))
        await writer.send(await writer.framed([("added", "int")], {"added": 6}))
        await writer.send(await writer.framed([("imageName", "double")], {"imageName": 1.5}))
        # Clocks jump: back by an hour, far ahead, and to nowhere.
        for stamp in (PRIVATE["private_sndStamp"] - 3600, 9e9, math.nan):
            record = {"imageName": "clock", "private_sndStamp": stamp}
            await writer.send(await writer.framed([("imageName", "string")], record))
        seen += await take(heard, 6)
    await bus.close()
    await writer.registry.close()
    assert [dict(message.fields) for message in seen] == [
        {"imageName": "first"},
        {"imageName": "more", "added": 5},
        {"added": 6},
        {"imageName": 1.5},
        *[{"imageName": "clock"}] * 3,
    ]
    assert [message.historical for message in seen] == [True] + [False] * 6
    lines = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [line["size_bytes"] for line in lines] == [len(value or b"") for value in bad.values()]
    assert all(line["reason"] for line in lines)
    assert bench.figure("arriero_bus_poison_messages_total", bus="control_bus") == len(bad)
