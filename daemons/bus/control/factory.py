"""Opens the control bus that the settings name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from daemons.bus.address import BusAddress, BusKind
from daemons.bus.control.dead_letters import ControlDeadLetters
from daemons.bus.control.kafka import KafkaControlBus, KafkaDialect
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.control.mqtt import MqttControlBus, MqttDialect
from daemons.bus.control.private_fields import Stamper
from daemons.bus.control.reporting import ControlReporting
from daemons.bus.interface import ForwardingBus
from daemons.bus.kafka_client import KafkaCluster
from daemons.bus.metrics import bus_metrics
from daemons.bus.mqtt_client import MqttBroker
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import SchemaRegistry, basic_authorization
from daemons.bus.settings_control import ControlBusSettings
from daemons.runtime.clock import Clock
from daemons.runtime.health import HealthBoard

_BROKERS: dict[str, MemoryControlBroker] = {}
"""The memory brokers of this process by name, so that its services meet on one."""


def memory_broker(name: str = "") -> MemoryControlBroker:
    """Return the broker behind `memory:NAME`, made on first use."""
    return _BROKERS.setdefault(name, MemoryControlBroker())


def forget_memory_brokers() -> None:
    """Begin anew with empty memory brokers; buses that are open keep theirs."""
    _BROKERS.clear()


def command_subscription(address: BusAddress, component: str, index: int = 0) -> str | None:
    """Return under which durable name a service subscribes to its commands.

    On MQTT the broker keeps commands while a connection is broken; on Kafka and in
    memory there is none, because SAL never replays commands.

    Parameters
    ----------
    address
        Where the bus is.
    component, index
        Who is commanded.
    """
    if address.kind is not BusKind.MQTT:
        return None
    return f"{component}-{index}-commands" if index else f"{component}-commands"


def open_control_bus(
    settings: ControlBusSettings,
    *,
    identity: str,
    clock: Clock,
    health: HealthBoard,
    registry: CollectorRegistry | None = None,
) -> ForwardingBus:
    """Return a control bus; it connects when it is first used.

    Parameters
    ----------
    settings
        Where it is.
    identity
        `private_identity` of what is sent, unless the settings name another.
    clock
        Dates what is sent.
    health
        Where `control_bus.publish`, `control_bus.subscribe` and `schema_registry` are
        reported (in memory: `control_bus`).
    registry
        Where the figures are kept.

    Raises
    ------
    SettingsError
        A dictionary file or a secret that cannot be used.
    """
    address = settings.address
    dictionary = load_dictionary(settings.dictionaries)
    who = settings.identity or identity
    if address.kind is BusKind.MEMORY:
        return MemoryControlBus(
            memory_broker(address.name),
            identity=who,
            clock=clock,
            dictionary=dictionary,
            health=health,
        )
    stamper = Stamper(who, clock)
    letters = settings.dead_letters
    reporting = ControlReporting(
        health,
        bus_metrics(registry),
        dead_letters=None if letters is None else ControlDeadLetters(letters),
    )
    if address.kind is BusKind.MQTT:
        return MqttControlBus(
            MqttBroker(address, settings.security),
            dictionary,
            stamper,
            clock=clock,
            reporting=reporting,
            dialect=MqttDialect(prefix=settings.prefix, timeout_s=settings.timeout_s),
        )
    return KafkaControlBus(
        KafkaCluster(address, client_id=who, security=settings.security),
        open_schema_registry(settings, health),
        dictionary,
        stamper,
        reporting=reporting,
        dialect=KafkaDialect(
            subname=settings.subname,
            replication=settings.replication,
            timeout_s=settings.timeout_s,
        ),
    )


def open_schema_registry(settings: ControlBusSettings, health: HealthBoard) -> SchemaRegistry:
    """Return a client of the schema registry that the settings name, not asked yet."""
    access = settings.registry_access
    authorization = None
    if access is not None:
        authorization = basic_authorization(access.username, access.password.read())
    return SchemaRegistry(
        str(settings.registry_url),
        cache=settings.schema_cache,
        authorization=authorization,
        health=health,
    )
