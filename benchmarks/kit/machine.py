"""What machine the figures are of."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import boto3

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory
_NEEDED_MB = 6000
NOT_MEASURABLE = 77
"""Exit code of a benchmark that this machine cannot run; automake's for a test that is skipped."""
_SYSCTLS = (
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_rmem",
    "net.core.wmem_max",
)


def say_machine(*, network: bool = False) -> None:
    """Print the command and what may matter for its figures.

    Parameters
    ----------
    network
        Print the kernel's TCP settings of this network namespace too.
    """
    print(f"$ python -m benchmarks.{Path(sys.argv[0]).stem} {shlex.join(sys.argv[1:])}".rstrip())
    print(f"  {datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC, {_processor()} x {os.cpu_count()}", end="")
    print(
        f", load {os.getloadavg()[0]:.1f}, {_memory_gb():.0f} GB, Linux {platform.release()}",
        end="",
    )
    print(f", Python {platform.python_version()}, boto3 {boto3.__version__}")
    if network:
        shown = ", ".join(f"{name.split('.')[-1]} {_sysctl(name)}" for name in _SYSCTLS)
        print(f"  {shown}")


@contextmanager
def folders() -> Iterator[tuple[Path, Path]]:
    """Give a folder on disk, and one for images: in memory where there is room for it.

    Images in memory keep the disk of this machine out of the measurement; journals belong on
    a disk. Both are removed.
    """
    roomy = _SHARED_MEMORY.is_dir() and _meminfo("MemAvailable") > _NEEDED_MB * 1000
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if roomy else None) as images,
    ):
        yield Path(folder), Path(images)


def not_measurable(why: object) -> NoReturn:
    """End with a sentence and an exit code of its own, for what this machine cannot show."""
    print(f"not measurable on this machine: {why}")
    sys.exit(NOT_MEASURABLE)


def end_in_order() -> None:
    """Let SIGTERM end this process as an exception would, so that everything is cleaned up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _sysctl(name: str) -> str:
    try:
        return " ".join(Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").split())
    except OSError:
        return "unknown"


def _memory_gb() -> float:
    return _meminfo("MemTotal") / 1e6


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
