"""Values that go into the journal and come out of it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field

from daemons.forwarder.model import JournalEntry
from translators.findings import Finding
from translators.identity import ImageIdentity


@dataclass(frozen=True, slots=True)
class Tally:
    """How many files, and how many bytes they have."""

    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """The journal at its last commit, for status and metrics."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By (kind, state)."""
    oldest_waiting: float | None = None
    """When the oldest file that is not stored was first seen, UTC seconds."""
    outbox_depth: int = 0
    """Events that wait to be published."""
    oldest_event: float | None = None
    """When the oldest of them was made, UTC seconds."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one read of a file told."""

    sha256: str
    crc64nvme: str | None
    image: ImageIdentity | None
    object_key: str
    findings: tuple[Finding, ...]
    holds: tuple[str, ...] = ()
    """Codes of findings for which its exposure is held back."""
    copies: tuple[str, ...] = ()
    """Names of the further stores that it goes to."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator decided about a file."""

    who: str
    why: str
    waived: tuple[str, ...] = ()
    """Codes of findings to live with."""


def summarise(base: sqlite3.Connection) -> Summary:
    """Read what status and metrics show; every query is answered by an index."""
    tallies = {
        (row["kind"], row["state"]): Tally(row["files"], row["size_bytes"])
        for row in base.execute("SELECT * FROM tallies")
    }
    oldest = base.execute(
        "SELECT min(seen_at) FROM files WHERE state IN ('discovered', 'inspected')"
    ).fetchone()[0]
    depth, first = base.execute(
        "SELECT count(*), min(sequence) FROM outbox WHERE published_at IS NULL AND refused IS NULL"
    ).fetchone()
    made = base.execute("SELECT created_at FROM outbox WHERE sequence = ?", (first,)).fetchone()
    return Summary(tallies, oldest, depth, None if made is None else made[0])


def record_decision(
    base: sqlite3.Connection, entry: JournalEntry, what: str, decision: Decision, now: float
) -> None:
    """Keep what an operator decided, who and why; runs inside a transaction."""
    base.execute(
        "INSERT INTO decisions (file_id, at, who, decision, waived, why) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.id, now, decision.who, what, json.dumps(decision.waived), decision.why),
    )
