"""Apache Kafka in KRaft mode: one node that is broker and controller."""

from __future__ import annotations

import base64
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers.cache import KAFKA_VERSION, kafka_libs, require
from tests.support.servers.errors import ServerStartError
from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program

_JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_ASK_TIMEOUT_S = 5.0
_API_VERSIONS = 18
_METADATA = 3
_METADATA_VERSION = 5
_BROKER_USER = "broker"
_BROKER_PASSWORD = "broker-of-the-tests"


class Kafka(ServerProcess):
    """Apache Kafka on one node.

    Parameters
    ----------
    directory
        Where configuration, data and log go.
    users
        Name → password: when given, clients authenticate by SCRAM-SHA-512 and
        may do only what an ACL allows (`super_user` may do everything).
    properties
        Broker properties on top of ours, such as `auto.create.topics.enable`.
    """

    name = "kafka"

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.users = dict(users or {})
        self._properties = dict(properties or {})
        self._ports: tuple[int, ...] = ()

    @property
    def port(self) -> int:
        """Port for clients."""
        return self._ports[0]

    @property
    def bootstrap(self) -> str:
        """`host:port` for `bootstrap_servers`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """`kafka://host:port`, as our own configuration writes it."""
        return f"kafka://{self.bootstrap}"

    @property
    def security_protocol(self) -> str:
        """`PLAINTEXT`, or `SASL_PLAINTEXT` with users."""
        return "SASL_PLAINTEXT" if self.users else "PLAINTEXT"

    @property
    def super_user(self) -> tuple[str, str]:
        """Name and password of a user whom no ACL stops (only with users)."""
        return _BROKER_USER, _BROKER_PASSWORD

    def choose_ports(self) -> None:
        for port in self._ports:
            release(port)
        self._ports = (free_port(), free_port())

    def prepare(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        lines = [f"{key}={value}" for key, value in self._settings().items()]
        self._config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        command = self._java("kafka.tools.StorageTool", "format", "-t", _cluster_id())
        command += ["-c", str(self._config)]
        for name, password in self._all_users().items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        if done.returncode:
            raise ServerStartError(f"kafka cannot format {self._data}: {done.stdout}{done.stderr}")

    def command(self) -> Sequence[str]:
        return self._java("kafka.Kafka", str(self._config))

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=_ASK_TIMEOUT_S) as connection:
            versions = _ask(connection, _API_VERSIONS, 0, b"")
            if struct.unpack_from(">h", versions)[0] != 0:
                return False
            if self.users:  # metadata is only for those who have authenticated
                return b"Kafka Server started" in self.log_since_start()
            metadata = _ask(connection, _METADATA, _METADATA_VERSION, struct.pack(">ib", 0, 0))
            brokers: int = struct.unpack_from(">i", metadata, 4)[0]
            return brokers > 0

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _config(self) -> Path:
        return self.directory / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        java = program("java", "the Debian package `openjdk-17-jre-headless`")
        libs = require(kafka_libs(), f"Apache Kafka {KAFKA_VERSION}")
        return [java, *_JAVA_OPTIONS, "-cp", f"{libs}/*", *arguments]

    def _all_users(self) -> Mapping[str, str]:
        return {_BROKER_USER: _BROKER_PASSWORD, **self.users} if self.users else {}

    def _settings(self) -> dict[str, str]:
        client, controller = self._ports
        listener = f"{self.security_protocol}://{LOOPBACK}:{client}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "listeners": f"{listener},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": listener,
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._data),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the controller waits for the dead broker's session to lapse.
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
        }
        if self.users:
            settings |= _scram_settings()
        return settings | self._properties


def _cluster_id() -> str:
    """Return a random cluster id that cannot be taken for an option."""
    while True:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster.startswith("-"):
            return cluster


def _scram_settings() -> dict[str, str]:
    login = (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{_BROKER_USER}" password="{_BROKER_PASSWORD}";'
    )
    return {
        "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{_BROKER_USER};User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
    }


def _ask(connection: socket.socket, api_key: int, version: int, body: bytes) -> bytes:
    """Send one request of Kafka's protocol and return the answer behind its correlation id."""
    header = struct.pack(">hhih", api_key, version, 1, -1)
    message = header + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    (size,) = struct.unpack(">i", _read(connection, 4))
    return _read(connection, size)[4:]


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("kafka closed the connection")
        data += piece
    return data
