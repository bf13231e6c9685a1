"""The event stream in memory, on Kafka and on MQTT; `open_event_stream` chooses by URL."""

from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import memory_broker, open_event_stream, reset_memory_brokers
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream

__all__ = [
    "EventStreamSettings",
    "MemoryBroker",
    "MemoryEventStream",
    "memory_broker",
    "open_event_stream",
    "reset_memory_brokers",
]
