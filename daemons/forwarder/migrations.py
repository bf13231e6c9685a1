"""The journal's schema: numbered SQL files, applied in order, with a copy before."""

from __future__ import annotations

import re
import sqlite3
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import structlog

from daemons.forwarder.errors import JournalDamagedError, JournalError, JournalVersionError

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")

_log = structlog.get_logger(__name__)


def shipped_schema() -> Traversable:
    """Return the folder of the migrations that belong to this version."""
    return files("daemons.forwarder") / "schema"


def numbered(schema: Traversable) -> list[tuple[int, str]]:
    """Return (version, SQL) of every migration, in order; versions count from 1 without gaps."""
    found = sorted(
        (int(match.group(1)), entry.read_text(encoding="utf-8"))
        for entry in schema.iterdir()
        if (match := _NAME.match(entry.name))
    )
    if [version for version, _ in found] != list(range(1, len(found) + 1)):
        raise JournalError(
            f"the migrations in {schema} are not numbered 0001, 0002, ...: "
            "the installation is incomplete, install arriero again"
        )
    return found


def check_integrity(connection: sqlite3.Connection, path: Path, *, thorough: bool = True) -> None:
    """Read the whole database and raise `JournalDamagedError` where it is not sound.

    Only a thorough check compares every index with its table, which takes many times as
    long.
    """
    check = "integrity_check" if thorough else "quick_check"
    problems = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(5)")]
    if problems != ["ok"]:
        raise damaged(path, "; ".join(problems))


def migrate(connection: sqlite3.Connection, path: Path, schema: Traversable) -> None:
    """Bring the database to the newest version; a copy of the old one is kept beside it.

    Raises
    ------
    JournalVersionError
        The database is newer than this program.
    """
    migrations = numbered(schema)
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise JournalVersionError(
            f"the journal {path} has version {version}, this arriero knows up to "
            f"{len(migrations)}: run the newer arriero again, or restore the copy that it made "
            f"({path}.v{len(migrations)}) after stopping it"
        )
    if 0 < version < len(migrations):
        _keep_copy(connection, path, version)
    for number, sql in migrations[version:]:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
        _log.info("journal_migrated", path=str(path), version=number)


def _keep_copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = path.with_name(f"{path.name}.v{version}")
    copy.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(copy),))
    _log.info("journal_copied", path=str(path), copy=str(copy), version=version)


def damaged(path: Path, what: str) -> JournalDamagedError:
    """Say what to do with a journal that is not sound."""
    return JournalDamagedError(
        f"the journal {path} is damaged ({what}); stop the forwarder, keep the file for "
        f"inspection (mv {path} {path}.damaged; also its -wal and -shm), and start again: the drop "
        "directory is read anew, what the store has already is recognised by its digest and "
        "nothing is stored twice. Files in quarantine stay where they are"
    )
