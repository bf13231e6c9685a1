"""What the service manager is told, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemons.runtime.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def notifier(manager: socket.socket, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environ})


def heard(manager: socket.socket) -> dict[str, str]:
    message = manager.recv(4096).decode()
    return dict(line.split("=", 1) for line in message.split("\n"))


def test_ready_tells_the_status_on_one_line(manager: socket.socket) -> None:
    notifier(manager).ready("forwarder ENABLED\n(waits)")
    assert heard(manager) == {"READY": "1", "STATUS": "forwarder ENABLED (waits)"}


def test_reloading_carries_the_monotonic_time_that_notify_reload_needs(
    manager: socket.socket,
) -> None:
    before = time.monotonic_ns() // 1000
    notifier(manager).reloading()
    message = heard(manager)
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_stopping_asks_for_the_time_that_it_needs(manager: socket.socket) -> None:
    notifier(manager).stopping(within_s=30)
    assert heard(manager) == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "30000000"}


def test_status_and_watchdog(manager: socket.socket) -> None:
    out = notifier(manager)
    out.status("x")
    out.watchdog()
    assert heard(manager) == {"STATUS": "x"}
    assert heard(manager) == {"WATCHDOG": "1"}


def test_an_abstract_socket_is_reached() -> None:
    name = f"arriero-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).watchdog()
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_found_in_the_environment(environ: dict[str, str], seconds: float) -> None:
    assert Notifier(environ).watchdog_s == seconds


def test_without_a_manager_nothing_happens() -> None:
    with capture_logs() as logs:
        Notifier({}).ready("x")
    assert logs == []


def test_a_manager_that_is_gone_is_a_warning_and_no_failure(tmp_path: Path) -> None:
    with capture_logs() as logs:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert [line["event"] for line in logs] == ["service_manager_unreachable"]
