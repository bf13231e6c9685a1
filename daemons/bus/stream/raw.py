"""A topic of bytes that somebody else's consumers read, beside the event stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from uuid import uuid4

from daemons.bus.address import BusKind
from daemons.bus.interface import BusUnavailableError
from daemons.bus.kafka_client import KafkaCluster, KafkaTiming, TopicPlan
from daemons.bus.kafka_producer import KafkaProducer
from daemons.bus.metrics import BusMetrics
from daemons.bus.mqtt_client import MqttBroker, MqttSession
from daemons.bus.report import ConnectionReport
from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import memory_broker
from daemons.runtime.health import HealthBoard


class RawTopic(Protocol):
    """Where bytes are published."""

    async def publish(self, key: str, payload: bytes) -> None:
        """Return once the broker has the message; raises `BusError`.

        Parameters
        ----------
        key
            Messages of one key keep their order.
        payload
            The message.
        """
        ...

    async def close(self) -> None:
        """Give back the connection."""
        ...


def open_raw_topic(
    settings: EventStreamSettings,
    *,
    role: str,
    client_id: str,
    health: HealthBoard,
    metrics: BusMetrics,
) -> RawTopic:
    """Return the topic that the settings name.

    Parameters
    ----------
    settings
        Broker and topic; the topic is created where absent.
    role
        What it is for: label of its figures, and its line on the health board.
    client_id
        Name of this service on this host in the broker's logs.
    health, metrics
        Told how it goes.
    """
    report = ConnectionReport(health, role, metrics, role)
    if settings.address.kind is BusKind.KAFKA:
        cluster = KafkaCluster(
            address=settings.address,
            client_id=client_id,
            security=settings.security,
            timing=KafkaTiming(stall_after_s=settings.stall_after_s),
        )
        plan = TopicPlan(settings.topic, settings.partitions, settings.replication)
        producer = KafkaProducer(cluster, topics=(plan,), report=report)

        async def send(key: str, payload: bytes) -> None:
            await producer.send(
                settings.topic, payload, key=key.encode(), timeout_s=settings.publish_timeout_s
            )

        return _Topic(send, producer.close)
    if settings.address.kind is BusKind.MQTT:
        session = MqttSession(
            MqttBroker(address=settings.address, security=settings.security),
            identifier=f"{client_id}-{uuid4().hex[:8]}",
            persistent=False,
            report=report,
        )

        async def tell(_key: str, payload: bytes) -> None:
            await session.publish(settings.topic, payload, timeout_s=settings.publish_timeout_s)

        return _Topic(tell, session.close)
    return _MemoryTopic(settings, health, role)


class _Topic:
    """A topic on a broker."""

    def __init__(
        self,
        send: Callable[[str, bytes], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._send = send
        self._close = close

    async def publish(self, key: str, payload: bytes) -> None:
        await self._send(key, payload)

    async def close(self) -> None:
        await self._close()


class _MemoryTopic:
    """A topic of the broker inside this process."""

    def __init__(self, settings: EventStreamSettings, health: HealthBoard, role: str) -> None:
        self._broker = memory_broker(settings.url)
        self._topic = settings.topic
        self._headers: Mapping[str, str] = {}
        health.report(role, ok=True, reason="in memory")

    async def publish(self, key: str, payload: bytes) -> None:
        if not self._broker.running:
            raise BusUnavailableError("the broker in memory is stopped")
        self._broker.append(self._topic, key, payload, self._headers)

    async def close(self) -> None:
        """Keep the broker: others use it."""
