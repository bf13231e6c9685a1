"""An existing SAL client, written from the bytes of SAL and not from our own encoder.

It does what the observatory's library does: registers the schema of every topic that it
reads or writes, creates the topics that are absent, reads the last event of each topic
for late joiners, frames its messages by hand, numbers commands in the slice of each
command, and takes an acknowledgement only with its own identity, process and number.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import random
import struct
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import fastavro
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from tests.support.waiting import until

TAI_MINUS_UTC_S = 37.0
SEQUENCE_MAX = 2**31 - 1
HISTORY_INDEXED = 500

_PRIVATE = (
    ("private_sndStamp", "double", "second"),
    ("private_rcvStamp", "double", "second"),
    ("private_efdStamp", "double", "second"),
    ("private_kafkaStamp", "double", "second"),
    ("private_seqNum", "int", "unitless"),
    ("private_revCode", "string", "unitless"),
    ("private_identity", "string", "unitless"),
    ("private_origin", "int", "unitless"),
)
GENERICS: Mapping[str, Sequence[tuple[str, str]]] = {
    "ackcmd": (
        ("ack", "int"),
        ("error", "int"),
        ("result", "string"),
        ("identity", "string"),
        ("origin", "int"),
        ("cmdtype", "int"),
        ("timeout", "double"),
    ),
    "command_disable": (),
    "command_enable": (),
    "command_exitControl": (),
    "command_setLogLevel": (("level", "int"), ("subsystem", "string")),
    "command_standby": (),
    "command_start": (("configurationOverride", "string"),),
    "logevent_errorCode": (
        ("errorCode", "int"),
        ("errorReport", "string"),
        ("traceback", "string"),
    ),
    "logevent_heartbeat": (("heartbeat", "boolean"),),
    "logevent_largeFileObjectAvailable": (
        ("url", "string"),
        ("generator", "string"),
        ("version", "float"),
        ("byteSize", "int"),
        ("checkSum", "string"),
        ("mimeType", "string"),
        ("id", "string"),
    ),
    "logevent_logLevel": (("level", "int"), ("subsystem", "string")),
    "logevent_logMessage": (
        ("name", "string"),
        ("level", "int"),
        ("message", "string"),
        ("traceback", "string"),
        ("filePath", "string"),
        ("functionName", "string"),
        ("lineNumber", "int"),
        ("process", "int"),
        ("timestamp", "double"),
    ),
    "logevent_simulationMode": (("mode", "int"),),
    "logevent_softwareVersions": (
        ("salVersion", "string"),
        ("xmlVersion", "string"),
        ("cscVersion", "string"),
        ("subsystemVersions", "string"),
    ),
    "logevent_summaryState": (("summaryState", "int"),),
}
"""The fifteen topics of a header service, with the Avro types of their fields in wire order."""
CONFIGURATION: Mapping[str, Sequence[tuple[str, str]]] = {
    "logevent_configurationsAvailable": (
        ("overrides", "string"),
        ("version", "string"),
        ("url", "string"),
        ("schemaVersion", "string"),
    ),
    "logevent_configurationApplied": (
        ("configurations", "string"),
        ("version", "string"),
        ("url", "string"),
        ("schemaVersion", "string"),
        ("otherInfo", "string"),
    ),
}
"""The two more of a component that is configurable."""
_ZEROS = {"double": 0.0, "float": 0.0, "int": 0, "boolean": False, "string": ""}


def schema(
    component: str, name: str, rows: Sequence[tuple[str, str]], *, indexed: bool
) -> dict[str, Any]:
    """Return the schema that the client registers, with keys in the library's order."""
    private = [("salIndex", "int", "unitless")] if indexed else []
    fields = [*private, *_PRIVATE, *((each, kind, "unitless") for each, kind in rows)]
    return {
        "type": "record",
        "name": name,
        "namespace": f"lsst.sal.{component}",
        "fields": [
            {"name": each, "type": kind, "default": _ZEROS[kind], "description": "", "units": units}
            for each, kind, units in fields
        ],
        "description": "as the client has it",
    }


@dataclass(frozen=True)
class Seen:
    """A message as the client has read it."""

    topic: str
    """SAL name, such as `logevent_summaryState`."""
    record: Mapping[str, Any]
    raw: ConsumerRecord
    historical: bool


@dataclass
class SalClient:
    """A remote of one component.

    Parameters
    ----------
    component
        Whom it watches and commands.
    bootstrap, registry_url
        Broker and schema registry.
    subname
        Second part of every topic.
    index
        None for a component without index; 0 for all indices.
    security
        Options of aiokafka for a broker that asks for credentials.
    """

    component: str
    bootstrap: str
    registry_url: str
    subname: str
    index: int | None = None
    identity: str = "verifier@localhost"
    security: Mapping[str, Any] = field(default_factory=dict)
    topics: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=lambda: GENERICS)
    seen: list[Seen] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._writers: dict[int, Any] = {}
        self._schemas = {
            name: schema(self.component, name, rows, indexed=self.index is not None)
            for name, rows in self.topics.items()
        }
        commands = sorted(name for name in self.topics if name.startswith("command_"))
        width = SEQUENCE_MAX // len(commands)
        self._numbers = {
            name: slot * width + random.randint(1, width) for slot, name in enumerate(commands)
        }
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        for name in self.topics:
            await self._register(name)
        await self._create_absent()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks=1, linger_ms=0, **self.security
        )
        await self._producer.start()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, **self.security
        )
        await self._consumer.start()
        await self._begin()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._consumer.stop()
        await self._producer.stop()
        await self._http.close()

    def kafka_topic(self, name: str) -> str:
        return f"lsst.{self.subname}.{self.component}.{name}"

    def key(self, name: str) -> bytes:
        index = "" if self.index is None else f'"index": {self.index}, '
        return f'{{ "name": "{self.component}", {index}"topic": "{name}" }}'.encode()

    # ---- what it sees

    def of(self, name: str) -> list[Seen]:
        """Return what came of a topic, oldest first."""
        return [each for each in self.seen if each.topic == name]

    def values(self, name: str, value: str) -> list[Any]:
        """Return a field of every message of a topic."""
        return [each.record[value] for each in self.of(name)]

    async def until_seen(self, name: str, count: int = 1, **fields: Any) -> Seen:
        """Return the last message of a topic, once so many with these fields came."""

        def found() -> list[Seen]:
            return [
                each
                for each in self.of(name)
                if all(each.record[key] == value for key, value in fields.items())
            ]

        await until(lambda: len(found()) >= count or self._task.done(), timeout_s=60)
        if self._task.done():
            self._task.result()
        return found()[-1]

    # ---- commanding

    async def command(self, name: str, *, number: int | None = None, **fields: Any) -> list[Seen]:
        """Send a command; return its acknowledgements, the final one last."""
        full = f"command_{name}"
        if number is None:
            number = self._numbers[full] = self._numbers[full] + 1
        now = time.time() + TAI_MINUS_UTC_S
        record = {each: _ZEROS[kind] for each, kind in self.topics[full]} | fields
        record |= {
            "private_sndStamp": now,
            "private_rcvStamp": 0.0,
            "private_efdStamp": now - TAI_MINUS_UTC_S,
            "private_kafkaStamp": now,
            "private_seqNum": number,
            "private_revCode": self.revision(full),
            "private_identity": self.identity,
            "private_origin": os.getpid(),
        }
        if self.index is not None:
            record["salIndex"] = self.index
        await self._producer.send_and_wait(
            self.kafka_topic(full),
            self.frame(full, self._ids[full], record),
            key=self.key(full),
            timestamp_ms=int((now - TAI_MINUS_UTC_S) * 1000),
        )
        return await self._answers(number)

    def revision(self, name: str) -> str:
        text = json.dumps(self._schemas[name], indent=4)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]

    async def _answers(self, number: int) -> list[Seen]:
        def mine() -> list[Seen]:
            return [
                each
                for each in self.of("ackcmd")
                if each.record["private_seqNum"] == number
                and each.record["identity"] == self.identity
                and each.record["origin"] == os.getpid()
            ]

        # INPROGRESS and ACK are not final
        await until(
            lambda: any(each.record["ack"] not in {300, 301} for each in mine()), timeout_s=60
        )
        return mine()

    # ---- the wire

    def frame(self, name: str, schema_id: int, record: Mapping[str, Any]) -> bytes:
        """Return a value: zero byte, id, Avro in the order of the client's own schema."""
        buffer = io.BytesIO()
        buffer.write(b"\x00" + struct.pack(">I", schema_id))
        fastavro.schemaless_writer(buffer, self._schemas[name], dict(record))
        return buffer.getvalue()

    async def _register(self, name: str) -> None:
        subject = f"{self.kafka_topic(name)}-value"
        body = {
            "schema": json.dumps(self._schemas[name]),
            "schemaType": "AVRO",
            "references": [],
        }
        async with self._http.post(
            f"{self.registry_url}/subjects/{subject}/versions?normalize=False",
            data=json.dumps(body),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        ) as answer:
            answer.raise_for_status()
            self._ids[name] = (await answer.json(content_type=None))["id"]

    async def _create_absent(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.security)
        await admin.start()
        try:
            wanted = [
                NewTopic(
                    self.kafka_topic(name),
                    1,
                    1,
                    topic_configs=(
                        {"cleanup.policy": "compact"} if name.startswith("logevent_") else {}
                    ),
                )
                for name in self.topics
            ]
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise for_code(code)(name)

            async def listed() -> bool:
                return {each.name for each in wanted} <= set(await admin.list_topics())

            await until(listed, timeout_s=60)
            self._numbers_of = {
                each["topic"]: [partition["partition"] for partition in each["partitions"]]
                for each in await admin.describe_topics([each.name for each in wanted])
            }
        finally:
            await admin.close()

    async def _begin(self) -> None:
        """Seek to what a late joiner reads: the last event, or 500 back where there are indices."""
        partitions = {
            TopicPartition(self.kafka_topic(name), number): name
            for name in self.topics
            for number in self._numbers_of[self.kafka_topic(name)]
        }
        self._consumer.assign(list(partitions))
        self._ends = dict(await self._consumer.end_offsets(list(partitions)))
        begins = await self._consumer.beginning_offsets(list(partitions))
        for partition, name in partitions.items():
            back = 0
            if name.startswith("logevent_"):
                back = 1 if self.index is None else HISTORY_INDEXED
            at = max(begins[partition], self._ends[partition] - back)
            self._consumer.seek(partition, at)

    async def _read(self) -> None:
        async for raw in self._consumer:
            name = raw.topic.rsplit(".", 1)[-1]
            try:
                await self._take(name, raw)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.problems.append(f"{name}@{raw.offset}: {error!r}")

    async def _take(self, name: str, raw: ConsumerRecord) -> None:
        if raw.value[0] != 0:
            raise ValueError(f"magic byte {raw.value[0]}")
        (schema_id,) = struct.unpack(">I", raw.value[1:5])
        writer = await self._writer(schema_id)
        record = fastavro.schemaless_reader(
            io.BytesIO(raw.value[5:]), writer, fastavro.parse_schema(dict(self._schemas[name]))
        )
        if self.index and record["salIndex"] != self.index:
            return
        end = self._ends[TopicPartition(raw.topic, raw.partition)]
        if raw.offset < end and self.index is not None and name.startswith("logevent_"):
            self._forget_older(name, record["salIndex"])
        self.seen.append(Seen(name, record, raw, historical=raw.offset < end))

    def _forget_older(self, name: str, index: int) -> None:
        """Keep the last old event of each index alone."""
        self.seen[:] = [
            each
            for each in self.seen
            if (each.topic, each.record.get("salIndex")) != (name, index) or not each.historical
        ]

    async def _writer(self, schema_id: int) -> Any:
        if schema_id not in self._writers:
            async with self._http.get(f"{self.registry_url}/schemas/ids/{schema_id}") as answer:
                answer.raise_for_status()
                text = (await answer.json(content_type=None))["schema"]
            self._writers[schema_id] = fastavro.parse_schema(json.loads(text))
        return self._writers[schema_id]


def is_bytes_of_sal(client: SalClient, seen: Seen) -> bool:
    """Return whether a message is, byte for byte, what SAL's own writer would have sent."""
    (schema_id,) = struct.unpack(">I", seen.raw.value[1:5])
    return client.frame(seen.topic, schema_id, seen.record) == seen.raw.value


def names(seen: Collection[Seen]) -> list[str]:
    """Return the topics of some messages in the order in which they were sent."""
    ordered = sorted(seen, key=lambda each: each.record["private_sndStamp"])
    return [each.topic for each in ordered]
