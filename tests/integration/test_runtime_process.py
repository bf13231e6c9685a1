"""Real processes: signals, reloads, faults and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons.runtime.admin_client import AdminClient
from daemons.runtime.errors import SettingsError, UnavailableError

CHILD = Path(__file__).with_name("runtime_child.py")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class Child:
    """A process under test, its log and its admin socket."""

    def __init__(self, folder: Path, config: str, *services: str, **environ: str) -> None:
        self.config = folder / "config.yaml"
        self.config.write_text(config)
        self.socket = folder / "s"
        self.stderr = folder / "stderr"
        with self.stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(CHILD), str(self.config), *services],
                stderr=stderr,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
            )

    @property
    def text(self) -> str:
        return self.stderr.read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.log]

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not come to that:\n{self.text}")
            if self.process.poll() is not None and not condition():
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.text}")
            time.sleep(0.02)

    def until_event(self, event: str, times: int = 1) -> None:
        self.until(lambda: self.events.count(event) >= times)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(PATIENCE_S)

    def ask(self, what: Callable[[AdminClient], Any]) -> Any:
        async def asked() -> Any:
            async with AdminClient(self.socket) as client:
                return await what(client)

        return asyncio.run(asked())


class Starter:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    def __call__(self, config: str, *services: str, **environ: str) -> Child:
        child = Child(self.folder, config, *(services or ("a",)), **environ)
        self.children.append(child)
        return child


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for child in starter.children:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        child.process.wait()


def test_sigterm_finishes_what_is_in_hand_and_ends_with_0(start: Starter) -> None:
    child = start("counting: {drain_s: 0.3}")
    child.until_event("process_started")
    child.signal(signal.SIGTERM)
    assert child.end() == 0
    events = child.events
    assert events.index("drain_begins") < events.index("drain_ends") < events.index("closed")
    assert events[-1] == "process_ended"
    assert child.log[-1]["in_order"] is True
    assert not child.socket.exists()


def test_sigint_ends_like_sigterm(start: Starter) -> None:
    child = start("")
    child.until_event("process_started")
    child.signal(signal.SIGINT)
    assert child.end() == 0
    assert "drain_ends" in child.events


def test_a_drain_that_takes_too_long_is_cut_off_and_the_exit_code_says_so(start: Starter) -> None:
    child = start("drain_timeout_s: 0.2\ncounting: {drain_s: 600}")
    child.until_event("process_started")
    child.signal(signal.SIGTERM)
    assert child.end() == 1
    assert "drain_timed_out" in child.events
    assert "drain_ends" not in child.events
    assert "closed" in child.events


def test_a_second_signal_ends_at_once(start: Starter) -> None:
    child = start("drain_timeout_s: 600\ncounting: {drain_s: 600}")
    child.until_event("process_started")
    child.signal(signal.SIGTERM)
    child.until_event("drain_begins")
    child.signal(signal.SIGTERM)
    assert child.end() == -signal.SIGTERM


def test_after_a_kill_the_next_process_takes_the_socket_over(start: Starter) -> None:
    first = start("")
    first.until_event("process_started")
    first.signal(signal.SIGKILL)
    first.end()
    assert first.socket.is_socket()
    second = start("")
    second.until_event("process_started")
    assert second.ask(lambda client: client.status())["pid"] == second.process.pid


def test_a_second_process_on_the_same_socket_names_the_first(
    start: Starter, tmp_path: Path
) -> None:
    first = start("")
    first.until_event("process_started")
    (tmp_path / "first").write_text(first.text)
    second = start("")
    assert second.end() == 75
    assert f"is in use by process {first.process.pid}" in second.text
    assert first.ask(lambda client: client.livez())["alive"] is True


def test_sighup_takes_over_what_may_change_and_names_what_needs_a_restart(start: Starter) -> None:
    child = start("counting: {tick_s: 0.01}")
    child.until_event("process_started")
    child.config.write_text("log_level: DEBUG\ndrain_timeout_s: 5\ncounting: {tick_s: 0.02}\n")
    child.signal(signal.SIGHUP)
    child.until_event("restart_needed")
    (line,) = [line for line in child.log if line["event"] == "reloaded"]
    assert line["changed"] == ["log_level", "counting.tick_s"]
    assert line["restart"] == ["drain_timeout_s"]
    status = child.ask(lambda client: client.status())
    assert status["services"]["a"]["status"]["tick_s"] == 0.02
    assert status["log_level"] == 10


def test_sighup_with_an_invalid_configuration_keeps_the_old_one(start: Starter) -> None:
    child = start("counting: {tick_s: 0.01}")
    child.until_event("process_started")
    child.config.write_text("counting:\n  tick: 5\n")
    child.signal(signal.SIGHUP)
    child.until_event("reload_refused")
    (line,) = [line for line in child.log if line["event"] == "reload_refused"]
    assert line["problems"] == [
        f"{child.config}:2: counting.tick: unknown key; did you mean `tick_s`?"
    ]
    status = child.ask(lambda client: client.status())["services"]["a"]
    assert (status["state"], status["status"]["tick_s"]) == ("ENABLED", 0.01)
    with pytest.raises(SettingsError, match="did you mean `tick_s`"):
        child.ask(lambda client: client.reload())
    child.config.write_text("counting: {tick_s: 0.03}\n")
    assert child.ask(lambda client: client.reload())["changed"] == ["counting.tick_s"]


def test_one_of_two_services_faults_and_recovers_while_the_other_works(start: Starter) -> None:
    child = start("", "a", "b")
    child.until_event("process_started")
    child.ask(lambda client: client.post("/break/a"))
    child.until_event("service_fault")
    status = child.ask(lambda client: client.status())["services"]
    assert (status["a"]["state"], status["b"]["state"]) == ("FAULT", "ENABLED")
    assert status["a"]["error"]["report"] == "work of a failed: told to break"
    count = status["b"]["status"]["count"]
    child.until(
        lambda: (
            child.ask(lambda client: client.status())["services"]["b"]["status"]["count"] > count
        )
    )
    assert child.ask(lambda client: client.readyz())["ready"] is False
    assert child.ask(lambda client: client.command("a", "recover")) == "ENABLED"
    assert child.ask(lambda client: client.readyz())["ready"] is True
    assert 'arriero_service_state{service="a"} 2.0' in child.ask(lambda client: client.metrics())
    child.signal(signal.SIGTERM)
    assert child.end() == 0
    assert sorted(line["service"] for line in child.log if line["event"] == "closed") == [
        "a",  # when it recovered
        "a",
        "b",
    ]


def test_readiness_follows_a_dependency(start: Starter) -> None:
    child = start("")
    child.until_event("process_started")

    def report(*, ok: bool) -> None:
        body = {"dependency": "store", "ok": ok, "reason": "told so"}
        child.ask(lambda client: client.post("/health/a", body))

    assert child.ask(lambda client: client.readyz())["ready"] is True
    report(ok=False)
    answer = child.ask(lambda client: client.readyz())
    assert (answer["ready"], answer["services"]["a"]["reason"]) == (False, "store: told so")
    report(ok=True)
    assert child.ask(lambda client: client.readyz())["ready"] is True


def test_a_service_that_cannot_open_leaves_a_process_to_ask(start: Starter) -> None:
    child = start("counting: {fail_open: true}", "a", "b")
    child.until_event("process_started")
    status = child.ask(lambda client: client.status())["services"]
    assert {service["state"] for service in status.values()} == {"FAULT"}
    assert "told to fail" in status["a"]["error"]["report"]
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_a_process_may_wait_for_commands_and_ends_when_all_services_have(start: Starter) -> None:
    child = start("initial_state: STANDBY", "a", "b")
    child.until_event("process_started")
    for command, state in (("start", "DISABLED"), ("enable", "ENABLED"), ("disable", "DISABLED")):
        assert child.ask(lambda client, c=command: client.command("a", c)) == state
    child.ask(lambda client: client.command("a", "standby"))
    child.ask(lambda client: client.command("a", "exitControl"))
    assert child.ask(lambda client: client.status())["services"]["b"]["state"] == "STANDBY"
    assert child.ask(lambda client: client.command("b", "exitControl")) == "OFFLINE"
    assert child.end() == 0
    with pytest.raises(UnavailableError, match="nobody listens"):
        child.ask(lambda client: client.livez())


def test_an_invalid_configuration_ends_with_78_before_anything_starts(start: Starter) -> None:
    child = start("counting: {tick_s: -1}")
    assert child.end() == 78
    assert f"{child.config}:1: counting.tick_s: " in child.text
    assert not child.socket.exists()


def test_a_background_task_that_fails_is_started_again(start: Starter) -> None:
    child = start("")
    child.until_event("background_runs")
    assert "background_failed" in child.events
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_a_thread_that_hangs_does_not_keep_the_process_alive(start: Starter) -> None:
    child = start("hang_thread: true")
    child.until_event("process_started")
    child.signal(signal.SIGTERM)
    assert child.end() == 0
    assert "threads hung did not end within 1 s; leaving anyway" in child.text


def test_sigusr1_writes_threads_and_tasks_and_the_process_goes_on(start: Starter) -> None:
    child = start("")
    child.until_event("process_started")
    child.signal(signal.SIGUSR1)
    child.until(lambda: "asyncio tasks" in child.text and "in work\n" in child.text)
    assert "Current thread 0x" in child.text
    assert child.ask(lambda client: client.livez())["alive"] is True


def test_sigusr1_shows_where_a_loop_is_stuck(start: Starter) -> None:
    child = start("")
    child.until_event("process_started")
    with pytest.raises(UnavailableError, match=r"did not answer /block within 0\.3 s"):
        child.ask(lambda client: client.post("/block", {"seconds": 600}, timeout_s=0.3))
    child.signal(signal.SIGUSR1)
    child.until(lambda: " in block" in child.text)
    assert "asyncio tasks" not in child.text


# The service manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


def told(manager: socket.socket, key: str) -> dict[str, str]:
    """Return the next message with a key."""
    while True:
        message = dict(
            line.split("=", 1) for line in manager.recv(4096).decode().split("\n") if line
        )
        if key in message:
            return message


def test_the_service_manager_hears_of_start_reload_and_end(
    start: Starter, manager: socket.socket
) -> None:
    child = start("", NOTIFY_SOCKET=manager.getsockname())
    assert told(manager, "READY")["STATUS"] == "a ENABLED"
    child.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC" in told(manager, "RELOADING")
    assert told(manager, "READY")["STATUS"] == "a ENABLED"
    child.ask(lambda client: client.post("/break/a"))
    assert told(manager, "STATUS")["STATUS"] == "a FAULT (work of a failed: told to break)"
    child.signal(signal.SIGTERM)
    assert int(told(manager, "STOPPING")["EXTEND_TIMEOUT_USEC"]) >= 20_000_000
    assert child.end() == 0


def test_the_watchdog_is_fed_only_while_the_loop_moves(
    start: Starter, manager: socket.socket
) -> None:
    child = start("", NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="300000")
    told(manager, "WATCHDOG")
    child.until_event("process_started")
    with pytest.raises(UnavailableError, match="did not answer"):
        child.ask(lambda client: client.post("/block", {"seconds": 600}, timeout_s=0.3))
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            manager.recv(4096)
    time.sleep(0.6)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
