"""The journal's statements for files that were seen; each runs inside a transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from daemons.forwarder import lanes
from daemons.forwarder.model import (
    WAITING,
    FileIdentity,
    FileKind,
    FileState,
    JournalEntry,
    Reason,
    Sighting,
    judge_sighting,
    shown,
)
from daemons.forwarder.rows import change, fetch, identity_columns, insert, newest_at, to_entry
from daemons.forwarder.schedule import NO_URGENCY, Urgency, urgency


@dataclass(frozen=True, slots=True)
class Seen:
    """A file that was seen and is quiet."""

    path: bytes
    identity: FileIdentity
    kind: FileKind
    seen_at: float
    """When it was first noticed, UTC seconds."""
    witnessed: bool
    """Its writer was seen to finish."""
    urgency: Urgency = NO_URGENCY
    """What its name says of its turn."""


def saw(
    path: bytes,
    identity: FileIdentity,
    kind: FileKind,
    when: float,
    *,
    witnessed: bool,
    priorities: tuple[str, ...],
) -> Seen:
    """Return a file that was seen, with what its name says of its turn."""
    name = shown(path.rpartition(b"/")[2])
    return Seen(path, identity, kind, when, witnessed, urgency(name, priorities))


@dataclass(frozen=True, slots=True)
class Sighted:
    """What the journal made of a file that was seen."""

    sighting: Sighting
    file_id: int
    due: bool
    """Something is to be done with it now."""


def record(connection: sqlite3.Connection, seen: Seen, *, now: float) -> Sighted:
    """Take a file into the journal, or find that it is there."""
    known = newest_at(connection, seen.path)
    sighting = judge_sighting(known, seen.identity)
    if known is None or sighting in {Sighting.NEW, Sighting.NEW_VERSION}:
        return Sighted(sighting, _add(connection, seen, now=now), due=True)
    if sighting is Sighting.KNOWN:
        return Sighted(sighting, known.id, due=_witness(connection, known, seen))
    if sighting is Sighting.REPLACED:
        detail = "another file took its name before it was stored; that one is sent"
        change(connection, known, FileState.FAILED, now=now, reason=Reason.REPLACED, detail=detail)
        return Sighted(sighting, _add(connection, seen, now=now), due=True)
    begin_again(connection, known, seen.identity, now=now, witnessed=seen.witnessed)
    return Sighted(sighting, known.id, due=True)


def begin_again(
    connection: sqlite3.Connection,
    entry: JournalEntry,
    identity: FileIdentity,
    *,
    now: float,
    witnessed: bool,
) -> JournalEntry:
    """Send a file that changed, or is there again, back to the start."""
    return change(
        connection,
        entry,
        FileState.DISCOVERED,
        now=now,
        reason=None,
        detail=None,
        quarantine_path=None,
        witnessed=int(witnessed),
        **identity_columns(identity),
    )


def earlier(connection: sqlite3.Connection, entry: JournalEntry) -> JournalEntry | None:
    """Return the version of a path before this one."""
    row = connection.execute(
        "SELECT * FROM files WHERE path = ? AND id < ? ORDER BY id DESC LIMIT 1",
        (entry.path, entry.id),
    ).fetchone()
    return None if row is None else to_entry(row)


def fold_into(
    connection: sqlite3.Connection, entry: JournalEntry, into_id: int, identity: FileIdentity
) -> None:
    """Take an entry back that turned out to be content which the journal has already.

    Only the inode changed (a hard link, new permissions): the earlier entry
    takes over the new identity, so that it is recognised from now on.
    """
    former = fetch(connection, into_id)
    connection.execute(
        "UPDATE files SET device = :device, inode = :inode, size_bytes = :size_bytes, "
        "ctime_ns = :ctime_ns, revision = revision + 1 WHERE id = :id",
        {**identity_columns(identity), "id": former.id},
    )
    connection.execute("DELETE FROM files WHERE id = ?", (entry.id,))


def _add(connection: sqlite3.Connection, seen: Seen, *, now: float) -> int:
    return insert(
        connection,
        {
            "path": seen.path,
            "location": seen.path,
            **identity_columns(seen.identity),
            "kind": seen.kind.value,
            "state": FileState.DISCOVERED.value,
            "seen_at": seen.seen_at,
            "changed_at": now,
            "witnessed": int(seen.witnessed),
            "exposure_at": lanes.arrived(connection, seen.urgency.exposure, seen_at=seen.seen_at),
            "rank": seen.urgency.rank,
        },
    )


def _witness(connection: sqlite3.Connection, known: JournalEntry, seen: Seen) -> bool:
    """Note that the writer of a file in hand was seen to finish after all."""
    if known.state not in WAITING or known.witnessed or not seen.witnessed:
        return False
    connection.execute(
        "UPDATE files SET witnessed = 1, revision = revision + 1 WHERE id = ?", (known.id,)
    )
    return True
