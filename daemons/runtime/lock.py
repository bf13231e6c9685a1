"""One process at a time: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from daemons.runtime.errors import AlreadyRunningError

_MODE = 0o640


class InstanceLock:
    """Guards a journal or a socket against a second process.

    The file holds the pid and the time of whoever has it, for people; the lock
    itself is `flock(2)` and cannot become stale. The file stays when the lock is
    released, for removing it would let two processes lock two files of one name.

    Parameters
    ----------
    path
        The lock file, on a local file system.
    purpose
        What is guarded, for the message: `the journal /var/lib/arriero/journal.db`.
    """

    def __init__(self, path: Path, *, purpose: str) -> None:
        self.path = path
        self.purpose = purpose
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """True between `acquire` and `release`."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock at once, or not at all.

        Raises
        ------
        AlreadyRunningError
            Another process has it; the message names its pid.
        OSError
            The file cannot be made.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise AlreadyRunningError(
                f"{self.purpose} is in use by {holder}: stop that one first, or give this one "
                f"another place (lock file {self.path})"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        note = {"pid": os.getpid(), "since": datetime.now(tz=UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; without effect when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 1024, 0))
        return f"process {int(note['pid'])} (since {note['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
