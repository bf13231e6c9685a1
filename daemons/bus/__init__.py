"""The two message worlds behind one small interface each.

`ControlBus` is the observatory's: telemetry, events, commands. `EventStream` is
ours: the facts of `daemons.events`. Each has a memory, a Kafka and an MQTT
implementation, chosen by URL.
"""

from daemons.bus.interface import (
    BusDeniedError,
    BusError,
    BusUnavailableError,
    ControlBus,
    ControlMessage,
    Delivery,
    EventStream,
    ForwardingBus,
    PoisonMessage,
    Subscription,
    Topic,
)

__all__ = [
    "BusDeniedError",
    "BusError",
    "BusUnavailableError",
    "ControlBus",
    "ControlMessage",
    "Delivery",
    "EventStream",
    "ForwardingBus",
    "PoisonMessage",
    "Subscription",
    "Topic",
]
