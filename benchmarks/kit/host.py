"""A camera host: the real forwarder in a process of its own, and an ear on its events."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from benchmarks.kit.figures import cpu_seconds, peak_mb, resident_mb
from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import open_event_stream
from daemons.events import ImageStored
from daemons.runtime.admin_client import AdminClient
from daemons.runtime.errors import ArrieroError
from daemons.runtime.health import HealthBoard

ROOT = Path(__file__).parents[2]
"""The project."""
_ASK_EVERY_S = 0.1
_START_S = 60.0
_STOP_S = 60.0
ResultT = TypeVar("ResultT")


class Host:
    """A forwarder as it runs at a camera.

    Parameters
    ----------
    folder
        Where configuration, journal, log and admin socket go.
    drop
        The drop directory.
    store
        Settings of its object store.
    stream
        URL of the event stream.
    forwarder
        Further settings of the forwarder.
    tree
        The project whose forwarder it is.
    """

    def __init__(
        self,
        folder: Path,
        drop: Path,
        *,
        store: Mapping[str, Any],
        stream: str,
        forwarder: Mapping[str, Any] | None = None,
        tree: Path = ROOT,
    ) -> None:
        self.drop = drop
        self.folder = folder
        self._tree = tree
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "arriero.yaml"
        content = {
            "site": {"name": "benchmark", "host": "camera-host"},
            "services": ["forwarder"],
            "event_stream": {"url": stream},
            "stores": {"facility": dict(store)},
            "forwarder": {
                "drop_directory": str(drop),
                "state_directory": str(folder / "state"),
                "quarantine_directory": str(drop.with_name("quarantine")),
                "reannounce_after_s": None,
                **(forwarder or {}),
            },
            "admin": {"socket": str(folder / "admin.sock")},
            "logging": {"level": "INFO", "format": "json"},
        }
        self._config.write_text(yaml.safe_dump(content), encoding="utf-8")

    @property
    def log(self) -> Path:
        """What the process writes."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._child is None:
            raise RuntimeError("the forwarder does not run")
        return self._child.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it takes work."""
        self.drop.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "daemons.cli.main", "--config", str(self._config), "run"]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._tree)
        if wait:
            self.until(_is_ready, timeout_s=_START_S)

    def stop(self) -> None:
        """End it in order."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def status(self) -> dict[str, Any]:
        """Return what `/status` tells."""
        return asyncio.run(self._ask(AdminClient.status))

    def metrics(self) -> str:
        """Return the metrics' text."""
        return asyncio.run(self._ask(AdminClient.metrics))

    def until(self, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = 600.0) -> None:
        """Wait until a status is as wanted; the log's end is in the error where it is not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._child is not None and self._child.poll() is not None:
                break
            try:
                if holds(self.status()):
                    return
            except ArrieroError:
                pass
            time.sleep(_ASK_EVERY_S)
        raise TimeoutError(f"the forwarder did not get there; its log ends:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def cpu_s(self) -> float:
        """Return the processor time it has used."""
        return cpu_seconds(self.pid)

    def resident_mb(self) -> float:
        """Return its resident memory, MB."""
        return resident_mb(self.pid)

    def peak_mb(self) -> float:
        """Return the most resident memory that it ever had, MB."""
        return peak_mb(self.pid)

    async def _ask(self, question: Callable[[AdminClient], Awaitable[ResultT]]) -> ResultT:
        async with AdminClient(self.folder / "admin.sock") as client:
            return await question(client)


@contextmanager
def running(host: Host) -> Iterator[Host]:
    """Start a host, and stop it whatever happens."""
    try:
        host.start()
        yield host
    finally:
        host.stop()


def forwarder_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the forwarder's part of a status."""
    found: dict[str, Any] = status["services"]["forwarder"]
    return dict(found.get("status", found))


def _is_ready(status: Mapping[str, Any]) -> bool:
    return bool(status["services"]["forwarder"]["state"] == "ENABLED")


class Ear:
    """Hears `image.stored` on an event stream, in a thread of its own.

    Parameters
    ----------
    stream
        URL of the event stream.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ear", daemon=True)
        self._news = threading.Condition()
        self._heard: dict[str, dict[str, float]] = defaultdict(dict)
        self._ready = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Ear:
        """Begin to listen; returns when nothing can be missed any more."""
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError(f"the event stream {self._stream} cannot be read")
        return self

    def stop(self) -> None:
        """Listen no longer."""
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def heard(self, obs_id: str) -> dict[str, float]:
        """Return file name → moment (monotonic) of what was heard of an exposure."""
        with self._news:
            return dict(self._heard[obs_id])

    def wait(self, obs_id: str, files: int, timeout_s: float) -> dict[str, float]:
        """Wait until so many files of an exposure were announced; return what was heard."""
        with self._news:
            self._news.wait_for(lambda: len(self._heard[obs_id]) >= files, timeout_s)
            return dict(self._heard[obs_id])

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        stream = open_event_stream(
            EventStreamSettings(url=self._stream),
            client_id=f"benchmark-{os.getpid()}",
            health=HealthBoard(),
        )
        try:
            async with stream.subscribe(
                f"benchmark-{os.getpid()}", types=[ImageStored.event_type]
            ) as events:
                await events.ready()
                self._ready.set()
                async for delivery in events:
                    now = time.monotonic()
                    stored = delivery.message.read(ImageStored)
                    with self._news:
                        self._heard[stored.obs_id].setdefault(stored.key.rpartition("/")[2], now)
                        self._news.notify_all()
                    await delivery.ack()
        finally:
            await stream.close()
