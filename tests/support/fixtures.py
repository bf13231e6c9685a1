"""Real servers as pytest fixtures.

`kafka`, `mosquitto`, `seaweedfs`, `postgres`, `schema_registry` and `apicurio`
are shared by the whole session: a test uses names (topics, buckets, databases)
of its own and never kills them. `start_kafka`, `start_mosquitto`, ... give a
test a private server to kill, freeze and restart.

A server that is not installed fails the test with the sentence that says what
to install. With `ARRIERO_ALLOW_MISSING_SERVERS=1` the test is skipped instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.support.servers import (
    Apicurio,
    Kafka,
    MissingServerError,
    Mosquitto,
    Moto,
    Postgres,
    SeaweedFS,
    ServerProcess,
    SmallRegistry,
)

ServerT = TypeVar("ServerT", bound=ServerProcess)
ServerT_co = TypeVar("ServerT_co", bound=ServerProcess, covariant=True)


class Starter(Protocol[ServerT_co]):
    """Starts a private server; keyword arguments are those of its class."""

    def __call__(self, **options: object) -> ServerT_co:
        """Return the server, started and ready."""
        ...


def _started(server: ServerT) -> ServerT:
    try:
        return server.start()
    except MissingServerError as error:
        if os.environ.get("ARRIERO_ALLOW_MISSING_SERVERS") == "1":
            pytest.skip(str(error))
        pytest.fail(str(error), pytrace=False)


def _shared(kind: Callable[[Path], ServerT], factory: pytest.TempPathFactory) -> Iterator[ServerT]:
    server = _started(kind(factory.mktemp("server")))
    yield server
    server.kill()


def _starter(kind: Callable[..., ServerT], folder: Path) -> Iterator[Starter[ServerT]]:
    with ExitStack() as stack:
        count = 0

        def start(**options: object) -> ServerT:
            nonlocal count
            count += 1
            server = _started(kind(folder / f"server-{count}", **options))
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Apache Kafka, shared; use topics and groups of your own."""
    yield from _shared(Kafka, tmp_path_factory)


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Mosquitto, shared; use topics and client names of your own."""
    yield from _shared(Mosquitto, tmp_path_factory)


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """Apicurio, a real schema registry, shared; use subjects of your own."""
    yield from _shared(Apicurio, tmp_path_factory)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """SeaweedFS, shared; use a bucket of your own (`seaweedfs.create_bucket()`)."""
    yield from _shared(SeaweedFS, tmp_path_factory)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto's S3, shared; use a bucket of your own (`moto.create_bucket()`)."""
    yield from _shared(Moto, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """PostgreSQL, shared; use a database of your own (`postgres.create_database(name)`)."""
    yield from _shared(Postgres, tmp_path_factory)


@pytest.fixture(scope="session")
def schema_registry() -> Iterator[SmallRegistry]:
    """The small schema registry, shared; use subjects of your own."""
    with SmallRegistry() as registry:
        yield registry


@pytest.fixture
def small_registry() -> Iterator[SmallRegistry]:
    """A private small schema registry, to stop, to fail and to count."""
    with SmallRegistry() as registry:
        yield registry


@pytest.fixture
def start_kafka(tmp_path: Path) -> Iterator[Starter[Kafka]]:
    """Return a starter of private Kafkas: `start_kafka(users={...}, properties={...})`."""
    yield from _starter(Kafka, tmp_path / "kafka")


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Starter[Mosquitto]]:
    """Return a starter of private mosquittos: `start_mosquitto(settings=[...])`."""
    yield from _starter(Mosquitto, tmp_path / "mosquitto")


@pytest.fixture
def start_apicurio(tmp_path: Path) -> Iterator[Starter[Apicurio]]:
    """Return a starter of private Apicurios."""
    yield from _starter(Apicurio, tmp_path / "apicurio")


@pytest.fixture
def start_seaweedfs(tmp_path: Path) -> Iterator[Starter[SeaweedFS]]:
    """Return a starter of private SeaweedFS servers."""
    yield from _starter(SeaweedFS, tmp_path / "seaweedfs")


@pytest.fixture
def start_moto(tmp_path: Path) -> Iterator[Starter[Moto]]:
    """Return a starter of private moto servers."""
    yield from _starter(Moto, tmp_path / "moto")


@pytest.fixture
def start_postgres(tmp_path: Path) -> Iterator[Starter[Postgres]]:
    """Return a starter of private PostgreSQLs."""
    yield from _starter(Postgres, tmp_path / "postgres")
