"""Settings of the control bus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator, model_validator

from daemons.bus.address import BusAddress, BusKind, parse_address
from daemons.bus.security import BusSecurity
from daemons.runtime.secrets import SecretRef


class RegistryAccess(BaseModel):
    """User and password for the schema registry, where it asks for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: Annotated[str, Field(min_length=1)]
    """Who we are to the registry."""
    password: SecretRef
    """Where the password is; it is read when the bus is opened."""


class ControlBusSettings(BaseModel):
    """Where the observatory's control bus is, and how we speak on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "memory:"
    """`memory:`, `kafka://HOST:PORT[,HOST:PORT]`, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`."""
    registry_url: HttpUrl | None = None
    """Where the schema registry's Confluent API begins; Kafka needs it."""
    registry_access: RegistryAccess | None = None
    """User and password for the registry."""
    security: BusSecurity = BusSecurity()
    """How the broker knows us."""
    subname: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "sal"
    """Second part of every Kafka topic's name: `sal` in production, another on a test stand."""
    prefix: Annotated[str, Field(pattern=r"^[^#+$/][^#+]*$")] = "sal"
    """First part of every MQTT topic: `PREFIX/COMPONENT[/INDEX]/TOPIC`."""
    identity: Annotated[str, Field(min_length=1)] | None = None
    """`private_identity` of what this process sends; the service's own name by default."""
    dictionaries: tuple[Path, ...] = ()
    """Files like `config/sal/topics.json` with further topics; later ones win."""
    schema_cache: Path | None = None
    """Folder where schemas are kept, so that a registry outage does not stop a start."""
    dead_letters: Path | None = None
    """File of JSON lines where messages are kept that cannot be read; null: the log only."""
    replication: Annotated[int, Field(ge=1)] = 1
    """Replicas of the Kafka topics that we create."""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """How long a publication may take before the broker counts as away."""

    @field_validator("url")
    @classmethod
    def _url_is_known(cls, url: str) -> str:
        parse_address(url)
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.address.kind is BusKind.KAFKA and self.registry_url is None:
            raise ValueError("a control bus on Kafka needs `registry_url`")
        return self

    @property
    def address(self) -> BusAddress:
        """The URL, taken apart."""
        return parse_address(self.url)
