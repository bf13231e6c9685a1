"""The notification protocol of systemd, sd_notify(3), without libsystemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

_log = structlog.get_logger(__name__)

_MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager how the process is; silent where there is none.

    Parameters
    ----------
    environ
        Where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are; None: the process's.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environ)
        """Seconds within which the service manager wants a sign of life; 0: never."""

    def ready(self, status: str = "") -> None:
        """Say that the start, or a reload, is complete."""
        self._send(READY="1", **_status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(**_status(text))

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self, *, within_s: float) -> None:
        """Say that the end has begun, and how long it may take."""
        self._send(STOPPING="1", EXTEND_TIMEOUT_USEC=str(int(within_s * _MICROSECONDS)))

    def watchdog(self) -> None:
        """Give a sign of life."""
        self._send(WATCHDOG="1")

    def _send(self, **fields: str) -> None:
        if not self._address:
            return
        message = "\n".join(f"{key}={value}" for key, value in fields.items())
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("service_manager_unreachable", socket=self._address, error=str(error))


def _status(text: str) -> dict[str, str]:
    return {"STATUS": " ".join(text.split())} if text else {}


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """Return the watchdog's time as sd_watchdog_enabled(3) reads it."""
    meant_for = environ.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / _MICROSECONDS if text.isascii() and text.isdigit() else 0.0
