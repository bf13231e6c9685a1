"""SQLite below the journal: group commit, trouble with the disk, migrations, damage."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemons.forwarder.database import Database
from daemons.forwarder.errors import (
    JournalDamagedError,
    JournalError,
    JournalUnavailableError,
    JournalVersionError,
)
from daemons.forwarder.migrations import numbered, shipped_schema

CREATE = "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER NOT NULL) STRICT;"


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    folder = tmp_path / "schema"
    folder.mkdir()
    (folder / "0001_things.sql").write_text(CREATE)
    return folder


class Watcher:
    def __init__(self) -> None:
        self.commits: list[list[str]] = []

    def before_commit(self, labels: Sequence[str]) -> None:
        pass

    def after_commit(self, labels: Sequence[str]) -> None:
        self.commits.append(list(labels))


@asynccontextmanager
async def opened(path: Path, schema: Path, **options: Any) -> AsyncIterator[Database]:
    database = Database(path, schema=schema, **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def add(name: str, size: int = 1) -> Callable[[sqlite3.Connection], None]:
    def job(base: sqlite3.Connection) -> None:
        base.execute("INSERT INTO things VALUES (?, ?)", (name, size))

    return job


def names(base: sqlite3.Connection) -> list[str]:
    return [row[0] for row in base.execute("SELECT name FROM things ORDER BY name")]


async def test_writes_that_wait_together_share_a_commit(tmp_path: Path, schema: Path) -> None:
    watcher = Watcher()
    async with opened(tmp_path / "j", schema, observer=watcher) as database:
        await asyncio.gather(*(database.write("add", add(f"n{n:03d}")) for n in range(200)))
        assert len(await database.read("names", names)) == 200
    assert sum(len(labels) for labels in watcher.commits) == 200
    assert len(watcher.commits) < 50


async def test_what_was_written_is_there_after_opening_again(tmp_path: Path, schema: Path) -> None:
    async with opened(tmp_path / "j", schema) as database:
        await database.write("add", add("a"))
    async with opened(tmp_path / "j", schema) as database:
        assert await database.read("names", names) == ["a"]


async def test_settings_of_the_file_are_the_durable_ones(tmp_path: Path, schema: Path) -> None:
    def settings(base: sqlite3.Connection) -> list[Any]:
        pragmas = ("journal_mode", "synchronous", "user_version")
        return [base.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]

    async with opened(tmp_path / "j", schema) as database:
        assert await database.read("settings", settings) == ["wal", 2, 1]


async def test_a_job_that_fails_takes_back_only_its_own_changes(
    tmp_path: Path, schema: Path
) -> None:
    def bad(base: sqlite3.Connection) -> None:
        add("half")(base)
        raise LookupError("no")

    async with opened(tmp_path / "j", schema) as database:
        outcomes = await asyncio.gather(
            database.write("a", add("a")),
            database.write("bad", bad),
            database.write("twice", add("a")),
            database.write("b", add("b")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [
            type(None),
            LookupError,
            sqlite3.IntegrityError,
            type(None),
        ]
        assert await database.read("names", names) == ["a", "b"]


async def test_a_full_disk_fails_the_whole_transaction_and_leaves_the_file_usable(
    tmp_path: Path, schema: Path
) -> None:
    def full(base: sqlite3.Connection) -> None:
        pages = base.execute("PRAGMA page_count").fetchone()[0]
        base.execute(f"PRAGMA max_page_count = {pages}")

    def roomy(base: sqlite3.Connection) -> None:
        base.execute("PRAGMA max_page_count = 100000")

    big = [add(f"{n:04d}" + "x" * 3000) for n in range(5)]
    async with opened(tmp_path / "j", schema) as database:
        await database.write("add", add("before"))
        await database.read("full", full)
        outcomes = await asyncio.gather(
            *(database.write("big", job) for job in big), return_exceptions=True
        )
        assert any(isinstance(outcome, JournalUnavailableError) for outcome in outcomes)
        await database.read("roomy", roomy)
        written = [outcome is None for outcome in outcomes]
        for job, done in zip(big, written, strict=True):
            if not done:
                await database.write("again", job)
        assert len(await database.read("names", names)) == 6


async def test_migrations_are_applied_in_order_and_the_old_file_is_kept(
    tmp_path: Path, schema: Path
) -> None:
    path = tmp_path / "j"
    async with opened(path, schema) as database:
        await database.write("add", add("a", 3))
    (schema / "0002_colour.sql").write_text(
        "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';"
    )
    (schema / "0003_paint.sql").write_text("UPDATE things SET colour = 'blue' WHERE size > 2;")
    async with opened(path, schema) as database:
        rows = await database.read(
            "all", lambda base: base.execute("SELECT * FROM things").fetchall()
        )
        assert [tuple(row) for row in rows] == [("a", 3, "blue")]
    with sqlite3.connect(tmp_path / "j.v1") as kept:
        assert kept.execute("SELECT * FROM things").fetchall() == [("a", 3)]
        assert kept.execute("PRAGMA user_version").fetchone() == (1,)
    kept.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "j"
    async with opened(path, schema) as database:
        await database.write("add", add("a"))
    broken = schema / "0002_broken.sql"
    broken.write_text("ALTER TABLE things ADD COLUMN colour TEXT; INSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await Database(path, schema=schema).open()
    broken.unlink()
    async with opened(path, schema) as database:
        await database.write("add", add("b"))
        assert await database.read("names", names) == ["a", "b"]


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "j"
    async with opened(path, schema):
        pass
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(JournalVersionError, match=r"version 7.*up to 1.*j\.v1"):
        await Database(path, schema=schema).open()


async def test_migrations_without_a_number_between_are_refused(schema: Path) -> None:
    (schema / "0003_later.sql").write_text("SELECT 1;")
    with pytest.raises(JournalError, match="install arriero again"):
        numbered(schema)


def test_the_shipped_schema_is_found_and_begins_at_one() -> None:
    assert [version for version, _ in numbered(shipped_schema())][:1] == [1]


async def test_damage_is_found_at_the_start_and_the_message_says_what_to_do(
    tmp_path: Path, schema: Path
) -> None:
    path = tmp_path / "journal.sqlite3"
    async with opened(path, schema) as database:
        for number in range(200):
            await database.write("add", add(f"{number}" + "x" * 200))
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\x5a" * 4096
    path.write_bytes(content)
    with pytest.raises(JournalDamagedError) as caught:
        await Database(path, schema=schema).open()
    message = str(caught.value)
    assert f"mv {path} {path}.damaged" in message
    assert "nothing is stored twice" in message
    assert path.read_bytes() == bytes(content)


async def test_a_file_that_is_no_database_is_damage_too(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"not a database at all, " * 500)
    with pytest.raises(JournalDamagedError, match="damaged"):
        await Database(path, schema=schema).open()


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path, schema: Path) -> None:
    with pytest.raises(JournalUnavailableError, match="cannot be written"):
        await Database(tmp_path / "none" / "j", schema=schema).open()


async def test_a_cancelled_caller_does_not_disturb_the_others(tmp_path: Path, schema: Path) -> None:
    async with opened(tmp_path / "j", schema) as database:
        tasks = [asyncio.create_task(database.write("add", add(f"n{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert {f"n{n}" for n in range(1, 20, 2)} <= set(await database.read("names", names))


async def test_a_copy_taken_at_any_instant_is_sound(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "j"
    copies = tmp_path / "copies"
    copies.mkdir()
    async with opened(path, schema) as database:
        for number in range(10):
            await database.write("add", add(f"n{number}"))
            copy = copies / f"{number}"
            copy.mkdir()
            for part in ("j", "j-wal", "j-shm"):  # what a power cut would leave
                shutil.copy(tmp_path / part, copy / part)
    for number in range(10):
        async with opened(copies / str(number) / "j", schema) as database:
            assert len(await database.read("names", names)) == number + 1
