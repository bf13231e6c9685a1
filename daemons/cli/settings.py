"""The whole configuration of a host: one YAML file, one section per room."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, PositiveFloat, model_validator

from daemons.bus.settings_control import ControlBusSettings
from daemons.bus.settings_stream import EventStreamSettings
from daemons.forwarder.settings import ForwarderSettings
from daemons.registrar.settings import RegistrarSettings
from daemons.runtime.errors import SettingsError
from daemons.runtime.secrets import SecretRef
from daemons.runtime.settings import (
    LoadedSettings,
    Reloadable,
    RootSettings,
    SectionModel,
    load_settings,
)
from daemons.simulators.settings import SimulatorSettings
from daemons.storage.settings import StoreSettings
from headerservice.settings import HeaderServiceSettings

SectionT = TypeVar("SectionT", bound=SectionModel)

ServiceName = Literal["forwarder", "headerservice", "registrar"]
"""The services that a process can run."""

ComponentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+(:[0-9]+)?$")]
"""A component of the control bus, with its index where it has one."""


class SiteSettings(SectionModel):
    """Where this is."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "site"
    """Name of the observatory or test stand, in logs and events."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        default_factory=socket.gethostname
    )
    """Name of this host in events and consumer groups; the machine's by default."""


class AdminSettings(SectionModel):
    """The interface for operators: health, status, metrics, commands."""

    socket: Path | None = Path("arriero.sock")
    """Unix socket of the admin API; null: none."""
    host: str = "127.0.0.1"
    """Address of the admin API over TCP; others than loopback need a token."""
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """TCP port; 0: a free one; null: Unix socket only."""
    token: SecretRef | None = None
    """Where the token is that a command over TCP must bring."""


class LoggingSettings(SectionModel):
    """What is written about what happens."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Reloadable()] = "INFO"
    """The least severe record that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """JSON lines, or text for people; auto: text on a terminal, JSON elsewhere."""


class Settings(RootSettings):
    """The configuration of one host."""

    site: SiteSettings = SiteSettings()
    """Where this is."""
    services: tuple[ServiceName, ...] = ()
    """What `arriero run` without names runs."""
    initial_state: Literal["STANDBY", "DISABLED", "ENABLED"] = "ENABLED"
    """State that each service goes to at start; STANDBY where control software commands it."""
    drain_timeout_s: PositiveFloat = 20.0
    """Longest time for finishing what is in hand when a service is disabled or ends, seconds."""
    control_bus: ControlBusSettings = ControlBusSettings()
    """The observatory's telemetry, events and commands."""
    event_stream: EventStreamSettings = EventStreamSettings()
    """Our own facts."""
    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    """Object stores by name; the services say which they use."""
    components: dict[Literal["forwarder", "registrar"], ComponentName] = Field(default_factory=dict)
    """Name, or `Name:index`, under which a service is commanded over the control bus, such as
    `forwarder: MTForwarder`; without one it listens to the admin API only. The header service
    has its own setting."""
    commanders: tuple[str, ...] = ("*",)
    """Identities that may command over the control bus, as shell patterns such as `*@summit-*`;
    `identity#origin` names the sending process as well. Identities are not proven by the bus: the
    broker's own access lists are what keeps strangers out."""
    commanders_of: dict[ServiceName, tuple[str, ...]] = Field(default_factory=dict)
    """The same for one service, instead of `commanders`."""
    command_audit: Path | None = None
    """File of JSON lines in which every command over the control bus is kept: who, what, when and
    what came of it; null: the log only."""
    admin: AdminSettings = AdminSettings()
    """The interface for operators."""
    logging: LoggingSettings = LoggingSettings()
    """What is written about what happens."""
    forwarder: ForwarderSettings | None = None
    """Drop directory to object store."""
    headerservice: HeaderServiceSettings | None = None
    """Telemetry to FITS headers."""
    registrar: RegistrarSettings | None = None
    """Stored images to Butler datasets."""
    simulator: SimulatorSettings | None = None
    """The simulated observatory and camera of `arriero simulate`."""

    @model_validator(mode="after")
    def _named_stores_exist(self) -> Self:
        for section, store in self.used_stores().items():
            if store not in self.stores:
                known = ", ".join(sorted(self.stores)) or "none"
                raise ValueError(f"{section} uses the store {store!r}; stores has {known}")
        return self

    @model_validator(mode="after")
    def _services_have_sections(self) -> Self:
        for name in self.services:
            if getattr(self, name) is None:
                raise ValueError(f"services names {name}, but there is no section {name}")
        return self

    def used_stores(self) -> dict[str, str]:
        """Return the store that each configured service names."""
        used = {}
        if self.forwarder is not None:
            used["forwarder"] = self.forwarder.store
            for store in self.forwarder.copies:
                used[f"forwarder.copies ({store})"] = store
        if self.headerservice is not None:
            used["headerservice"] = self.headerservice.store
        return used


def section(found: SectionT | None, name: str) -> SectionT:
    """Return a section that a command needs.

    Raises
    ------
    SettingsError
        The configuration does not have it.
    """
    if found is None:
        raise SettingsError(f"there is no section `{name}` in the configuration")
    return found


def load(path: Path | None) -> LoadedSettings[Settings]:
    """Return the configuration in a file, or the defaults and the environment without one."""
    return load_settings(Settings, path)
