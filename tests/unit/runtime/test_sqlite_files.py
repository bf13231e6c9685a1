"""Small SQLite files open, migrate, and are never overwritten."""

import sqlite3
from pathlib import Path

import pytest

from daemons.runtime.sqlite import DatabaseFileError, open_database, transaction

FIRST = "CREATE TABLE notes (text TEXT) STRICT;"
SECOND = "ALTER TABLE notes ADD COLUMN at TEXT;"


def test_a_file_is_made_with_its_folder_and_migrated_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.sqlite3"
    database = open_database(path, [FIRST])
    database.execute("INSERT INTO notes VALUES ('kept')")
    database.close()

    database = open_database(path, [FIRST, SECOND])
    assert database.execute("SELECT text, at FROM notes").fetchall() == [("kept", None)]
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_a_newer_file_and_a_damaged_one_are_refused_and_left_alone(tmp_path: Path) -> None:
    newer, damaged = tmp_path / "newer", tmp_path / "damaged"
    open_database(newer, [FIRST, SECOND]).close()
    damaged.write_bytes(b"no database, but long enough to look at" * 200)
    with pytest.raises(DatabaseFileError, match="newer arriero"):
        open_database(newer, [FIRST])
    with pytest.raises(DatabaseFileError, match="damaged"):
        open_database(damaged, [FIRST])
    assert damaged.read_bytes().startswith(b"no database")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseFileError, match="cannot be opened"):
        open_database(tmp_path / "file" / "below" / "x", [FIRST])


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    open_database(path, [FIRST]).close()
    with pytest.raises(DatabaseFileError):
        open_database(path, [FIRST, "ALTER TABLE notes ADD COLUMN at TEXT; NONSENSE;"])
    database = open_database(path, [FIRST, SECOND])
    assert database.execute("PRAGMA user_version").fetchone() == (2,)
    database.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / "file", [FIRST])

    def begin_and_fail() -> None:
        with transaction(database):
            database.execute("INSERT INTO notes VALUES ('lost')")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        begin_and_fail()
    with transaction(database):
        database.execute("INSERT INTO notes VALUES ('kept')")
    assert database.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        database.execute("SELECT 1")
