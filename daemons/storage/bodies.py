"""What is uploaded: bytes, a file by its path, or a file that is open already."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemons.storage.interface import Body, IntegrityError, OpenFile

_NO_FILE = -1
_TAIL_BYTES = 64 * 1024
"""So much is held back until the file is found unchanged."""


class Abandonment:
    """Whether the caller of a blocking call was cancelled, and what to do at that instant."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakes: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Return whether the caller was cancelled."""
        return self._event.is_set()

    def set(self) -> None:
        """Say that the caller was cancelled."""
        self._event.set()
        with self._lock:
            wakes = tuple(self._wakes)
        for wake in wakes:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """See to it that a blocked call ends when the caller is cancelled."""
        with self._lock:
            self._wakes.append(wake)
        if self._event.is_set():
            wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)


class HeldFile:
    """A duplicate of a descriptor, closed when no thread needs it any more.

    A caller that is cancelled may close its file at once, while a thread of the store
    has not noticed yet; a descriptor must not be given to another file meanwhile.

    Parameters
    ----------
    file
        What the caller holds open.
    """

    handle = _NO_FILE

    def __init__(self, file: OpenFile) -> None:
        self.handle = os.dup(file.handle)
        self.file = file

    def __del__(self) -> None:
        if self.handle != _NO_FILE:
            os.close(self.handle)


def held(body: Body) -> Body | HeldFile:
    """Return the body, independent of what the caller does with its descriptor."""
    return HeldFile(body) if isinstance(body, OpenFile) else body


def size_of(body: Body | HeldFile) -> int:
    """Return the size of a body, bytes."""
    if isinstance(body, Path):
        return body.stat().st_size
    if isinstance(body, HeldFile):
        return body.file.size_bytes
    return body.size_bytes if isinstance(body, OpenFile) else memoryview(body).nbytes


def label_of(body: Body | HeldFile, key: str) -> str:
    """Return what a body is called in messages."""
    if isinstance(body, Path):
        return str(body)
    if isinstance(body, HeldFile):
        return body.file.label
    return body.label if isinstance(body, OpenFile) else key


@dataclass(slots=True)
class Payload:
    """A stretch of a body, as one request sends it."""

    label: str
    size: int
    view: memoryview | None = None
    """The stretch itself, where it is in memory."""
    handle: int = _NO_FILE
    """Descriptor of the file where it is not; its position is never used."""
    start: int = 0
    """Where the stretch begins in the file."""
    shape: tuple[int, int] = field(default=(0, 0))
    """Size and modification time of the file at the beginning."""

    @property
    def held_back(self) -> int:
        """How much is sent only after `check_unchanged`, bytes."""
        return 0 if self.handle == _NO_FILE else min(self.size, _TAIL_BYTES)

    def part(self, start: int, size: int) -> Payload:
        """Return a stretch of this one."""
        view = self.view[start : start + size] if self.view is not None else None
        return Payload(self.label, size, view, self.handle, self.start + start, self.shape)

    def check_unchanged(self) -> None:
        """Compare the file with what it was.

        Raises
        ------
        IntegrityError
            It has another size or was written to.
        """
        if self.handle == _NO_FILE:
            return
        found = _shape(self.handle)
        if found != self.shape:
            raise IntegrityError(
                f"{self.label} had {self.shape[0]} bytes and has {found[0]} while it is sent: it "
                "is still being written"
            )

    def read_into(self, buffer: memoryview, at: int) -> memoryview:
        """Return bytes from a position on, in the buffer where they are in a file."""
        wanted = min(len(buffer), self.size - at)
        if self.view is not None:
            return self.view[at : at + wanted]
        count = os.preadv(self.handle, [buffer[:wanted]], self.start + at)
        if count == 0:
            self.check_unchanged()
            raise IntegrityError(f"{self.label} ended while it was sent")
        return buffer[:count]


@contextmanager
def opened(body: Body | HeldFile, label: str) -> Iterator[Payload]:
    """Give the whole of a body as something to send.

    Raises
    ------
    FileNotFoundError, PermissionError
        A file is not there or not for us.
    """
    if isinstance(body, Path):
        handle = os.open(body, os.O_RDONLY | os.O_CLOEXEC)
        try:
            shape = _shape(handle)
            yield Payload(label, shape[0], handle=handle, shape=shape)
        finally:
            os.close(handle)
    elif isinstance(body, (OpenFile, HeldFile)):
        file = body.file if isinstance(body, HeldFile) else body
        yield Payload(
            label,
            file.size_bytes,
            handle=body.handle,
            start=file.offset,
            shape=_shape(body.handle),
        )
    else:
        view = memoryview(body).cast("B")
        yield Payload(label, len(view), view)


def _shape(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns
