"""Apicurio Registry: a real schema registry that speaks Confluent's paths."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.cache import APICURIO_VERSION, apicurio_jar, require
from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program

_PREFIX = "/apis/ccompat/v7"
_ASK_TIMEOUT_S = 5.0


class Apicurio(ServerProcess):
    """Apicurio with its storage in memory: a restart forgets all schemas and counts ids from 1."""

    name = "apicurio"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = 0

    @property
    def registry_url(self) -> str:
        """URL below which Confluent's paths are, such as `/subjects`."""
        return f"http://{LOOPBACK}:{self.port}{_PREFIX}"

    def choose_ports(self) -> None:
        release(self.port)
        self.port = free_port()

    def command(self) -> Sequence[str]:
        return [
            program("java", "the Debian package `openjdk-17-jre-headless`"),
            "-Xmx320m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dquarkus.http.host={LOOPBACK}",
            f"-Dquarkus.http.port={self.port}",
            "-jar",
            str(require(apicurio_jar(), f"Apicurio {APICURIO_VERSION}")),
        ]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - the URL is our own, on loopback
                f"{self.registry_url}/subjects", timeout=_ASK_TIMEOUT_S
            ) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
