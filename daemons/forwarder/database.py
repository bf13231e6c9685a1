"""SQLite with one writer thread, group commit and numbered migrations.

Every job runs in the writer thread. Jobs that wait at the same time share one
transaction, each in a savepoint of its own, so that one `fsync` serves them all
and a job that fails takes back only its own changes.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import structlog

from daemons.forwarder.errors import (
    ForwarderError,
    JournalError,
    JournalUnavailableError,
)
from daemons.forwarder.migrations import check_integrity, damaged, migrate

_SMALL_BYTES = 200_000_000
"""A file up to this size is checked before it is opened, in a second or two; a larger one while
it is worked with, because nothing is sent meanwhile."""
_CACHE_KIB = 65_536
"""Pages of the file in memory: identifiers are spread over all of an index."""
_BATCH_MAX = 256
"""Jobs that share one transaction at most."""
_BUSY_TIMEOUT_S = 5.0
"""How long to wait for another connection's lock (a person with the sqlite3 shell)."""
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)
"""Primary result codes that may pass."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Primary result codes that do not."""

ResultT = TypeVar("ResultT")
Job = Callable[[sqlite3.Connection], ResultT]
"""Statements to run in the writer thread; may run again when the commit failed."""

_log = structlog.get_logger(__name__)


class CommitObserver(Protocol):
    """Told in the writer thread what is committed: for metrics, and for tests of crashes."""

    def before_commit(self, labels: Sequence[str]) -> None:
        """Take note of the jobs that are about to be committed."""
        ...

    def after_commit(self, labels: Sequence[str]) -> None:
        """Take note of the jobs that are durable now."""
        ...


@dataclass(slots=True)
class _Queued:
    label: str
    job: Job[Any]
    writes: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Database:
    """One SQLite file.

    Parameters
    ----------
    path
        The file; made where it is absent.
    schema
        Folder with the numbered migrations.
    observer
        Told of commits.
    digest
        Run after each commit; its result is kept as `latest`.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: Traversable,
        observer: CommitObserver | None = None,
        digest: Callable[[sqlite3.Connection], Any] | None = None,
    ) -> None:
        self.path = path
        self.latest: Any = None
        """What `digest` returned after the last commit."""
        self._schema = schema
        self._observer = observer
        self._digest = digest
        # Not bounded here: each caller has one job in it and waits for the answer.
        self._jobs: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._checked = False

    async def open(self) -> None:
        """Check and migrate the file and start the writer.

        Raises
        ------
        JournalDamagedError, JournalVersionError
            A person must look.
        JournalUnavailableError
            The disk is full or fails.
        """
        self._loop = asyncio.get_running_loop()
        self._connection = await asyncio.to_thread(self._connect)
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    async def verify(self) -> None:
        """Check a file that was too large to be checked before it was opened; beside the work.

        Raises
        ------
        JournalDamagedError
            It is not sound.
        """
        if self._checked:
            return
        base = await asyncio.to_thread(self._connect_to_read)
        try:
            await asyncio.to_thread(check_integrity, base, self.path, thorough=False)
            self._checked = True
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        finally:
            base.interrupt()
            base.close()

    def _connect_to_read(self) -> sqlite3.Connection:
        place = f"{self.path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(place, uri=True, check_same_thread=False)

    def _is_small(self) -> bool:
        return not self.path.exists() or self.path.stat().st_size <= _SMALL_BYTES

    async def close(self) -> None:
        """Finish what is queued, fold the log into the file, stop the writer. Idempotent."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def write(self, label: str, job: Job[ResultT]) -> ResultT:
        """Run a job in a transaction; it is durable when this returns.

        Raises
        ------
        JournalUnavailableError
            Not written; the same job may be given again.
        """
        return cast("ResultT", await self._submit(label, job, writes=True))

    async def read(self, label: str, job: Job[ResultT]) -> ResultT:
        """Run a job that changes nothing."""
        return cast("ResultT", await self._submit(label, job, writes=False))

    async def _submit(self, label: str, job: Job[Any], *, writes: bool) -> Any:
        if self._loop is None or self._thread is None:
            raise JournalError(f"the journal {self.path} is not open")
        queued = _Queued(label, job, writes, self._loop.create_future())
        self._jobs.put(queued)
        return await queued.future

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < (3, 37):
            raise JournalError(
                f"SQLite {sqlite3.sqlite_version} has no STRICT tables; 3.37 or newer is needed"
            )
        connection = None
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._checked = self._is_small()
            if self._checked:
                check_integrity(connection, self.path)
            migrate(connection, self.path, self._schema)
            self._refresh(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise explain(error, self.path) from error
        except JournalError:
            if connection is not None:
                connection.close()
            raise
        return connection

    def _run(self) -> None:
        """Serve jobs until told to stop."""
        while True:
            batch, stop = self._next_batch()
            if batch:
                self._serve(batch)
                self._answer(batch)
            if stop:
                return

    def _next_batch(self) -> tuple[list[_Queued], bool]:
        """Wait for a job and take those that wait with it."""
        batch: list[_Queued] = []
        item = self._jobs.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH_MAX:
                return batch, False
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _serve(self, batch: list[_Queued]) -> None:
        """Run the writes in one transaction, and then each read for itself."""
        connection = cast("sqlite3.Connection", self._connection)
        writes = [queued for queued in batch if queued.writes]
        if writes:
            self._serve_writes(connection, writes)
        for queued in batch:
            if not queued.writes:
                try:
                    _run_job(connection, queued, in_transaction=False)
                except sqlite3.Error as error:
                    queued.error = explain(error, self.path)

    def _serve_writes(self, connection: sqlite3.Connection, writes: list[_Queued]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for queued in writes:
                _run_job(connection, queued, in_transaction=True)
            self._commit(connection, [queued.label for queued in writes])
        except sqlite3.Error as error:
            self._abandon(connection, writes, error)

    def _commit(self, connection: sqlite3.Connection, labels: list[str]) -> None:
        if self._observer is not None:
            self._observer.before_commit(labels)
        connection.execute("COMMIT")
        if self._observer is not None:
            self._observer.after_commit(labels)
        self._refresh(connection)

    def _refresh(self, connection: sqlite3.Connection) -> None:
        if self._digest is not None:
            self.latest = self._digest(connection)

    def _abandon(
        self, connection: sqlite3.Connection, batch: list[_Queued], error: sqlite3.Error
    ) -> None:
        """Take the transaction back; every job of it failed."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as again:
            _log.warning("journal_rollback_failed", path=str(self.path), error=str(again))
        trouble = explain(error, self.path)
        for queued in batch:
            queued.error = trouble

    def _answer(self, batch: list[_Queued]) -> None:
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        try:
            loop.call_soon_threadsafe(_settle, batch)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and what was committed stays so.
            _log.debug("journal_answer_unheard", jobs=len(batch))


def _run_job(connection: sqlite3.Connection, queued: _Queued, *, in_transaction: bool) -> None:
    """Run one job; its own errors are its own, errors of the database end the transaction."""
    if in_transaction:
        connection.execute("SAVEPOINT job")
    try:
        queued.result = queued.job(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and _primary(error) in _UNAVAILABLE | _DAMAGED:
            raise
        queued.error = error  # the caller awaits the answer
        if in_transaction:
            connection.execute("ROLLBACK TO job")
    if in_transaction:
        connection.execute("RELEASE job")


def _settle(batch: list[_Queued]) -> None:
    """Give the callers their answers, in the event loop."""
    for queued in batch:
        if queued.future.done():
            continue  # the caller was cancelled; the change stands
        if queued.error is None:
            queued.future.set_result(queued.result)
        else:
            queued.future.set_exception(queued.error)


def explain(error: sqlite3.Error, path: Path) -> ForwarderError | sqlite3.Error:
    """Turn what SQLite says into what a person must do; bugs stay as they are."""
    if _primary(error) in _DAMAGED:
        return damaged(path, str(error))
    if _primary(error) in _UNAVAILABLE:
        return JournalUnavailableError(
            f"the journal {path} cannot be written: {error}; free space on its disk or mend the "
            "disk, the forwarder waits and goes on by itself"
        )
    return error


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code of an error."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
