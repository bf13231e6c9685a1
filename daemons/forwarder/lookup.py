"""The journal's statements for what operators ask; each runs inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from daemons.forwarder.model import ASIDE, FileState, JournalEntry
from daemons.forwarder.rows import to_entry


def of_exposure(base: sqlite3.Connection, obs_id: str, limit: int) -> list[JournalEntry]:
    """Return the files of an exposure, of any instrument, that were read."""
    rows = base.execute(
        "SELECT files.* FROM exposures JOIN files USING (instrument, obs_id) "
        "WHERE exposures.obs_id = ? ORDER BY files.id LIMIT ?",
        (obs_id, limit),
    )
    return [to_entry(row) for row in rows]


def in_states(
    base: sqlite3.Connection,
    states: Collection[FileState],
    limit: int,
    *,
    before: int | None,
) -> list[JournalEntry]:
    """Return files in some states, newest first, `limit` of them below a number.

    Fast only for those that are set aside: they have an index.
    """
    aside = "state IN ('quarantined', 'conflicted', 'failed') AND" if set(states) <= ASIDE else ""
    query = (
        f"SELECT * FROM files WHERE {aside} "  # noqa: S608 - one of two texts of ours
        "state IN (SELECT value FROM json_each(?)) AND (? IS NULL OR id < ?) "
        "ORDER BY id DESC LIMIT ?"
    )
    rows = base.execute(query, (json.dumps(sorted(states)), before, before, limit))
    return [to_entry(row) for row in rows]
