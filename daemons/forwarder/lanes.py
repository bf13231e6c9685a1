"""The journal's statements for what goes next; each runs inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from daemons.forwarder.model import JournalEntry
from daemons.forwarder.rows import to_entry
from daemons.forwarder.schedule import Slots

_WAITING = "state IN ('discovered', 'inspected')"
_EXCLUDED = "id NOT IN (SELECT value FROM json_each(:excluded))"
_NEWEST = "ORDER BY exposure_at DESC, rank, id LIMIT :limit"
_LONGEST = "ORDER BY exposure_at, rank, id LIMIT :limit"


def waiting(
    base: sqlite3.Connection, limit: int, exclude: Collection[int] = ()
) -> list[JournalEntry]:
    """Return files that wait, in the order in which they go."""
    return _look(base, f"{_WAITING} AND {_EXCLUDED} {_NEWEST}", limit, exclude)


def choose(
    base: sqlite3.Connection,
    slots: Slots,
    *,
    live_since: float,
    exclude: Collection[int],
    backlog: bool = True,
) -> list[JournalEntry]:
    """Return the files that begin now.

    Parameters
    ----------
    base
        The journal.
    slots
        How many files may be in hand, and how many are.
    live_since
        Exposures that began to appear before this instant, UTC seconds, are backlog.
    exclude
        Files that are in hand or put off.
    backlog
        Whether the backlog is worked on.
    """
    taken = set(exclude)
    old = f"{_WAITING} AND exposure_at < :since AND {_EXCLUDED}"
    owned = (
        _look(base, f"{old} {_LONGEST}", slots.for_backlog, taken, live_since) if backlog else []
    )
    slots = slots.begun(backlog=len(owned))
    new = f"{_WAITING} AND exposure_at >= :since AND {_EXCLUDED} {_NEWEST}"
    live = _look(base, new, slots.for_live(backlog_waits=bool(owned)), taken, live_since)
    slots = slots.begun(live=len(live))
    taken.update(entry.id for entry in owned)
    more = _look(base, f"{old} {_NEWEST}", slots.spare, taken, live_since) if backlog else []
    return [*live, *owned, *more]


def arrived(base: sqlite3.Connection, obs_id: str | None, *, seen_at: float) -> float:
    """Note that a file of an exposure was seen; return when the exposure began to appear."""
    if obs_id is None:
        return seen_at
    row = base.execute(
        "INSERT INTO arrivals (obs_id, first_seen_at) VALUES (?, ?) ON CONFLICT DO UPDATE "
        "SET first_seen_at = min(first_seen_at, excluded.first_seen_at) RETURNING first_seen_at",
        (obs_id, seen_at),
    ).fetchone()
    return float(row[0])


def _look(
    base: sqlite3.Connection,
    condition: str,
    limit: int,
    exclude: Collection[int],
    since: float = 0.0,
) -> list[JournalEntry]:
    if limit <= 0:
        return []
    rows = base.execute(
        f"SELECT * FROM files WHERE {condition}",  # noqa: S608 - texts of this module
        {"excluded": json.dumps(sorted(exclude)), "since": since, "limit": limit},
    )
    return [to_entry(row) for row in rows]
