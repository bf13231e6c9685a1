"""Two network namespaces with a long fat pipe between them.

The pipe is the program of `benchmarks/emulator`, compiled when it is needed. This
process enters the near namespace for good, so everything that it starts is on the near side.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The project."""
NEAR, FAR = "10.77.0.1", "10.77.0.2"
"""Addresses within the two namespaces, which nobody else sees."""
_SOURCE = ROOT / "benchmarks" / "emulator" / "wan.c"
_CLONE_NEWNET = 0x40000000
_CONGESTION_CONTROL = "cubic"
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
_SYSCTLS = {
    "net.ipv4.tcp_slow_start_after_idle": "1",
    "net.ipv4.tcp_rmem": "4096 131072 33554432",
    "net.ipv4.tcp_wmem": "4096 16384 4194304",
    "net.ipv4.tcp_no_metrics_save": "1",
}
"""As a machine has it by default; the receive buffers are those of a facility that expects this
path. `tcp_no_metrics_save` keeps one sender's congestion window from the next one's start."""


class NoNetworkError(RuntimeError):
    """A machine that cannot emulate the path; the sentence says why."""


@dataclass(frozen=True)
class Path4:
    """What is emulated."""

    rtt_ms: float = 200.0
    rate_gbps: float = 4.0
    loss: float = 0.0
    """Chance that a segment is lost, in each direction."""
    queue_bytes: int = 0
    """Of the drop-tail queue; 0: one bandwidth-delay product."""
    seed: int = 1

    @property
    def product_bytes(self) -> int:
        """The bandwidth-delay product."""
        return int(self.rate_gbps * 1e9 / 8 * self.rtt_ms / 1e3)

    def __str__(self) -> str:
        loss = f"{self.loss:.2%} of segments lost" if self.loss else "no loss"
        return f"{self.rtt_ms:g} ms round trip, {self.rate_gbps:g} Gb/s, {loss}"


def why_not() -> str | None:
    """Return why this machine cannot emulate a path, None where it can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces and TUN devices"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    missing = [name for name in ("ip", "cc") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)} (Debian: iproute2, gcc)"
    made = _ip("netns", "add", _name("t"))
    if made is not None:
        return f"network namespaces cannot be made here: {made}"
    _ip("netns", "del", _name("t"))
    return None


class Emulator:
    """The running pipe; its path can be changed by starting it anew.

    Parameters
    ----------
    folder
        Where the program is compiled.
    """

    def __init__(self, folder: Path) -> None:
        self.near, self.far = _name("a"), _name("b")
        self._program = folder / "wan"
        self._child: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Compile the program, make the namespaces, and enter the near one."""
        compiled = subprocess.run(
            ["cc", "-O2", "-o", str(self._program), str(_SOURCE)],  # noqa: S607 - the machine's compiler
            capture_output=True,
            text=True,
            check=False,
        )
        if compiled.returncode:
            raise NoNetworkError(f"{_SOURCE.name} does not compile: {compiled.stderr}")
        for name in (self.near, self.far):
            _must("netns", "add", name)
            _must("-n", name, "link", "set", "lo", "up")
            for option, value in _SYSCTLS.items():
                _set(name, option, value)
        _default_congestion_control((self.near, self.far))
        _enter(self.near)

    def start(self, path: Path4) -> None:
        """Begin to carry."""
        queue = path.queue_bytes or path.product_bytes
        numbers = (path.rate_gbps * 1e9, path.rtt_ms * 500, queue)
        command = [str(self._program), self.near, self.far, *(str(int(each)) for each in numbers)]
        self._child = subprocess.Popen(
            [*command, repr(path.loss), str(path.seed)], stdout=subprocess.PIPE, text=True
        )
        if self._line() != "ready":
            raise NoNetworkError("the emulator did not start; its error stands above")
        for name, here, there in ((self.near, NEAR, FAR), (self.far, FAR, NEAR)):
            _must("-n", name, "addr", "add", here, "peer", there, "dev", "wan0")
            _must("-n", name, "link", "set", "wan0", "up", "txqueuelen", "20000")

    def stop(self) -> list[str]:
        """End it and return what it carried, a line per direction."""
        child, self._child = self._child, None
        if child is None or child.stdout is None:
            return []
        child.send_signal(signal.SIGTERM)
        told = child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        return told

    def remove(self) -> None:
        """Remove the namespaces."""
        self.stop()
        for name in (self.near, self.far):
            _ip("netns", "del", name)

    def far_command(self, *command: str) -> list[str]:
        """Return a command that runs on the far side."""
        return ["ip", "netns", "exec", self.far, *command]

    def _line(self) -> str:
        assert self._child is not None and self._child.stdout is not None  # noqa: S101, PT018 - started above
        return self._child.stdout.readline().strip()


@contextmanager
def emulator() -> Iterator[Emulator]:
    """Give an emulator in namespaces of its own, and remove all of it afterwards."""
    reason = why_not()
    if reason is not None:
        raise NoNetworkError(reason)
    with tempfile.TemporaryDirectory() as folder:
        made = Emulator(Path(folder))
        try:
            made.prepare()
            yield made
        finally:
            made.remove()


def round_trip_ms(port: int, *, times: int = 5) -> float:
    """Return the median time that a connection to the far side takes to open: a round trip."""
    measured = []
    for _ in range(times):
        begun = time.monotonic()
        with socket.create_connection((FAR, port), timeout=10):
            measured.append((time.monotonic() - begun) * 1e3)
    return statistics.median(measured)


def _name(end: str) -> str:
    return f"arriero-{os.getpid()}-{end}"


def _set(namespace: str, option: str, value: str) -> None:
    _must("netns", "exec", namespace, "sysctl", "-qw", f"{option}={value}")


def _default_congestion_control(namespaces: tuple[str, ...]) -> None:
    """Give namespaces the default of most machines.

    A namespace may choose only what the whole machine allows everybody; where that
    leaves it out, it is allowed for this moment and then no longer.
    """
    allowed = _ALLOWED.read_text(encoding="ascii").strip()
    if _CONGESTION_CONTROL not in allowed.split():
        _ALLOWED.write_text(f"{allowed} {_CONGESTION_CONTROL}", encoding="ascii")
    try:
        for namespace in namespaces:
            _set(namespace, "net.ipv4.tcp_congestion_control", _CONGESTION_CONTROL)
    finally:
        _ALLOWED.write_text(allowed, encoding="ascii")


def _enter(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise NoNetworkError(os.strerror(ctypes.get_errno()))


def _ip(*arguments: str) -> str | None:
    """Run `ip`; return what went wrong."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)  # noqa: S607 - Debian's iproute2
    return None if done.returncode == 0 else (done.stderr.strip() or f"ip exits {done.returncode}")


def _must(*arguments: str) -> None:
    trouble = _ip(*arguments)
    if trouble is not None:
        print(f"ip {' '.join(arguments)}: {trouble}", file=sys.stderr)
        raise NoNetworkError(f"ip {' '.join(arguments)}: {trouble}")
