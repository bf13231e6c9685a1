"""Eclipse mosquitto, an MQTT broker."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program

_ASK_TIMEOUT_S = 2.0
_CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x05\x00\x07arriero"
"""MQTT 3.1.1 CONNECT, clean session, keep-alive 5 s, client id `arriero`."""
_CONNACK = b"\x20\x02"


class Mosquitto(ServerProcess):
    """A mosquitto that keeps sessions and retained messages on disk.

    What is queued for an absent client is written once a second: a message
    that must outlive `kill` needs that second, or `save` first.

    Parameters
    ----------
    directory
        Where configuration, data and log go.
    settings
        Further lines of `mosquitto.conf`.
    """

    name = "mosquitto"

    def __init__(self, directory: Path, *, settings: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self._settings = tuple(settings)
        self.port = 0

    @property
    def mqtt_url(self) -> str:
        """`mqtt://host:port`."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    def save(self) -> None:
        """Ask the broker to write its database now (SIGUSR1)."""
        os.kill(self.pid, signal.SIGUSR1)

    def choose_ports(self) -> None:
        release(self.port)
        self.port = free_port()

    def prepare(self) -> None:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        lines = [
            f"listener {self.port} {LOOPBACK}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {data}/",
            "autosave_interval 1",
            "max_queued_messages 0",
            "log_dest stderr",
            *(["user root"] if os.geteuid() == 0 else []),
            *self._settings,
        ]
        self._config.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def command(self) -> Sequence[str]:
        return [program("mosquitto", "the Debian package `mosquitto`"), "-c", str(self._config)]

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=_ASK_TIMEOUT_S) as connection:
            connection.sendall(_CONNECT)
            return connection.recv(4).startswith(_CONNACK)

    @property
    def _config(self) -> Path:
        return self.directory / "mosquitto.conf"
