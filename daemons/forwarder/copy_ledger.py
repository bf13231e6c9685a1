"""The journal's statements for copies in further destinations; each runs inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from daemons.forwarder.model import JournalEntry
from daemons.forwarder.rows import to_entry

_COUNTED = 10_000


class CopyState(StrEnum):
    """What became of one file in one further destination."""

    WAITING = "waiting"
    STORED = "stored"
    CONFLICTED = "conflicted"
    """The key holds other content there."""
    FAILED = "failed"
    """Refused there, or the file was gone before it could be copied."""


@dataclass(frozen=True, slots=True)
class Due:
    """Copies to make."""

    entries: Sequence[JournalEntry]
    waiting: int
    """All that wait, up to ten thousand."""


def plan(
    base: sqlite3.Connection,
    entry: JournalEntry,
    stores: Collection[str],
    now: float,
    *,
    anew: bool,
) -> None:
    """Note that a file is to be copied; `anew` where its content changed."""
    if anew:
        base.execute("DELETE FROM copies WHERE file_id = ?", (entry.id,))
    base.executemany(
        "INSERT OR IGNORE INTO copies (file_id, store, state, exposure_at, changed_at) "
        "VALUES (?, ?, 'waiting', ?, ?)",
        [(entry.id, store, entry.exposure_at, now) for store in stores],
    )


def due(base: sqlite3.Connection, store: str, limit: int, exclude: Collection[int]) -> Due:
    """Return files to copy, newest exposure first."""
    rows = base.execute(
        "SELECT files.* FROM copies JOIN files ON files.id = copies.file_id "
        "WHERE copies.store = ? AND copies.state = 'waiting' AND files.object_key IS NOT NULL "
        "AND copies.file_id NOT IN (SELECT value FROM json_each(?)) "
        "AND files.state != 'discovered' "
        "ORDER BY copies.exposure_at DESC, copies.file_id LIMIT ?",
        (store, json.dumps(sorted(exclude)), limit),
    )
    entries = [to_entry(row) for row in rows]
    waiting = base.execute(
        "SELECT count(*) FROM (SELECT 1 FROM copies WHERE store = ? AND state = 'waiting' LIMIT ?)",
        (store, _COUNTED),
    ).fetchone()[0]
    return Due(entries, int(waiting))


def settle(
    base: sqlite3.Connection,
    file_id: int,
    store: str,
    state: CopyState,
    *,
    now: float,
    reason: str | None = None,
    detail: str | None = None,
) -> bool:
    """Note what became of a copy; False where it no longer waits."""
    return bool(
        base.execute(
            "UPDATE copies SET state = ?, changed_at = ?, reason = ?, detail = ? "
            "WHERE file_id = ? AND store = ? AND state = 'waiting'",
            (state.value, now, reason, detail, file_id, store),
        ).rowcount
    )


def again(base: sqlite3.Connection, file_id: int, now: float) -> int:
    """Let the copies of a file that went wrong be made again; return how many."""
    return base.execute(
        "UPDATE copies SET state = 'waiting', changed_at = ?, reason = NULL, detail = NULL "
        "WHERE file_id = ? AND state IN ('conflicted', 'failed')",
        (now, file_id),
    ).rowcount
