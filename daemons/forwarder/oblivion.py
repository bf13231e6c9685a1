"""The journal's statements for what it may forget; each runs inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


def forgettable(
    base: sqlite3.Connection, before: float, after: int, limit: int, *, awaited: bool
) -> list[tuple[int, bytes]]:
    """Return number and place of files that ended long ago and wait for nobody.

    Where a registrar is there (`awaited`), an announced image still waits for it.
    Quarantined and conflicted files wait for a person.
    """
    rows = base.execute(
        "SELECT id, location FROM files WHERE id > ? AND changed_at < ? AND "
        "(state IN ('registered', 'released', 'failed') OR (kind = 'attachment' AND "
        "state = 'stored') OR (state = 'announced' AND NOT ?)) ORDER BY id LIMIT ?",
        (after, before, awaited, limit),
    )
    return [(row["id"], row["location"]) for row in rows]


def forget(base: sqlite3.Connection, file_ids: Sequence[int]) -> None:
    """Remove files from the journal."""
    base.executemany("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in file_ids])


def forget_events(base: sqlite3.Connection, before: float) -> int:
    """Remove published events of files that wait for no registration; return how many.

    Exposures without files go too.
    """
    done = base.execute(
        "DELETE FROM outbox WHERE published_at < ? AND NOT EXISTS (SELECT 1 FROM files "
        "WHERE outbox_sequence = outbox.sequence AND state IN ('stored', 'announced'))",
        (before,),
    ).rowcount
    base.execute(
        "DELETE FROM exposures WHERE first_seen_at < ? AND NOT EXISTS (SELECT 1 FROM files "
        "WHERE files.instrument = exposures.instrument AND files.obs_id = exposures.obs_id)",
        (before,),
    )
    return done
