"""The journal's statements for what it may forget; each runs inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

_ENDED = "state IN ('registered', 'released', 'failed')"
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """How far the journal was looked through."""

    changed_at: float = float("-inf")
    file_id: int = 0


def forgettable(
    base: sqlite3.Connection, before: float, after: Place, limit: int, *, awaited: bool
) -> list[tuple[Place, bytes]]:
    """Return files that ended long ago and wait for nobody, and where they are.

    Where a registrar is there (`awaited`), an announced image still waits for it.
    Quarantined and conflicted files wait for a person, others for their copies. Each
    kind has an index of its own, so that the writer is never held up.
    """
    kinds = [_ENDED, "(kind = 'attachment' AND state = 'stored')"]
    if not awaited:
        kinds.append("state = 'announced'")
    found = [
        (Place(row["changed_at"], row["id"]), row["location"])
        for kind in kinds
        for row in base.execute(
            f"SELECT id, changed_at, location FROM files WHERE {kind} "  # noqa: S608 - texts of ours
            "AND changed_at < :before AND (changed_at, id) > (:at, :id) AND NOT EXISTS "
            "(SELECT 1 FROM copies WHERE file_id = files.id AND state = 'waiting') "
            "ORDER BY changed_at, id LIMIT :limit",
            {"before": before, "at": after.changed_at, "id": after.file_id, "limit": limit},
        )
    ]
    return sorted(found, key=lambda each: (each[0].changed_at, each[0].file_id))[:limit]


def forget(base: sqlite3.Connection, file_ids: Sequence[int]) -> None:
    """Remove files from the journal."""
    numbers = [(file_id,) for file_id in file_ids]
    base.executemany("DELETE FROM copies WHERE file_id = ?", numbers)
    base.executemany("DELETE FROM files WHERE id = ?", numbers)


def forget_events(base: sqlite3.Connection, before: float) -> int:
    """Remove some published events of files that wait for no registration; return how many.

    Call it until there are none. Exposures without files go too, and when they began to
    appear.
    """
    done = base.execute(
        "DELETE FROM outbox WHERE sequence IN (SELECT sequence FROM outbox WHERE published_at < ? "
        "AND NOT EXISTS (SELECT 1 FROM cursors WHERE cursors.sequence < outbox.sequence) "
        "AND NOT EXISTS (SELECT 1 FROM files WHERE outbox_sequence = outbox.sequence "
        "AND state IN ('stored', 'announced')) ORDER BY published_at LIMIT ?)",
        (before, _BATCH),
    ).rowcount
    base.execute(
        "DELETE FROM exposures WHERE (instrument, obs_id) IN (SELECT instrument, obs_id "
        "FROM exposures WHERE first_seen_at < ? AND NOT EXISTS (SELECT 1 FROM files "
        "WHERE files.instrument = exposures.instrument AND files.obs_id = exposures.obs_id) "
        "ORDER BY first_seen_at LIMIT ?)",
        (before, _BATCH),
    )
    base.execute(
        "DELETE FROM arrivals WHERE obs_id IN "
        "(SELECT obs_id FROM arrivals WHERE first_seen_at < ? LIMIT ?)",
        (before, _BATCH),
    )
    return done
