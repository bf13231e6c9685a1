"""A host as an operator has it: one configuration file, and `arriero` processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from daemons.registrar.report import registered_files
from daemons.registrar.settings import RegistrarSettings
from daemons.runtime.admin_client import AdminClient
from daemons.runtime.errors import ArrieroError
from daemons.simulators.manifest import Manifest
from tests.support.servers import SeaweedFS

ARRIERO = (sys.executable, "-m", "daemons.cli.main")
SMALL = [8, 576]
"""Rows and columns of the amplifiers of small files."""


class HostProcess:
    """One running `arriero` process."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, timeout_s: float = 40.0) -> int:
        """End it by SIGTERM and return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Return its exit code when it ends by itself."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end; its log says\n{self.tail()}") from None

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def tail(self, lines: int = 40) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Host:
    """A folder with a configuration, and the processes started from it.

    Parameters
    ----------
    folder
        Where everything of the host is.
    sections
        Sections that replace those of the embedded defaults.
    """

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Paths of Unix sockets are short; pytest's folders are not.
        self.socket = Path(mkdtemp(prefix="arriero-")) / "admin.sock"
        self.config = folder / "arriero.yaml"
        self.document: dict[str, Any] = self._defaults() | sections
        self._processes: list[HostProcess] = []
        self.write()

    def _defaults(self) -> dict[str, Any]:
        at = str(self.folder)
        return {
            "site": {"name": "test", "host": "test-host"},
            "services": ["headerservice", "forwarder", "registrar"],
            "stores": {"facility": {"url": (self.folder / "store").as_uri()}},
            "admin": {"socket": str(self.socket)},
            "logging": {"format": "json"},
            "forwarder": {
                "drop_directory": f"{at}/drop",
                "state_directory": f"{at}/state",
                "quarantine_directory": f"{at}/quarantine",
                "quiet_time_s": 0.05,
                "scan_period_s": 2.0,
                "incomplete_patience_s": 2.0,
                "reannounce_grace_s": 0.5,
                "reannounce_after_s": 5.0,
            },
            "headerservice": {"state_directory": f"{at}/header-state"},
            "registrar": {"repository": f"{at}/butler", "journal": f"{at}/registrar.sqlite3"},
        }

    @property
    def drop(self) -> Path:
        """The drop directory."""
        drop = Path(self.document["forwarder"]["drop_directory"])
        drop.mkdir(parents=True, exist_ok=True)
        return drop

    @property
    def quarantine(self) -> Path:
        """The quarantine."""
        return Path(self.document["forwarder"]["quarantine_directory"])

    @property
    def manifest_path(self) -> Path:
        """What the simulated camera recorded."""
        return self.folder / "manifest.jsonl"

    def simulator(self, **settings: Any) -> None:
        """Add a simulated night of small files to the configuration."""
        self.document["simulator"] = {
            "drop_directory": str(self.drop),
            "manifest": str(self.manifest_path),
            "amplifier_shape": SMALL,
            "exposure_time_s": 2.0,
            **settings,
        }
        self.write()

    def write(self) -> None:
        """Write the configuration file."""
        self.config.write_text(yaml.safe_dump(self.document, sort_keys=False))

    def run(self, *services: str) -> HostProcess:
        """Start `arriero run`."""
        return self._start("run", *services)

    def simulate(self) -> HostProcess:
        """Start `arriero simulate`."""
        return self._start("simulate")

    def _start(self, *arguments: str) -> HostProcess:
        process = HostProcess(
            [*ARRIERO, "--config", str(self.config), *arguments],
            self.folder / f"{arguments[0]}.log",
        )
        self._processes.append(process)
        return process

    def command(self, *arguments: str) -> tuple[int, Any]:
        """Run a command with `--json`; return its exit code and what it printed."""
        done = subprocess.run(
            [*ARRIERO, "--config", str(self.config), *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        text = done.stdout or done.stderr
        try:
            return done.returncode, json.loads(text)
        except ValueError:
            return done.returncode, text

    def close(self) -> None:
        """End every process that still runs."""
        for process in self._processes:
            if process.running:
                process.kill()

    async def ask(self, path: str) -> dict[str, Any]:
        """Return what the admin API says."""
        async with AdminClient(self.socket) as client:
            return await client.get(path)

    async def ready(self) -> dict[str, Any] | None:
        """Return `/readyz`, or None while nobody answers."""
        try:
            async with AdminClient(self.socket) as client:
                return await client.readyz()
        except ArrieroError:
            return None

    async def until_ready(self, *, ready: bool = True, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until `/readyz` says so, and return it."""
        deadline = time.monotonic() + timeout_s
        answer = None
        while time.monotonic() < deadline:
            answer = await self.ready()
            if answer is not None and answer["ready"] is ready:
                return answer
            await asyncio.sleep(0.1)
        logs = "\n".join(process.tail() for process in self._processes[-2:])
        raise AssertionError(f"not {'ready' if ready else 'unready'}: {answer}\n{logs}")

    # What arrived.

    def camera_files(self) -> dict[str, str]:
        """Return the sha256 of each file that the camera wrote, by file name."""
        entries = Manifest.read(self.manifest_path).values()
        return {Path(entry.file).name: entry.sha256 for entry in entries}

    def registered(self) -> dict[str, int]:
        """Return how often each file is registered, as the Butler itself says."""
        settings = RegistrarSettings(**self.document["registrar"])
        found: dict[str, int] = {}
        for each in registered_files(settings):
            name = each.uri.rpartition("/")[2]
            found[name] = found.get(name, 0) + 1
        return found


async def eventually(
    condition: Callable[[], bool],
    *,
    timeout_s: float = 90.0,
    what: str = "it",
    host: Host | None = None,
) -> None:
    """Wait until a condition holds, as somebody who looks at the host from outside."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.2)
    logs = "" if host is None else "\n".join(process.tail() for process in host._processes[-2:])
    raise AssertionError(f"{what} did not come true within {timeout_s} s\n{logs}")


def s3_store(seaweedfs: SeaweedFS, folder: Path, bucket: str) -> Mapping[str, Any]:
    """Return a `stores` entry for a bucket, with its keys in files that only we can read."""
    section: dict[str, Any] = {
        "url": f"s3://{bucket}",
        "endpoint_url": seaweedfs.endpoint_url,
        "listing": "folders",
        "retry": {"attempts": 2, "budget_s": 2.0},
        "connect_timeout_s": 2.0,
        "read_timeout_s": 10.0,
    }
    for name in ("access_key", "secret_key"):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(getattr(seaweedfs, name))
        section[name] = {"file": str(file)}
    return section
