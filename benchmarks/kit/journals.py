"""Fills a journal with many files that look true, quickly, and looks at its queries' plans."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from daemons.forwarder import (
    database,
    journal,
    lanes,
    ledger,
    lookup,
    oblivion,
    records,
    rows,
    sightings,
)

_FILES = {
    "path": "CAST(replace(CAST(t.path AS TEXT), :obs_id, n.obs_id) AS BLOB)",
    "location": "CAST(replace(CAST(t.location AS TEXT), :obs_id, n.obs_id) AS BLOB)",
    "inode": "t.inode + n.i * 64",
    "ctime_ns": "t.ctime_ns + n.i * 17000000000",
    "seen_at": "t.seen_at - 2592000.0 + n.i",
    "changed_at": "t.changed_at - 2592000.0 + n.i",
    "stored_at": "t.stored_at - 2592000.0 + n.i",
    "announced_at": "t.announced_at - 2592000.0 + n.i",
    "sha256": "lower(hex(randomblob(32)))",
    "crc64nvme": "lower(hex(randomblob(8)))",
    "obs_id": "n.obs_id",
    "object_key": "replace(t.object_key, :obs_id, n.obs_id)",
    "exposure_id": "t.exposure_id + n.i",
    "seq_num": "n.i",
    "dataset_id": "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || "
    "hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(6)))",
    "outbox_sequence": "CASE WHEN n.i > :without THEN t.outbox_sequence + n.i * :step END",
}
_OUTBOX = {
    "sequence": "t.sequence + n.i * :step",
    "event_id": "lower(hex(randomblob(16)))",
    "event": "CAST(replace(CAST(t.event AS TEXT), :obs_id, n.obs_id) AS BLOB)",
    "created_at": "t.created_at - 2592000.0 + n.i",
    "published_at": "t.published_at - 2592000.0 + n.i",
}
_EXPOSURES = {
    "obs_id": "n.obs_id",
    "exposure_id": "t.exposure_id + n.i",
    "seq_num": "n.i",
    "first_seen_at": "t.first_seen_at - 2592000.0 + n.i",
}
_CHUNK = 20_000
_ROOMS = (database, journal, lanes, ledger, lookup, oblivion, records, rows, sightings)
_SCAN = re.compile(r"^SCAN (files|outbox|exposures)\b(?!.*USING)")


def fill(path: Path, *, rows: int, events: int, obs_id: str) -> None:
    """Copy the one exposure that a closed journal has until it has so many files.

    Parameters
    ----------
    path
        The journal.
    rows
        Files that it is to have.
    events
        How many of them, the last ones, still have their event in the outbox.
    obs_id
        The exposure that is there.
    """
    base = sqlite3.connect(path, isolation_level=None)
    base.executescript(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000; "
        "PRAGMA temp_store=FILE;"
    )
    later = base.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') "
        "AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in later:
        base.execute(f"DROP {kind} {name}")
    share = int(base.execute("SELECT count(*) FROM files").fetchone()[0])
    step = int(base.execute("SELECT max(sequence) FROM outbox").fetchone()[0])
    copies = max(1, rows // share)
    without = max(0, copies - events // share)
    values = {"obs_id": obs_id, "without": without, "step": step}
    for table in ("files", "outbox", "exposures"):
        base.execute(f"CREATE TEMP TABLE template_{table} AS SELECT * FROM {table}")  # noqa: S608 - our own names
    for begin in range(1, copies, _CHUNK):
        end = min(begin + _CHUNK, copies)
        base.execute("BEGIN")
        _copy(base, "files", _FILES, begin, end, values, leave_out="id")
        _copy(base, "outbox", _OUTBOX, max(begin, without + 1), end, values)
        _copy(base, "exposures", _EXPOSURES, begin, end, values)
        base.execute("COMMIT")
    for _, _, sql in sorted(later, key=lambda row: str(row[0])):
        base.execute(sql)
    base.execute("DELETE FROM tallies")
    base.execute(
        "INSERT INTO tallies SELECT kind, state, count(*), sum(size_bytes) FROM files GROUP BY 1, 2"
    )
    base.execute("PRAGMA journal_mode=WAL")
    base.close()


def _copy(
    base: sqlite3.Connection,
    table: str,
    changed: Mapping[str, str],
    begin: int,
    end: int,
    values: Mapping[str, object],
    *,
    leave_out: str = "",
) -> None:
    columns = [row[1] for row in base.execute(f"PRAGMA table_info({table})") if row[1] != leave_out]
    chosen = ", ".join(changed.get(column, f"t.{column}") for column in columns)
    statement = (
        "WITH RECURSIVE numbers(i) AS (SELECT :begin WHERE :begin < :end UNION ALL "  # noqa: S608 - our own names
        "SELECT i + 1 FROM numbers WHERE i + 1 < :end), n AS (SELECT i, "
        "printf('MC_O_%d_%06d', 20200101 + i / 999999, i % 999999) AS obs_id FROM numbers) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM n, template_{table} AS t"
    )
    base.execute(statement, {**values, "begin": begin, "end": end})


def full_scans(path: Path) -> list[str]:
    """Return a line for each statement of the journal that reads a whole table.

    The statements are those that stand in the journal's modules, as far as SQLite can explain
    them without their values.
    """
    base = sqlite3.connect(path)
    found = []
    for statement in sorted(_statements()):
        try:
            plan = base.execute(f"EXPLAIN QUERY PLAN {statement}", {}).fetchall()
        except sqlite3.ProgrammingError:
            names = set(re.findall(r":(\w+)", statement))
            marks = statement.count("?")
            given: object = dict.fromkeys(names, 1) if names else (1,) * marks
            try:
                plan = base.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()  # type: ignore[arg-type]
            except sqlite3.Error:
                continue
        except sqlite3.Error:
            continue
        scans = [row[3] for row in plan if _SCAN.match(row[3])]
        if scans:
            found.append(f"{'; '.join(scans)}: {statement}")
    base.close()
    return found


def _statements() -> set[str]:
    """Return the SQL in the journal's code: constants of its functions that begin like SQL."""
    found: set[str] = set()
    for room in _ROOMS:
        pending = [compile(Path(room.__file__ or "").read_text(encoding="utf-8"), "", "exec")]
        while pending:
            code = pending.pop()
            for constant in code.co_consts:
                if isinstance(constant, str) and re.match(r"(SELECT|UPDATE|DELETE) ", constant):
                    found.add(constant)
                elif hasattr(constant, "co_consts"):
                    pending.append(constant)
    return found
