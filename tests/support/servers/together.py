"""Several servers at once, for the demonstration on real services and for long tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from tests.support.servers.apicurio import Apicurio
from tests.support.servers.errors import ServerError
from tests.support.servers.kafka import Kafka
from tests.support.servers.mosquitto import Mosquitto
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import ServerProcess
from tests.support.servers.registry import SmallRegistry
from tests.support.servers.seaweedfs import SeaweedFS

ServerT = TypeVar("ServerT")

KINDS: Mapping[str, type[ServerProcess | SmallRegistry]] = MappingProxyType(
    {
        "kafka": Kafka,
        "registry": SmallRegistry,
        "apicurio": Apicurio,
        "seaweedfs": SeaweedFS,
        "postgres": Postgres,
        "mosquitto": Mosquitto,
    }
)
"""What can be started, by the name that `start_all` takes."""


@dataclass(frozen=True)
class Running:
    """The servers that were started; asking for another one raises `ServerError`."""

    servers: Mapping[str, Any]

    @property
    def kafka(self) -> Kafka:
        """Apache Kafka."""
        return self._get("kafka", Kafka)

    @property
    def registry(self) -> SmallRegistry:
        """The small schema registry; it lives in this process."""
        return self._get("registry", SmallRegistry)

    @property
    def apicurio(self) -> Apicurio:
        """The Apicurio schema registry."""
        return self._get("apicurio", Apicurio)

    @property
    def seaweedfs(self) -> SeaweedFS:
        """The object store."""
        return self._get("seaweedfs", SeaweedFS)

    @property
    def postgres(self) -> Postgres:
        """The database."""
        return self._get("postgres", Postgres)

    @property
    def mosquitto(self) -> Mosquitto:
        """The MQTT broker."""
        return self._get("mosquitto", Mosquitto)

    def endpoints(self) -> dict[str, str]:
        """Return what a client needs of each server, by server name."""
        fields = ("bootstrap", "registry_url", "endpoint_url", "dsn", "mqtt_url")
        return {
            name: next(str(getattr(server, field)) for field in fields if hasattr(server, field))
            for name, server in self.servers.items()
        }

    def _get(self, name: str, kind: type[ServerT]) -> ServerT:
        server = self.servers.get(name)
        if not isinstance(server, kind):
            raise ServerError(f"{name} was not started; running: {', '.join(self.servers)}")
        return server


@contextmanager
def start_all(directory: Path, which: Collection[str]) -> Iterator[Running]:
    """Start servers side by side, each in a folder of its name, and stop them at the end.

    Raises
    ------
    MissingServerError
        One is not installed.
    ServerStartError
        One did not come up; those that did are stopped.
    """
    unknown = set(which) - set(KINDS)
    if unknown:
        raise ServerError(
            f"no server named {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
        )
    servers = {name: _make(name, directory) for name in KINDS if name in which}
    with ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.stop)
        with ThreadPoolExecutor(max_workers=max(len(servers), 1)) as pool:
            starts = [pool.submit(server.start) for server in servers.values()]
        for start in starts:
            start.result()
        yield Running(servers)


def _make(name: str, directory: Path) -> ServerProcess | SmallRegistry:
    kind = KINDS[name]
    return kind(directory / name) if issubclass(kind, ServerProcess) else kind()
