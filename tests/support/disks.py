"""A small disk of its own, to be filled, made read-only and taken away under a running program.

It is a file system in memory, mounted for the test, which only root may do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILLER = ".filler"


class SmallDisk:
    """A mounted file system of a few megabytes.

    Parameters
    ----------
    place
        Where it is mounted; the folder is made.
    size_bytes
        How much fits.
    """

    def __init__(self, place: Path, size_bytes: int) -> None:
        self.place = place
        self._size_bytes = size_bytes
        self._filler: bytes = b""
        place.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """Mount an empty file system."""
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.place))

    def unmount(self) -> None:
        """Take it away, with all that is on it, whoever uses it."""
        _run("umount", "--lazy", str(self.place))

    def read_only(self) -> None:
        """Refuse writing from now on.

        Files that are open for writing would prevent that, as on a real disk whose
        kernel forces it; `force` says what a program must then live with.
        """
        _run("mount", "-o", "remount,ro", str(self.place))

    def writable(self) -> None:
        """Allow writing again."""
        _run("mount", "-o", "remount,rw", str(self.place))

    def fill(self) -> None:
        """Leave no byte free."""
        filler = os.open(self.place / _FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while os.write(filler, bytes(size)) == size:
                        pass
                except OSError:
                    continue
        finally:
            os.close(filler)

    def free(self) -> None:
        """Take away what `fill` wrote."""
        (self.place / _FILLER).unlink(missing_ok=True)


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Give a test a small disk; it is skipped where none can be mounted."""
    try:
        disk = SmallDisk(place, size_bytes)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here (only root may): {error}")
    try:
        yield disk
    finally:
        disk.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)
