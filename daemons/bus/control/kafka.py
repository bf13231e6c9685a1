"""The control bus on Kafka: SAL, byte for byte.

Nothing is created or registered for topics that are only read. A topic that is
written gets its schema and, where it is absent, is created as SAL clients do:
one partition, events compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from daemons.bus.control.kafka_decode import Decoder, wanted_topics
from daemons.bus.control.kafka_reader import KafkaReader, ReaderPlan
from daemons.bus.control.kafka_start import Start
from daemons.bus.control.kafka_topics import create_topic
from daemons.bus.control.private_fields import SAL_INDEX, Stamper, private_values
from daemons.bus.control.reporting import BUS, ControlReporting
from daemons.bus.interface import BusError, BusUnavailableError, ControlMessage, Topic
from daemons.bus.kafka_client import KafkaCluster, KafkaError, quiet_aiokafka
from daemons.bus.kafka_guard import uncancelled
from daemons.bus.kafka_producer import KafkaProducer
from daemons.bus.sal.dictionary import SalDictionary
from daemons.bus.sal.registry import RegisteredSchema, SchemaRegistry
from daemons.bus.sal.schema import AvroSchema, sal_schema
from daemons.bus.sal.wire import WireError, encode, kafka_topic, message_key, subject
from daemons.runtime.clock import TaiSeconds
from daemons.runtime.errors import ArrieroError


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaDialect:
    """How SAL is laid on a Kafka cluster."""

    subname: str = "sal"
    """Second part of every topic's name."""
    replication: int = 1
    """Copies of the topics that we create."""
    timeout_s: float = 10.0
    """How long a publication may take."""


class KafkaControlBus:
    """A service's access to the control bus on Kafka.

    Parameters
    ----------
    cluster
        Where.
    registry
        Where the schemas are.
    dictionary
        What the topics carry that we write.
    stamper
        Numbers, dates and signs what we send.
    reporting
        Told how broker and messages are.
    dialect
        Names, copies and patience.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        registry: SchemaRegistry,
        dictionary: SalDictionary,
        stamper: Stamper,
        *,
        reporting: ControlReporting,
        dialect: KafkaDialect | None = None,
    ) -> None:
        quiet_aiokafka()
        self._cluster = cluster
        self._registry = registry
        self._dictionary = dictionary
        self._stamper = stamper
        self._reporting = reporting
        self._dialect = dialect or KafkaDialect()
        self._report = reporting.publisher()
        self._producer = KafkaProducer(cluster, report=self._report)
        self._create_failed = False
        self._writers: dict[tuple[str, str], RegisteredSchema] = {}
        self._preparing: dict[str, asyncio.Lock] = {}
        self._readers: set[KafkaReader] = set()

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        """Send a message and return it as sent; see `ControlBus.publish`."""
        spec = self._dictionary.get(topic)
        payload = spec.complete(fields)
        with self._failures_counted():
            writer = await self._prepared(topic, sal_schema(spec), owned=False)
            message = self._stamper.stamp(topic, payload, sequence)
            await self._send(message, writer)
        return message

    async def forward(self, message: ControlMessage) -> None:
        """Send a message of somebody else as it was; see `ForwardingBus.forward`."""
        if message.schema is None:
            spec = self._dictionary.get(message.topic)
            schema, owned = sal_schema(spec), False
            message = replace(message, fields=spec.complete(message.fields))
        else:
            schema, owned = AvroSchema(message.schema), True
        with self._failures_counted():
            await self._send(message, await self._prepared(message.topic, schema, owned=owned))

    async def _send(self, message: ControlMessage, writer: RegisteredSchema) -> None:
        await self._producer.send(
            kafka_topic(self._dialect.subname, message.topic),
            _value(message, writer),
            key=message_key(message.topic, indexed=writer.schema.has(SAL_INDEX)),
            timeout_s=self._dialect.timeout_s,
        )
        self._reporting.metrics.published.labels(bus=BUS).inc()

    @contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        except BusError as error:
            self._reporting.metrics.publish_failures.labels(bus=BUS, code=error.code).inc()
            raise

    async def _prepared(self, topic: Topic, ours: AvroSchema, *, owned: bool) -> RegisteredSchema:
        """Return what a topic is written with; make schema and topic on first use.

        With `owned` it is exactly that schema, else the one of the topic's owner if it fits.
        """
        name = kafka_topic(self._dialect.subname, topic)
        key = (name, ours.text if owned else "")
        writer = self._writers.get(key)
        if writer is not None:
            return writer
        async with self._preparing.setdefault(name, asyncio.Lock()):
            if key not in self._writers:
                find = self._registry.register if owned else self._registry.for_writing
                try:
                    async with asyncio.timeout(self._dialect.timeout_s):
                        found = await find(subject(name), ours)
                        await self._create(topic, name)
                except TimeoutError as error:
                    raise BusUnavailableError(
                        f"{name} could not be prepared within {self._dialect.timeout_s:g} s: "
                        "look at broker and schema registry"
                    ) from error
                self._writers[key] = found
            return self._writers[key]

    async def _create(self, topic: Topic, name: str) -> None:
        try:
            await uncancelled(
                create_topic(
                    self._cluster,
                    name,
                    compacted=topic.is_event,
                    replication=self._dialect.replication,
                )
            )
        except (KafkaError, OSError, ArrieroError) as error:
            explained = await self._cluster.explain(error)
            self._report.down(str(explained))
            self._create_failed = True
            raise explained from error
        if self._create_failed:
            self._create_failed = False
            self._report.up(f"connected to {self._cluster.address}")

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Collection[Topic],
        *,
        history: bool = True,
        durable: str | None = None,
        since: TaiSeconds | None = None,
    ) -> AsyncIterator[KafkaReader]:
        """Read topics; see `ControlBus.subscribe`."""
        wanted = wanted_topics(self._dialect.subname, topics)
        plan = ReaderPlan(
            topics=wanted,
            indexed=frozenset(
                name
                for name, entry in wanted.items()
                if self._dictionary.is_indexed(entry.topic.component)
            ),
            history=history,
            start=Start(durable, since),
        )
        decoder = Decoder(self._registry, self._reporting)
        with self._reporting.subscriber() as report:
            reader = KafkaReader(self._cluster, plan, decoder, report)
            task = asyncio.create_task(reader.run(), name=f"control-reader {durable or ''}")
            self._readers.add(reader)
            try:
                yield reader
            finally:
                self._readers.discard(reader)
                reader.close()
                task.cancel()
                await asyncio.wait({task})

    async def close(self) -> None:
        """Give back the connections; publications under way are finished first, within a bound."""
        for reader in tuple(self._readers):
            reader.close()
        await self._producer.close()
        await self._registry.close()
        await asyncio.to_thread(self._reporting.close)


def _value(message: ControlMessage, writer: RegisteredSchema) -> bytes:
    record = dict(message.fields)
    record |= private_values(message, revision=writer.schema.revision)
    if writer.schema.has(SAL_INDEX):
        record[SAL_INDEX] = message.topic.index
    try:
        return encode(writer.schema_id, writer.schema, record)
    except WireError as error:
        raise BusError(str(error)) from error
