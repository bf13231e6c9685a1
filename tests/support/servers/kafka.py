"""Apache Kafka in KRaft mode: one node that is broker and controller."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from daemons.bus.security import BusSecurity
from tests.support.certificates import Certificate, make_certificate
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
        Name → password: when given, clients authenticate by `mechanism` and
        may do only what an ACL allows (`super_user` may do everything).
    mechanism
        `SCRAM-SHA-512` or `PLAIN`.
    tls
        With `users`: over TLS, with a certificate made for the test.
    properties
        Broker properties on top of ours, such as `auto.create.topics.enable`.
    """

    name = "kafka"

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        mechanism: str = "SCRAM-SHA-512",
        tls: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.users = dict(users or {})
        self.mechanism = mechanism
        self.certificate = _certificate(directory) if tls else None
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
        """`PLAINTEXT`; with users `SASL_PLAINTEXT`, or `SASL_SSL` over TLS."""
        if not self.users:
            return "PLAINTEXT"
        return "SASL_PLAINTEXT" if self.certificate is None else "SASL_SSL"

    def security(self, folder: Path, username: str, password: str) -> BusSecurity:
        """Return how our own clients authenticate, with the secret in a file of `folder`."""
        secret = folder / f"{username}.secret"
        secret.touch(mode=0o600)
        secret.write_text(password)
        return BusSecurity.model_validate(
            {
                "protocol": self.security_protocol,
                "mechanism": self.mechanism,
                "username": username,
                "password": {"file": str(secret)},
                "ca_file": None if self.certificate is None else str(self.certificate.ca_bundle),
            }
        )

    def client_options(self, username: str, password: str) -> dict[str, Any]:
        """Return the same as options of a bare aiokafka client."""
        options: dict[str, Any] = {
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": username,
            "sasl_plain_password": password,
        }
        if self.certificate is not None:
            bundle = str(self.certificate.ca_bundle)
            options["ssl_context"] = ssl.create_default_context(cafile=bundle)
        return options

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
        scram = self._all_users() if self.mechanism.startswith("SCRAM") else {}
        for name, password in scram.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        if done.returncode:
            raise ServerStartError(f"kafka cannot format {self._data}: {done.stdout}{done.stderr}")

    def command(self) -> Sequence[str]:
        return self._java("kafka.Kafka", str(self._config))

    def answers(self) -> bool:
        with ExitStack() as stack:
            bare = socket.create_connection((LOOPBACK, self.port), timeout=_ASK_TIMEOUT_S)
            connection = stack.enter_context(bare)
            if self.certificate is not None:
                context = ssl.create_default_context(cafile=str(self.certificate.ca_bundle))
                wrapped = context.wrap_socket(connection, server_hostname=LOOPBACK)
                connection = stack.enter_context(wrapped)
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
            settings |= self._login_settings()
        return settings | self._properties

    def _login_settings(self) -> dict[str, str]:
        protocol, mechanism = self.security_protocol, self.mechanism
        listener = f"listener.name.{protocol.lower()}.{mechanism.lower()}.sasl.jaas.config"
        settings = {
            "listener.security.protocol.map": f"{protocol}:{protocol},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": protocol,
            "sasl.mechanism.inter.broker.protocol": mechanism,
            "sasl.enabled.mechanisms": mechanism,
            listener: _login(mechanism, self._all_users()),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{_BROKER_USER};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
        if self.certificate is not None:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.directory / "broker.pem"),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.certificate.ca_bundle),
            }
        return settings


def _login(mechanism: str, users: Mapping[str, str]) -> str:
    """Return the line of JAAS with which the broker logs in, and by PLAIN knows its users."""
    kind = "plain.Plain" if mechanism == "PLAIN" else "scram.Scram"
    known = (
        "".join(f' user_{name}="{password}"' for name, password in users.items())
        if mechanism == "PLAIN"
        else ""
    )
    return (
        f"org.apache.kafka.common.security.{kind}LoginModule required "
        f'username="{_BROKER_USER}" password="{_BROKER_PASSWORD}"{known};'
    )


def _cluster_id() -> str:
    """Return a random cluster id that cannot be taken for an option."""
    while True:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster.startswith("-"):
            return cluster


def _certificate(directory: Path) -> Certificate:
    """Return a certificate, with its key in one PEM file as Kafka wants it."""
    directory.mkdir(parents=True, exist_ok=True)
    made = make_certificate(directory)
    both = directory / "broker.pem"
    both.touch(mode=0o600)
    both.write_text((directory / "key.pem").read_text() + made.ca_bundle.read_text())
    return made


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
