"""Bus URLs: where a broker is, and nothing else.

::

    memory:                         in this process; `memory:NAME` for more than one
    kafka://HOST:PORT[,HOST:PORT]   any brokers of one cluster
    mqtt://HOST:PORT                one broker
    mqtts://HOST:PORT               the same over TLS

User names and passwords never stand in a URL, where logs and process lists
show them: they belong in the `security` settings.

Exceptions::

    AddressError    (SettingsError, ValueError) a URL that is none of these
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from daemons.runtime.errors import SettingsError

_FORMS = "`memory:`, `kafka://HOST:PORT[,HOST:PORT]`, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`"


class AddressError(SettingsError, ValueError):
    """A bus URL that cannot be used; also a `ValueError`, so that pydantic places it."""

    code = "bus.address"


class BusKind(StrEnum):
    """What carries the messages."""

    MEMORY = "memory"
    KAFKA = "kafka"
    MQTT = "mqtt"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BusAddress:
    """A bus URL, taken apart."""

    kind: BusKind
    endpoints: tuple[Endpoint, ...] = ()
    """Where to connect; empty in memory, exactly one for MQTT."""
    tls: bool = False
    """True for `mqtts://`. Kafka says so in its security protocol."""
    name: str = ""
    """Which broker of this process, in memory."""

    @property
    def servers(self) -> tuple[str, ...]:
        """`HOST:PORT` of each endpoint."""
        return tuple(str(endpoint) for endpoint in self.endpoints)

    def __str__(self) -> str:
        if self.kind is BusKind.MEMORY:
            return f"memory:{self.name}"
        scheme = "mqtts" if self.tls else self.kind.value
        return f"{scheme}://{','.join(self.servers)}"


def parse_address(url: str) -> BusAddress:
    """Take a bus URL apart.

    Raises
    ------
    AddressError
        Not one of the known forms, a port that is missing or out of range, or
        a user name inside the URL.
    """
    scheme, colon, rest = url.strip().partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in {"memory", "kafka", "mqtt", "mqtts"}:
        raise AddressError(f"`{url}` is no bus URL: write {_FORMS}")
    if scheme == "memory":
        if "/" in rest:
            raise AddressError(f"`{url}`: a bus in memory has no host, write `memory:`")
        return BusAddress(kind=BusKind.MEMORY, name=rest)
    endpoints = _endpoints(url, scheme, rest)
    if scheme != "kafka" and len(endpoints) > 1:
        raise AddressError(f"`{url}`: MQTT takes one broker, not {len(endpoints)}")
    kind = BusKind.KAFKA if scheme == "kafka" else BusKind.MQTT
    return BusAddress(kind=kind, endpoints=endpoints, tls=scheme == "mqtts")


def _endpoints(url: str, scheme: str, rest: str) -> tuple[Endpoint, ...]:
    if not rest.startswith("//"):
        raise AddressError(f"`{url}`: `//` is missing after `{scheme}:`")
    hosts = rest[2:].removesuffix("/")
    if "@" in hosts:
        raise AddressError(
            f"a {scheme} URL carries a user name: move user name and password to `security`"
        )
    if any(mark in hosts for mark in "/?#"):
        raise AddressError(f"`{url}`: nothing may follow the port; write {_FORMS}")
    return tuple(_endpoint(url, scheme, part.strip()) for part in hosts.split(","))


def _endpoint(url: str, scheme: str, text: str) -> Endpoint:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"`{url}`: `{text}` is no HOST:PORT ({error})") from error
    if not host:
        raise AddressError(f"`{url}`: a host is missing; write `{scheme}://HOST:PORT`")
    if not port:
        raise AddressError(f"`{url}`: the port of `{host}` is missing; write `{host}:PORT`")
    return Endpoint(host=host, port=port)
