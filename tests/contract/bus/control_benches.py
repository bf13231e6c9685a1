"""The three control buses behind one bench, so that one suite judges them all."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiomqtt import Client
from prometheus_client import CollectorRegistry

from daemons.bus import ControlMessage, Delivery, ForwardingBus, Subscription, Topic
from daemons.bus.address import parse_address
from daemons.bus.control.kafka import KafkaControlBus, KafkaDialect
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.control.mqtt import MqttControlBus, MqttDialect
from daemons.bus.control.private_fields import Stamper
from daemons.bus.control.reporting import ControlReporting
from daemons.bus.kafka_client import KafkaCluster, KafkaTiming
from daemons.bus.metrics import bus_metrics
from daemons.bus.mqtt_client import MqttBroker, MqttTiming
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.wire import kafka_topic
from daemons.bus.security import BusSecurity
from daemons.bus.settings_control import ControlBusSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from tests.support.servers import Apicurio, Kafka, Mosquitto, SmallRegistry

PATIENCE_S = 40.0
"""How long a test waits for what must come; a busy machine is slow."""
QUIET_S = 1.5
"""How long a test listens for what must not come."""

QUICK_KAFKA = KafkaTiming(
    request_timeout_s=5.0,
    stall_after_s=10.0,
    watch_every_s=1.0,
    stop_timeout_s=3.0,
    retry_cap_s=1.0,
)
QUICK_MQTT = MqttTiming(keepalive_s=2, connect_timeout_s=3.0, stop_timeout_s=2.0, retry_cap_s=0.5)


class Bench(ABC):
    """A broker of one kind, and buses on it."""

    name: str

    def __init__(self) -> None:
        self.health = HealthBoard()
        self.figures = CollectorRegistry()
        self.buses: list[ForwardingBus] = []

    @abstractmethod
    def make(self, identity: str) -> ForwardingBus:
        """Return a bus."""

    @abstractmethod
    async def stop(self) -> None:
        """Take the broker away."""

    @abstractmethod
    async def start(self) -> None:
        """Bring it back."""

    @abstractmethod
    async def spoil(self, topic: Topic, payload: bytes) -> None:
        """Put bytes on a topic that are no message."""

    async def settle(self) -> None:
        """Let the broker take note of acknowledgements before the reader goes."""
        await asyncio.sleep(0)

    def settings(self) -> ControlBusSettings:
        """Return how another process finds this broker."""
        raise AssertionError(f"{self.name} is in this process")

    def bus(self, identity: str = "tester@localhost") -> ForwardingBus:
        bus = self.make(identity)
        self.buses.append(bus)
        return bus

    async def close(self) -> None:
        for bus in self.buses:
            await bus.close()

    def reporting(self) -> ControlReporting:
        return ControlReporting(self.health, bus_metrics(self.figures))

    @property
    def broker_is_well(self) -> bool:
        known = [d for name, d in self.health.dependencies.items() if name.startswith("control")]
        return bool(known) and all(dependency.ok for dependency in known)

    def figure(self, name: str, **labels: str) -> float:
        return self.figures.get_sample_value(name, labels) or 0.0


class MemoryBench(Bench):
    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryControlBroker()

    def make(self, identity: str) -> ForwardingBus:
        return MemoryControlBus(self.broker, identity=identity, health=self.health)

    async def stop(self) -> None:
        self.broker.stop()

    async def start(self) -> None:
        self.broker.start()

    async def spoil(self, topic: Topic, payload: bytes) -> None:
        raise AssertionError(f"memory carries no bytes: {topic}, {payload!r}")


class KafkaBench(Bench):
    name = "kafka"

    def __init__(
        self,
        kafka: Kafka,
        registry: SmallRegistry | Apicurio,
        cache: Path | None = None,
        *,
        security: BusSecurity | None = None,
    ) -> None:
        super().__init__()
        self.kafka = kafka
        self.registry = registry
        self.cache = cache
        self.security = security or BusSecurity()
        self.subname = f"t{uuid.uuid4().hex[:10]}"

    def topic(self, topic: Topic) -> str:
        return kafka_topic(self.subname, topic)

    def make(self, identity: str) -> KafkaControlBus:
        return KafkaControlBus(
            KafkaCluster(
                parse_address(self.kafka.url), identity, security=self.security, timing=QUICK_KAFKA
            ),
            SchemaRegistry(
                self.registry.registry_url, cache=self.cache, timeout_s=3.0, health=self.health
            ),
            load_dictionary(),
            Stamper(identity, SystemClock()),
            reporting=self.reporting(),
            dialect=KafkaDialect(subname=self.subname, timeout_s=8.0),
        )

    def settings(self) -> ControlBusSettings:
        return ControlBusSettings(
            url=self.kafka.url, registry_url=self.registry.registry_url, subname=self.subname
        )

    async def stop(self) -> None:
        await asyncio.to_thread(self.kafka.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.kafka.start)

    async def send(self, topic: Topic, value: bytes | None, **rest: Any) -> None:
        """Send as somebody else does."""
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap) as producer:
            await producer.send_and_wait(self.topic(topic), value, **rest)

    async def spoil(self, topic: Topic, payload: bytes) -> None:
        await self.send(topic, payload, key=b"a compacted topic wants a key")


class MqttBench(Bench):
    name = "mqtt"

    async def settle(self) -> None:
        # A client that comes back at once takes over its own old connection, before
        # mosquitto has read the last acknowledgements from it.
        await asyncio.sleep(0.5)

    def __init__(self, mosquitto: Mosquitto) -> None:
        super().__init__()
        self.mosquitto = mosquitto
        self.prefix = f"t{uuid.uuid4().hex[:10]}"

    def make(self, identity: str) -> MqttControlBus:
        clock = SystemClock()
        return MqttControlBus(
            MqttBroker(parse_address(self.mosquitto.mqtt_url), timing=QUICK_MQTT),
            load_dictionary(),
            Stamper(identity, clock),
            clock=clock,
            reporting=self.reporting(),
            dialect=MqttDialect(prefix=self.prefix, timeout_s=5.0),
        )

    def settings(self) -> ControlBusSettings:
        return ControlBusSettings(url=self.mosquitto.mqtt_url, prefix=self.prefix)

    async def stop(self) -> None:
        self.mosquitto.save()  # else it forgets sessions that are younger than two seconds
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self.mosquitto.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.mosquitto.start)

    async def spoil(self, topic: Topic, payload: bytes) -> None:
        async with Client("127.0.0.1", self.mosquitto.port) as client:
            await client.publish(MqttDialect(prefix=self.prefix).name(topic), payload, qos=1)


async def take(
    subscription: Subscription[ControlMessage], count: int, *, ack: bool = True
) -> list[ControlMessage]:
    """Return the next messages."""
    return [delivery.message for delivery in await take_deliveries(subscription, count, ack=ack)]


async def take_deliveries(
    subscription: Subscription[ControlMessage], count: int, *, ack: bool = False
) -> list[Delivery[ControlMessage]]:
    """Return the next deliveries."""
    iterator: AsyncIterator[Delivery[ControlMessage]] = aiter(subscription)
    taken = []
    async with asyncio.timeout(PATIENCE_S):
        while len(taken) < count:
            delivery = await anext(iterator)
            if ack:
                await delivery.ack()
            taken.append(delivery)
    return taken


async def nothing_more(subscription: Subscription[ControlMessage]) -> bool:
    """Return whether nothing comes for a while."""
    try:
        async with asyncio.timeout(QUIET_S):
            delivery = await anext(aiter(subscription))
    except TimeoutError:
        return True
    print("unexpected:", delivery.message)  # noqa: T201 - shown by pytest when the test fails
    return False


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - health and figures have no event to wait for
            await asyncio.sleep(0.05)
