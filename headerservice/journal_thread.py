"""The journal on a thread of its own, waiting out a disk that is full."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from daemons.runtime.executors import BlockingExecutor
from daemons.runtime.health import HealthBoard
from daemons.runtime.lock import InstanceLock
from daemons.runtime.retry import Backoff, retry_forever
from headerservice.errors import JournalError
from headerservice.journal import Journal

FILE_NAME = "headerservice.sqlite3"
"""The journal in the state directory."""
DEPENDENCY = "journal"
"""Name on the health board."""

ResultT = TypeVar("ResultT")


class JournalThread:
    """Runs calls on the journal, one at a time, off the event loop.

    Parameters
    ----------
    directory
        Where the journal is.
    health
        Where a journal that cannot be written is reported.
    """

    def __init__(self, directory: Path, health: HealthBoard) -> None:
        self._path = directory / FILE_NAME
        self._health = health
        self._lock = InstanceLock(
            directory / f"{FILE_NAME}.lock", purpose=f"the journal {self._path}"
        )
        self._executor: BlockingExecutor | None = None
        self._journal: Journal | None = None

    async def open(self) -> None:
        """Lock and open the journal.

        Raises
        ------
        AlreadyRunningError
            Another process has it.
        JournalError
            It cannot be used.
        """
        self._executor = BlockingExecutor("headerservice-journal", workers=1)
        self._journal = await self._executor.run(self._opened)

    def _opened(self) -> Journal:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            return Journal(self._path)
        except OSError as error:
            raise JournalError(
                f"the journal cannot be made in {self._path.parent} ({error.strerror}): "
                "check `state_directory` and its permissions"
            ) from error

    async def close(self) -> None:
        """Close the journal; without effect when it is not open."""
        executor, self._executor = self._executor, None
        journal, self._journal = self._journal, None
        if executor is not None:
            if journal is not None:
                await executor.run(journal.close)
            executor.close()
        self._lock.release()

    async def run(self, call: Callable[[Journal], ResultT]) -> ResultT:
        """Run a call on the journal.

        While the disk is full or fails, the call is repeated, and the health board says so.

        Raises
        ------
        JournalError
            The journal is not open.
        """
        executor, journal = self._executor, self._journal
        if executor is None or journal is None:
            raise JournalError("the journal is not open")
        return await retry_forever(
            lambda: executor.run(call, journal),
            dependency=DEPENDENCY,
            health=self._health,
            backoff=Backoff(cap_s=5.0),
            retry_on=lambda error: isinstance(error, sqlite3.OperationalError),
        )
