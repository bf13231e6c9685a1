"""A real server as a child process: start, ask until it answers, kill, restart.

A server is started by one thread that lives as long as this process, through
`setpriv --pdeathsig`: when the process ends in whatever way, kill -9 included,
the kernel ends its servers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from tests.support.servers.errors import MissingServerError, PortTakenError, ServerStartError

_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-spawner")
"""The kernel's death signal follows the thread that started a child, so it is always this one."""

_ASK_EVERY_S = 0.05
_LOG_TAIL_BYTES = 4000
_START_ATTEMPTS = 3
_PORT_TAKEN = (b"address already in use", b"bindexception", b"could not bind", b"cannot bind")


class ServerProcess(ABC):
    """One server on loopback with its data in a directory.

    Subclasses say which ports they need, how the data directory is prepared,
    the command line, and how to ask whether the server is ready. Ports and data
    stay the same across `restart`, so clients find the server again.
    """

    name: ClassVar[str]
    """Short name, used for the log file and in messages."""
    ready_timeout_s: ClassVar[float] = 60.0
    """How long a start may take on a busy machine before it counts as failed."""
    stop_timeout_s: ClassVar[float] = 10.0
    """How long `stop` waits after SIGTERM before SIGKILL."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._child: subprocess.Popen[bytes] | None = None
        self._prepared = False
        self._log_start = 0

    # What a subclass says

    @abstractmethod
    def choose_ports(self) -> None:
        """Choose the ports; called again when another process was faster."""

    def prepare(self) -> None:  # noqa: B027 - not every server has something to prepare
        """Make the data directory ready; called once, before the first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask the server whether it is ready; `OSError` means not yet."""

    def environment(self) -> Mapping[str, str]:
        """Return environment variables on top of the present ones."""
        return {}

    def privileges(self) -> Sequence[str]:
        """Return further options of `setpriv`, such as another user."""
        return ()

    def clean_up(self) -> None:  # noqa: B027 - most servers keep to their directory
        """Remove what the server leaves outside its directory when it is killed."""

    # What a test does

    def start(self) -> Self:
        """Start the server and return when it answers.

        Raises
        ------
        MissingServerError
            The program is not installed.
        ServerStartError
            It ended, or did not answer in time; the log's tail is in the message.
        """
        if self._child is not None:
            raise ServerStartError(f"{self.name} runs already as process {self.pid}")
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._prepared:
            self._launch()
            return self
        for attempt in range(1, _START_ATTEMPTS + 1):
            self.choose_ports()
            self.prepare()
            try:
                self._launch()
            except PortTakenError:
                if attempt == _START_ATTEMPTS:
                    raise
            else:
                break
        self._prepared = True
        return self

    def stop(self) -> None:
        """End the server in order: SIGTERM, and SIGKILL if it does not follow in time."""
        child = self._child
        if child is None:
            return
        child.send_signal(signal.SIGCONT)
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the server at once with SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
            self.clean_up()

    def restart(self) -> None:
        """Start again on the same ports and data; stops the server first if it runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing is answered."""
        self._running_child().send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._running_child().send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running_child().pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def log_path(self) -> Path:
        """Where the server's output goes; appended to across restarts."""
        return self.directory / f"{self.name}.log"

    def log_tail(self) -> str:
        """Return the end of the server's output."""
        with suppress(OSError):
            return self.log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return "(no log)"

    def log_since_start(self) -> bytes:
        """Return the output of the latest start."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # How it is done

    def _running_child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ServerStartError(f"{self.name} does not run")
        return self._child

    def _launch(self) -> None:
        command = [
            program("setpriv", "the Debian package `util-linux`"),
            *self.privileges(),
            "--pdeathsig",
            "KILL",
            "--",
            *self.command(),
        ]
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._child = _spawner.submit(
                subprocess.Popen,
                command,
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).result()
        try:
            self._wait_until_ready(self._child)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.answers() and child.poll() is None:
                    return
            with suppress(subprocess.TimeoutExpired):
                status = child.wait(_ASK_EVERY_S)
                raise self._start_error(f"ended with status {status}")
        raise self._start_error(f"did not answer within {self.ready_timeout_s:g} s")

    def _start_error(self, what: str) -> ServerStartError:
        log = self.log_since_start().lower()
        kind = PortTakenError if any(mark in log for mark in _PORT_TAKEN) else ServerStartError
        return kind(f"{self.name} {what}; the end of {self.log_path}:\n{self.log_tail()}")


def program(name: str, source: str, *, extra: Sequence[Path] = ()) -> str:
    """Return the path of a program.

    Parameters
    ----------
    name
        Name of the program.
    source
        What to install when it is absent, such as "the Debian package `mosquitto`".
    extra
        Folders to look into besides PATH.

    Raises
    ------
    MissingServerError
        It is nowhere.
    """
    path = os.pathsep.join([*map(str, extra), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingServerError(
            f"`{name}` is not on this machine: install {source}, or run "
            "`python -m tests.support.provision`"
        )
    return found
