"""The three worlds that the event stream's contract is tested in."""

from __future__ import annotations

import asyncio
import base64
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aiomqtt
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from daemons.bus import Delivery, EventStream, Subscription
from daemons.bus.address import parse_address
from daemons.bus.kafka_client import KafkaCluster, KafkaTiming, TopicPlan
from daemons.bus.metrics import BusMetrics, bus_metrics
from daemons.bus.mqtt_client import MqttBroker, MqttTiming
from daemons.bus.stream import MemoryBroker, MemoryEventStream
from daemons.bus.stream.kafka import KafkaEventStream
from daemons.bus.stream.mqtt import MqttEventStream
from daemons.events import Event, ImageQuarantined, new_event
from daemons.runtime.health import HealthBoard
from tests.support.servers import Kafka, Mosquitto

PATIENCE_S = 60.0
"""Nothing here takes so long; a test that waits longer has failed."""

KAFKA_TIMING = KafkaTiming(
    request_timeout_s=8.0,
    session_timeout_s=6.0,
    heartbeat_s=0.5,
    stall_after_s=6.0,
    watch_every_s=1.0,
    stop_timeout_s=3.0,
    retry_cap_s=1.0,
)
MQTT_TIMING = MqttTiming(keepalive_s=3, connect_timeout_s=3.0, retry_cap_s=1.0)


def make_event(number: int, *, key: str = "file.fits") -> Event:
    """Return an event that says its number; its partition key is `key`."""
    fact = ImageQuarantined(
        host="camera-host-1",
        path=f"/drop/{number}/{key}",
        quarantine_path=f"/quarantine/{number}/{key}",
        file_name=key,
        size_bytes=number,
        codes=("fits.truncated",),
        reason="the file is shorter than its header says",
        quarantined_at="2026-11-20T03:12:00Z",  # type: ignore[arg-type]
    )
    return new_event(fact, source="/arriero/test", key=f"{key}-{number}", sequence=number)


def number_of(event: Event) -> int:
    """Return the number of an event of `make_event`."""
    return int(event.data["size_bytes"])


async def take(subscription: Subscription[Event], count: int) -> list[Delivery[Event]]:
    """Return the next deliveries, not acknowledged."""
    iterator = aiter(subscription)
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(iterator) for _ in range(count)]


async def take_acked(subscription: Subscription[Event], count: int) -> list[int]:
    """Acknowledge the next deliveries and return their numbers."""
    numbers = []
    for _ in range(count):
        [delivery] = await take(subscription, 1)
        numbers.append(number_of(delivery.message))
        await delivery.ack()
    return numbers


async def nothing_comes(subscription: Subscription[Event], within_s: float = 1.5) -> bool:
    """Return whether no delivery comes for a while."""
    iterator = aiter(subscription)
    try:
        async with asyncio.timeout(within_s):
            await anext(iterator)
    except TimeoutError:
        return True
    return False


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            holds = condition()
            if not isinstance(holds, bool):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class DeadLetter:
    payload: bytes
    reason: str


class World(ABC):
    """A broker of one kind, and streams on it."""

    keeps_before_first_subscription = True

    def __init__(self) -> None:
        self.topic = f"events-{uuid4().hex[:8]}"
        self.group = f"group-{uuid4().hex[:8]}"
        self.health = HealthBoard()
        self.metrics: BusMetrics = bus_metrics(None)
        self._open = AsyncExitStack()

    @abstractmethod
    def make_stream(self, client_id: str, publish_timeout_s: float) -> EventStream:
        """Return a stream of our own kind."""

    @abstractmethod
    async def send_raw(self, payload: bytes) -> None:
        """Send bytes as a foreign client would."""

    @abstractmethod
    def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Iterate over what is sent to the dead-letter topic."""

    @abstractmethod
    def stop_broker(self) -> None:
        """End the broker as roughly as it can bear without losing what it confirmed."""

    @abstractmethod
    def start_broker(self) -> None:
        """Start it again with what it had."""

    def stream(self, client_id: str = "test", *, publish_timeout_s: float = 20.0) -> EventStream:
        """Return a stream that is closed with the world."""
        stream = self.make_stream(client_id, publish_timeout_s)
        self._open.push_async_callback(stream.close)
        return stream

    async def broker_stops(self) -> None:
        await asyncio.to_thread(self.stop_broker)

    async def broker_starts(self) -> None:
        await asyncio.to_thread(self.start_broker)

    async def close(self) -> None:
        await self._open.aclose()

    def read_health(self) -> tuple[bool, str]:
        """Return what the board says of reading in `group`."""
        return self.health_of(f"read.{self.group}")

    def health_of(self, role: str) -> tuple[bool, str]:
        dependency = self.health.dependencies.get(f"event_stream.{role}")
        return (False, "not known") if dependency is None else (dependency.ok, dependency.reason)


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()

    def make_stream(self, client_id: str, publish_timeout_s: float) -> EventStream:  # noqa: ARG002 - only brokers on a network ask for a name
        return MemoryEventStream(
            self.broker,
            topic=self.topic,
            publish_timeout_s=publish_timeout_s,
            health=self.health,
            metrics=self.metrics,
        )

    async def send_raw(self, payload: bytes) -> None:
        self.broker.append(self.topic, "file.fits", payload)

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        topic = f"{self.topic}.dead"
        await until(lambda: bool(self.broker.records(topic)))
        for record in self.broker.records(topic):
            yield DeadLetter(record.payload, record.headers["reason"])

    def stop_broker(self) -> None:
        raise AssertionError("called in a thread; use broker_stops")

    start_broker = stop_broker

    async def broker_stops(self) -> None:
        self.broker.stop()

    async def broker_starts(self) -> None:
        self.broker.start()


class KafkaWorld(World):
    def __init__(self, server: Kafka, *, timing: KafkaTiming = KAFKA_TIMING) -> None:
        super().__init__()
        self.server = server
        self.timing = timing

    def make_stream(
        self, client_id: str, publish_timeout_s: float, *, member: str | None = None
    ) -> KafkaEventStream:
        return KafkaEventStream(
            KafkaCluster(parse_address(self.server.url), client_id, timing=self.timing),
            TopicPlan(self.topic, partitions=3),
            dead_letters=TopicPlan(f"{self.topic}.dead"),
            publish_timeout_s=publish_timeout_s,
            member=member,
            health=self.health,
            metrics=self.metrics,
        )

    async def send_raw(self, payload: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.server.bootstrap) as producer:
            await producer.send_and_wait(self.topic, payload, key=b"file.fits")

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        async with AIOKafkaConsumer(
            f"{self.topic}.dead",
            bootstrap_servers=self.server.bootstrap,
            auto_offset_reset="earliest",
        ) as consumer:
            async for record in consumer:
                headers = dict(record.headers)
                yield DeadLetter(record.value, headers["reason"].decode())

    def stop_broker(self) -> None:
        self.server.kill()

    def start_broker(self) -> None:
        self.server.start()


class MqttWorld(World):
    keeps_before_first_subscription = False

    def __init__(self, server: Mosquitto) -> None:
        super().__init__()
        self.server = server

    def make_stream(self, client_id: str, publish_timeout_s: float) -> MqttEventStream:
        return MqttEventStream(
            MqttBroker(parse_address(self.server.mqtt_url), timing=MQTT_TIMING),
            self.topic,
            dead_letters=f"{self.topic}.dead",
            client_id=client_id,
            publish_timeout_s=publish_timeout_s,
            health=self.health,
            metrics=self.metrics,
        )

    async def send_raw(self, payload: bytes) -> None:
        async with self.foreign_client() as client:
            await client.publish(f"{self.topic}/image.stored", payload, qos=1)

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        async with self.foreign_client() as client:
            await client.subscribe(f"{self.topic}.dead", qos=1)
            async for message in client.messages:
                letter = json.loads(bytes(message.payload))
                yield DeadLetter(base64.b64decode(letter["payload_base64"]), letter["reason"])

    def foreign_client(self) -> aiomqtt.Client:
        return aiomqtt.Client("127.0.0.1", self.server.port)

    def stop_broker(self) -> None:
        # mosquitto writes its memory at the end, and a kill loses the latest second.
        self.server.stop()

    def start_broker(self) -> None:
        self.server.start()


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[World]:
    """Close a world's streams in the end."""
    try:
        yield world
    finally:
        await world.close()


def numbers(deliveries: Sequence[Delivery[Event]]) -> list[int]:
    """Return the numbers of events of `make_event`."""
    return [number_of(delivery.message) for delivery in deliveries]
