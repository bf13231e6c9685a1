"""Opens the event stream that the settings name."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from daemons.bus.address import BusKind
from daemons.bus.interface import EventStream
from daemons.bus.kafka_client import KafkaCluster, KafkaTiming, TopicPlan
from daemons.bus.metrics import BusMetrics, bus_metrics
from daemons.bus.mqtt_client import MqttBroker
from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.kafka import KafkaEventStream
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.bus.stream.mqtt import MqttEventStream
from daemons.runtime.health import HealthBoard

_memory_brokers: dict[str, MemoryBroker] = {}
"""URL → broker: the services of one process that name the same URL talk to each other."""


def open_event_stream(
    settings: EventStreamSettings,
    *,
    client_id: str,
    health: HealthBoard,
    registry: CollectorRegistry | None = None,
) -> EventStream:
    """Return the event stream that the settings name.

    Nothing is waited for. Where an event loop runs, connecting begins at once,
    so that the health board knows how the broker is; otherwise with the first
    publication or subscription. Close it in the same loop.

    Parameters
    ----------
    settings
        Where it is. Streams in memory with the same URL share one broker within
        this process; see `memory_broker` and `reset_memory_brokers`.
    client_id
        Name of this service on this host in the broker's logs, such as
        `forwarder-camera-host-1`.
    health
        Gets the lines `event_stream.publish` and `event_stream.read.GROUP`.
    registry
        Where figures are registered; nowhere by default.
    """
    metrics = bus_metrics(registry)
    stream: KafkaEventStream | MqttEventStream
    match settings.address.kind:
        case BusKind.KAFKA:
            stream = _kafka(settings, client_id, health, metrics)
        case BusKind.MQTT:
            stream = _mqtt(settings, client_id, health, metrics)
        case BusKind.MEMORY:
            return MemoryEventStream(
                memory_broker(settings.url),
                topic=settings.topic,
                dead_letters=settings.dead_letters,
                publish_timeout_s=settings.publish_timeout_s,
                health=health,
                metrics=metrics,
            )
    if _loop_runs():
        stream.start()
    return stream


def memory_broker(url: str = "memory:") -> MemoryBroker:
    """Return the broker that streams of this URL share within this process."""
    return _memory_brokers.setdefault(url, MemoryBroker())


def reset_memory_brokers() -> None:
    """Forget the brokers in memory, so that a test begins with empty ones.

    Streams that are open keep the broker that they have.
    """
    _memory_brokers.clear()


def _kafka(
    settings: EventStreamSettings, client_id: str, health: HealthBoard, metrics: BusMetrics
) -> KafkaEventStream:
    cluster = KafkaCluster(
        address=settings.address,
        client_id=client_id,
        security=settings.security,
        timing=KafkaTiming(stall_after_s=settings.stall_after_s),
    )
    return KafkaEventStream(
        cluster,
        TopicPlan(settings.topic, settings.partitions, settings.replication),
        dead_letters=TopicPlan(settings.dead_letters, 1, settings.replication),
        publish_timeout_s=settings.publish_timeout_s,
        member=settings.member,
        health=health,
        metrics=metrics,
    )


def _mqtt(
    settings: EventStreamSettings, client_id: str, health: HealthBoard, metrics: BusMetrics
) -> MqttEventStream:
    return MqttEventStream(
        MqttBroker(address=settings.address, security=settings.security),
        settings.topic,
        dead_letters=settings.dead_letters,
        client_id=client_id,
        publish_timeout_s=settings.publish_timeout_s,
        health=health,
        metrics=metrics,
    )


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
