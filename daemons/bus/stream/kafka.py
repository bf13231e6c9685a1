"""The event stream on Kafka.

One topic; the record's key is the event's `partitionkey`, so Kafka keeps the
order that we promise and shares the work of a group. Events are CloudEvents in
structured mode: the record's value is the whole event in JSON, and its header
`content-type` says so (CloudEvents Kafka protocol binding 1.0.2, section 3.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from daemons.bus.interface import PoisonMessage, Subscription
from daemons.bus.kafka_client import KafkaCluster, TopicPlan, quiet_aiokafka
from daemons.bus.kafka_consumer import KafkaReader
from daemons.bus.kafka_producer import KafkaProducer
from daemons.bus.metrics import BusMetrics
from daemons.bus.report import ConnectionReport
from daemons.bus.stream.dead_letters import DeadLetters
from daemons.bus.stream.publishing import BUS, counted
from daemons.bus.stream.subscription import EventSubscription, RawMessage
from daemons.events.envelope import CONTENT_TYPE, Event, encode
from daemons.runtime.health import HealthBoard

_HEADERS = (("content-type", CONTENT_TYPE.encode()),)


class _KafkaSource:
    """A `KafkaReader` as a source of raw messages."""

    def __init__(self, reader: KafkaReader) -> None:
        self._reader = reader

    async def ready(self) -> None:
        await self._reader.ready()

    async def next(self) -> RawMessage:
        record = await self._reader.next()
        return RawMessage(
            payload=record.value or b"",
            where=str(record),
            acknowledge=lambda: self._reader.ack(record),
            is_current=lambda: self._reader.is_current(record),
        )


class KafkaEventStream:
    """An `EventStream` on Kafka.

    Publishing and each subscription have a connection of their own, and a line
    of their own on the health board: `event_stream.publish` and
    `event_stream.read.GROUP`.

    Parameters
    ----------
    cluster
        Where it is.
    topic
        The events' topic; created where absent.
    dead_letters
        The topic of unreadable messages; created where absent.
    publish_timeout_s
        How long a publication may take.
    member
        Name of this process among the members of its groups; see `KafkaReader`.
    health, metrics
        Told how it goes.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: TopicPlan,
        *,
        dead_letters: TopicPlan,
        publish_timeout_s: float,
        member: str | None = None,
        health: HealthBoard,
        metrics: BusMetrics,
    ) -> None:
        quiet_aiokafka()
        self._cluster = cluster
        self._topic = topic
        self._dead_letters = dead_letters
        self._timeout_s = publish_timeout_s
        self._member = member
        self._health = health
        self._metrics = metrics
        self._subscriptions: set[EventSubscription] = set()
        self._producer = KafkaProducer(
            cluster, topics=(topic, dead_letters), report=self._report("publish")
        )

    def start(self) -> None:
        """Begin to connect, so that the health board knows before the first publication."""
        self._producer.start()

    async def publish(self, event: Event) -> None:
        """Return once every in-sync replica has the event; see `EventStream.publish`."""
        with counted(self._metrics):
            await self._producer.send(
                self._topic.name,
                encode(event),
                key=event.partitionkey.encode(),
                headers=_HEADERS,
                timeout_s=self._timeout_s,
            )

    def subscribe(
        self, group: str, *, types: Collection[str] | None = None
    ) -> AbstractAsyncContextManager[Subscription[Event]]:
        """Read as a member of a Kafka consumer group; see `EventStream.subscribe`."""
        return self._subscribe(group, types)

    @asynccontextmanager
    async def _subscribe(
        self, group: str, types: Collection[str] | None
    ) -> AsyncIterator[Subscription[Event]]:
        report = self._report(f"read.{group}")
        report.expect()
        self.start()  # for dead letters
        reader = KafkaReader(
            self._cluster, (self._topic,), report=report, group=group, member=self._member
        )
        dead_letters = DeadLetters(self._bury, self._metrics)
        subscription = EventSubscription(
            _KafkaSource(reader),
            group=group,
            types=types,
            dead_letters=dead_letters,
            metrics=self._metrics,
        )
        tasks = {
            asyncio.create_task(reader.run(), name=f"{report.dependency} reader"),
            asyncio.create_task(dead_letters.run(), name=f"{report.dependency} dead letters"),
        }
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """End the subscriptions' iteration, finish publications within a bound, disconnect."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        await self._producer.close()

    async def _bury(self, poison: PoisonMessage) -> None:
        await self._producer.send(
            self._dead_letters.name,
            poison.payload,
            headers=(("where", poison.where.encode()), ("reason", poison.reason.encode())),
            timeout_s=self._timeout_s,
        )

    def _report(self, role: str) -> ConnectionReport:
        return ConnectionReport(self._health, f"{BUS}.{role}", self._metrics, BUS)
