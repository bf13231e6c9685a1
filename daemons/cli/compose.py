"""From settings to a process: buses, stores and services, wired.

The one place that knows every service. Constructors take their collaborators,
so everything below can be built in a test without this module.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self, get_args

from aiohttp import web
from prometheus_client import CollectorRegistry

from daemons.bus import ControlBus, EventStream
from daemons.bus.audit import FileAudit
from daemons.bus.commandable import Commandable, CommandPolicy, Configuration, Presence
from daemons.bus.control.factory import (
    command_subscription,
    open_control_bus,
    open_schema_registry,
)
from daemons.bus.control.log_relay import LogRelay
from daemons.bus.metrics import bus_metrics
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.stream.factory import open_event_stream
from daemons.bus.stream.raw import RawTopic, open_raw_topic
from daemons.cli.settings import ServiceName, Settings, section
from daemons.forwarder.assembly import NOTIFICATIONS, Further
from daemons.forwarder.operations import add_routes as add_forwarder_routes
from daemons.forwarder.service import Forwarder
from daemons.forwarder.settings_notifications import NotificationSettings
from daemons.runtime.clock import Clock, SystemClock
from daemons.runtime.errors import SettingsError
from daemons.runtime.health import HealthBoard
from daemons.runtime.logging import set_level
from daemons.runtime.process import Background
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.service import Service
from daemons.runtime.version import software_version
from daemons.storage import ObjectStore
from daemons.storage.factory import open_store
from headerservice.registry_check import RegisteredSchemas
from headerservice.service import HeaderService


@dataclass(slots=True)
class Parts:
    """What the services of one process share; an asynchronous context manager."""

    settings: Settings
    registry: CollectorRegistry
    observatory_clock: Clock = field(default_factory=SystemClock)
    """The time of the control bus: a simulated night brings its own."""
    clock: Clock = field(default_factory=SystemClock)
    health: dict[str, HealthBoard] = field(default_factory=dict)
    _audit: FileAudit | None = None
    _stores: dict[str, ObjectStore] = field(default_factory=dict)
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._exits.aclose()

    def board(self, owner: str) -> HealthBoard:
        """Return the health board of a service, made on first use."""
        return self.health.setdefault(owner, HealthBoard())

    def store(self, name: str) -> ObjectStore:
        """Return a destination of the configuration, opened once."""
        if name not in self._stores:
            store = open_store(name, self.settings.stores[name], registry=self.registry)
            self._stores[name] = store
            self._exits.push_async_callback(store.close)
        return self._stores[name]

    def stores(self) -> dict[str, ObjectStore]:
        """Return every destination of the configuration."""
        return {name: self.store(name) for name in self.settings.stores}

    def audit(self) -> FileAudit | None:
        """Return where commands are kept, opened once; None where no file is named."""
        path = self.settings.command_audit
        if self._audit is None and path is not None:
            self._audit = FileAudit(path)
            self._exits.push_async_callback(self._audit.close)
        return self._audit

    def event_stream(self, owner: str) -> EventStream:
        """Return a connection to the event stream that reports to its owner's board."""
        stream = open_event_stream(
            self.settings.event_stream,
            client_id=f"{owner}-{self.settings.site.host}",
            health=self.board(owner),
            registry=self.registry,
        )
        self._exits.push_async_callback(stream.close)
        return stream

    def notifications(self, owner: str, settings: NotificationSettings | None) -> RawTopic | None:
        """Return a topic of S3 notifications that reports to its owner's board."""
        if settings is None:
            return None
        topic = open_raw_topic(
            settings,
            role=NOTIFICATIONS,
            client_id=f"{owner}-{self.settings.site.host}-notifications",
            health=self.board(owner),
            metrics=bus_metrics(self.registry),
        )
        self._exits.push_async_callback(topic.close)
        return topic

    def control_bus(self, owner: str, *, identity: str | None = None) -> ControlBus:
        """Return a connection to the control bus that reports to its owner's board."""
        bus = open_control_bus(
            self.settings.control_bus,
            identity=identity or f"{owner}@{self.settings.site.host}",
            clock=self.observatory_clock,
            health=self.board(owner),
            registry=self.registry,
        )
        self._exits.push_async_callback(bus.close)
        return bus

    def registered_schemas(self, owner: str) -> RegisteredSchemas | None:
        """Return where the control bus has its schemas; None where it has none."""
        settings = self.settings.control_bus
        if settings.registry_url is None:
            return None
        registry = open_schema_registry(settings, self.board(owner))
        self._exits.push_async_callback(registry.close)
        return RegisteredSchemas(registry, settings.subname)


@dataclass(frozen=True, slots=True)
class Built:
    """A service with its runner, and what it adds to the process around it."""

    runner: ServiceRunner
    routes: Callable[[web.Application], None] | None = None
    background: Mapping[str, Background] = field(default_factory=dict)


def build(name: ServiceName, parts: Parts) -> Built:
    """Return a service, ready to be run.

    Raises
    ------
    SettingsError
        Its section is missing, or it needs an extra that is not installed.
    """
    return _BUILDERS[name](parts)


def build_all(names: Iterable[ServiceName], parts: Parts) -> list[Built]:
    """Return several services, each once."""
    return [build(name, parts) for name in dict.fromkeys(names)]


def _forwarder(parts: Parts) -> Built:
    settings = section(parts.settings.forwarder, "forwarder")
    service = Forwarder(
        settings,
        host=parts.settings.site.host,
        store=parts.store(settings.store),
        further=Further(
            copies=tuple(parts.store(name) for name in settings.copies),
            notifications=parts.notifications("forwarder", settings.notifications),
        ),
        stream=parts.event_stream("forwarder"),
        health=parts.board("forwarder"),
        registry=parts.registry,
        clock=parts.clock,
    )
    runner = _runner(service, parts)
    return Built(
        runner,
        routes=lambda app: add_forwarder_routes(app, service),
        background=_commanded(runner, parts),
    )


def header_service(parts: Parts) -> HeaderService:
    """Return the header service without its runner.

    Raises
    ------
    SettingsError
        Its section is missing.
    """
    settings = section(parts.settings.headerservice, "headerservice")
    return HeaderService(
        settings,
        host=parts.settings.site.host,
        bus=parts.control_bus(
            "headerservice", identity=_identity(settings.component, settings.index)
        ),
        stream=parts.event_stream("headerservice"),
        store=parts.store(settings.store),
        health=parts.board("headerservice"),
        registry=parts.registry,
        clock=parts.observatory_clock,
        dictionary=load_dictionary(parts.settings.control_bus.dictionaries),
        schemas=parts.registered_schemas("headerservice"),
    )


def _header_service(parts: Parts) -> Built:
    runner = _runner(header_service(parts), parts)
    return Built(runner, background=_commanded(runner, parts))


def _registrar(parts: Parts) -> Built:
    try:
        from daemons.registrar.admin import add_routes  # noqa: PLC0415 - needs the extra
        from daemons.registrar.service import Registrar  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the registrar needs {error.name}: install it with pip install 'arriero[facility]'"
        ) from error
    settings = section(parts.settings.registrar, "registrar")
    service = Registrar(
        settings,
        host=parts.settings.site.host,
        stores=parts.stores(),
        stream=parts.event_stream("registrar"),
        health=parts.board("registrar"),
        registry=parts.registry,
        clock=parts.clock,
    )
    runner = _runner(service, parts)
    return Built(
        runner,
        routes=lambda app: add_routes(app, service),
        background=_commanded(runner, parts),
    )


_BUILDERS: Mapping[ServiceName, Callable[[Parts], Built]] = MappingProxyType(
    {"forwarder": _forwarder, "headerservice": _header_service, "registrar": _registrar}
)


def _runner(service: Service, parts: Parts) -> ServiceRunner:
    return ServiceRunner(
        service,
        health=parts.board(service.name),
        drain_timeout_s=parts.settings.drain_timeout_s,
    )


def _component(name: str, settings: Settings) -> tuple[str, int] | None:
    """Return the component and index under which a service is commanded, if it is."""
    if name == "headerservice" and settings.headerservice is not None:
        return settings.headerservice.component, settings.headerservice.index
    text = next((text for each, text in settings.components.items() if each == name), None)
    if text is None:
        return None
    component, _, index = text.partition(":")
    return component, int(index or 0)


def _identity(component: str, index: int) -> str:
    """Return `private_identity` as SAL's components have it."""
    return f"{component}:{index}" if index else component


def _commanded(runner: ServiceRunner, parts: Parts) -> Mapping[str, Background]:
    """Return the task that serves commands from the control bus, if there is a component."""
    component = _component(runner.name, parts.settings)
    if component is None:
        return {}
    name, index = component
    settings = parts.settings
    commandable = Commandable(
        parts.control_bus(runner.name, identity=_identity(name, index)),
        runner,
        Presence(
            component=name,
            index=index,
            version=software_version(),
            durable=command_subscription(settings.control_bus.address, name, index),
            configuration=_configuration(settings),
        ),
        clock=parts.observatory_clock,
        policy=CommandPolicy(
            allowed=settings.commanders_of.get(_service_name(runner.name), settings.commanders)
        ),
        set_log_level=lambda level, subsystem: set_level(level, subsystem or None),
        relay=LogRelay(parts.observatory_clock, service=runner.name),
        audit=parts.audit(),
    )

    async def serve() -> None:
        await commandable.run()
        # Told to exit: it is silent from now on, also where other services go on.
        await asyncio.Event().wait()

    return {f"{runner.name}-commands": serve}


def _service_name(name: str) -> ServiceName:
    return next(known for known in get_args(ServiceName) if known == name)


def _configuration(settings: Settings) -> Configuration:
    """Return what is told of the configuration: its digest, for secrets are only referred to."""
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
    return Configuration(name=f"{settings.site.name}/{settings.site.host}", version=digest[:16])
