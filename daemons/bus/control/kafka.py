"""The control bus on Kafka: SAL, byte for byte.

Nothing is created or registered for topics that are only read. A topic that is
written gets its schema and, where it is absent, is created as SAL clients do:
one partition, events compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from daemons.bus.control.kafka_decode import Decoder, wanted_topics
from daemons.bus.control.kafka_reader import KafkaReader, ReaderPlan
from daemons.bus.control.kafka_start import Start
from daemons.bus.control.kafka_topics import create_topic, uncancelled
from daemons.bus.control.private_fields import SAL_INDEX, Stamper, private_values
from daemons.bus.control.reporting import BUS, ControlReporting
from daemons.bus.interface import BusError, BusUnavailableError, ControlMessage, Topic
from daemons.bus.kafka_client import KafkaCluster, KafkaError, quiet_aiokafka
from daemons.bus.kafka_producer import KafkaProducer
from daemons.bus.sal.dictionary import SalDictionary, TopicSpec
from daemons.bus.sal.registry import RegisteredSchema, SchemaRegistry
from daemons.bus.sal.schema import sal_schema
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
        self._writers: dict[str, RegisteredSchema] = {}
        self._preparing: dict[str, asyncio.Lock] = {}
        self._readers: set[KafkaReader] = set()

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        """Send a message and return it as sent; see `ControlBus.publish`."""
        spec = self._dictionary.get(topic)
        payload = spec.complete(fields)
        name = kafka_topic(self._dialect.subname, topic)
        metrics = self._reporting.metrics
        try:
            writer = await self._prepared(spec, name)
            message = self._stamper.stamp(topic, payload, sequence)
            await self._producer.send(
                name,
                _value(message, spec, writer),
                key=message_key(topic, indexed=spec.indexed),
                timeout_s=self._dialect.timeout_s,
            )
        except BusError as error:
            metrics.publish_failures.labels(bus=BUS, code=error.code).inc()
            raise
        metrics.published.labels(bus=BUS).inc()
        return message

    async def _prepared(self, spec: TopicSpec, name: str) -> RegisteredSchema:
        """Return what a topic is written with; make schema and topic on first use."""
        writer = self._writers.get(name)
        if writer is not None:
            return writer
        async with self._preparing.setdefault(name, asyncio.Lock()):
            if name not in self._writers:
                try:
                    async with asyncio.timeout(self._dialect.timeout_s):
                        found = await self._registry.for_writing(subject(name), sal_schema(spec))
                        await self._create(spec, name)
                except TimeoutError as error:
                    raise BusUnavailableError(
                        f"{name} could not be prepared within {self._dialect.timeout_s:g} s: "
                        "look at broker and schema registry"
                    ) from error
                self._writers[name] = found
            return self._writers[name]

    async def _create(self, spec: TopicSpec, name: str) -> None:
        compacted = Topic(spec.component, spec.name).is_event
        try:
            await uncancelled(
                create_topic(
                    self._cluster, name, compacted=compacted, replication=self._dialect.replication
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


def _value(message: ControlMessage, spec: TopicSpec, writer: RegisteredSchema) -> bytes:
    record = dict(message.fields)
    record |= private_values(message, revision=writer.schema.revision)
    if spec.indexed:
        record[SAL_INDEX] = message.topic.index
    try:
        return encode(writer.schema_id, writer.schema, record)
    except WireError as error:
        raise BusError(str(error)) from error
