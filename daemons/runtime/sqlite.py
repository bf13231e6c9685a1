"""Small SQLite files: durable, versioned, belonging to one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daemons.runtime.errors import ArrieroError


class DatabaseFileError(ArrieroError):
    """A SQLite file that is damaged, cannot be opened, or is of a newer version."""

    code = "database.unusable"
    exit_code = 78


def open_database(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Open a file with WAL and `synchronous=FULL`, made and migrated as needed.

    Parameters
    ----------
    path
        The file; its folder is made too.
    migrations
        Scripts; the n-th brings version n to version n + 1 (`user_version`), each in a
        transaction of its own.

    Raises
    ------
    DatabaseFileError
        A person must look; nothing was overwritten.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseFileError(f"{path} cannot be opened: {error}") from error
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        _migrate(database, path, migrations)
    except sqlite3.DatabaseError as error:
        database.close()
        raise DatabaseFileError(f"{path} is damaged or cannot be read ({error})") from error
    except DatabaseFileError:
        database.close()
        raise
    return database


def _migrate(database: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise DatabaseFileError(f"{path} was written by a newer arriero: upgrade this one")
    for number in range(version, len(migrations)):
        database.executescript(
            f"BEGIN; {migrations[number]} PRAGMA user_version={number + 1}; COMMIT;"
        )


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
