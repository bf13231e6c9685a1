"""The journal's statements for outbox and exposures; each runs inside a transaction."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from daemons.events import Event, decode, encode
from daemons.forwarder.exposures import ExposureShare
from translators.identity import ImageIdentity

CompleteEvent = Callable[[ExposureShare], Event]
"""Makes the `exposure.complete` event of a share."""

_STORED = frozenset({"stored", "announced", "registered", "released"})
_BACKOFF_MAX = 6
"""A file is announced again after 1, 2, 4, ... times the configured time, up to 2 to this power."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event of the outbox that is to be published."""

    sequence: int
    event: Event
    """With its sequence number."""
    created_at: float


@dataclass(frozen=True, slots=True)
class Registered:
    """A file that the Butler has."""

    file_id: int
    stored_at: float | None


def enqueue(connection: sqlite3.Connection, event: Event, *, now: float) -> int:
    """Put an event into the outbox; one that is there already is published again."""
    row = connection.execute(
        "SELECT sequence FROM outbox WHERE event_id = ?", (event.id,)
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE outbox SET published_at = NULL, refused = NULL WHERE sequence = ?",
            (row["sequence"],),
        )
        return int(row["sequence"])
    cursor = connection.execute(
        "INSERT INTO outbox (event_id, event_type, event, created_at) VALUES (?, ?, ?, ?)",
        (event.id, event.type, encode(event), now),
    )
    return int(cursor.lastrowid or 0)


def pending(connection: sqlite3.Connection, limit: int) -> list[PendingEvent]:
    """Return the events to publish, in sequence."""
    rows = connection.execute(
        "SELECT sequence, event, created_at FROM outbox "
        "WHERE published_at IS NULL AND refused IS NULL ORDER BY sequence LIMIT ?",
        (limit,),
    )
    return [
        PendingEvent(
            row["sequence"],
            decode(row["event"]).model_copy(update={"sequence": f"{row['sequence']:020d}"}),
            row["created_at"],
        )
        for row in rows
    ]


def published(connection: sqlite3.Connection, sequences: Iterable[int], *, now: float) -> None:
    """Note that events are on the stream; their files are announced."""
    for sequence in sequences:
        connection.execute("UPDATE outbox SET published_at = ? WHERE sequence = ?", (now, sequence))
        connection.execute(
            "UPDATE files SET state = 'announced', announcements = announcements + 1, "
            "announced_at = :now, changed_at = :now, revision = revision + 1 "
            "WHERE outbox_sequence = :sequence AND state IN ('stored', 'announced')",
            {"now": now, "sequence": sequence},
        )


def refuse(connection: sqlite3.Connection, sequence: int, why: str) -> None:
    """Note that the event stream refuses an event for good."""
    connection.execute("UPDATE outbox SET refused = ? WHERE sequence = ?", (why, sequence))
    connection.execute(
        "UPDATE files SET reason = 'announce.refused', detail = ?, revision = revision + 1 "
        "WHERE outbox_sequence = ?",
        (why, sequence),
    )


def registered(
    connection: sqlite3.Connection, dataset_id: str, sha256: str, *, now: float
) -> list[Registered]:
    """Move the files of a registered image on."""
    rows = connection.execute(
        "UPDATE files SET state = 'registered', reason = NULL, detail = NULL, changed_at = :now, "
        "revision = revision + 1 WHERE dataset_id = :dataset_id AND sha256 = :sha256 "
        "AND state IN ('stored', 'announced') RETURNING id, stored_at",
        {"now": now, "dataset_id": dataset_id, "sha256": sha256},
    ).fetchall()
    return [Registered(row["id"], row["stored_at"]) for row in rows]


def registration_failed(
    connection: sqlite3.Connection, dataset_id: str, sha256: str, why: str
) -> int:
    """Note why the Butler refuses an image; it is not announced again by itself."""
    return connection.execute(
        "UPDATE files SET reason = 'registration.failed', detail = ?, revision = revision + 1 "
        "WHERE dataset_id = ? AND sha256 = ? AND state IN ('stored', 'announced')",
        (why, dataset_id, sha256),
    ).rowcount


def announce_again(
    connection: sqlite3.Connection, *, now: float, after_s: float, before: float | None
) -> int:
    """Put announced images that nobody registered back into the outbox; return how many.

    Each next time takes twice as long; what was announced `before` an instant is
    due whatever the time. A time of announcement in the future (the clock was set
    back) counts as due.
    """
    return connection.execute(
        "UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL AND refused IS NULL "
        "AND sequence IN (SELECT outbox_sequence FROM files WHERE state = 'announced' "
        "AND reason IS NULL AND (announced_at < :before OR announced_at > :now OR "
        "announced_at <= :now - :after * (1 << min(announcements - 1, :most))))",
        {"now": now, "after": after_s, "before": before, "most": _BACKOFF_MAX},
    ).rowcount


def announce_file(connection: sqlite3.Connection, file_id: int) -> bool:
    """Put the event of a stored image back into the outbox; False where it is not there."""
    return bool(
        connection.execute(
            "UPDATE outbox SET published_at = NULL, refused = NULL WHERE sequence = "
            "(SELECT outbox_sequence FROM files WHERE id = ?)",
            (file_id,),
        ).rowcount
    )


def announce_range(connection: sqlite3.Connection, first: int, last: int) -> list[range]:
    """Put events back into the outbox by their numbers; return those that are not there.

    Events that the stream refused for good are not there either.
    """
    rows = connection.execute(
        "UPDATE outbox SET published_at = NULL WHERE sequence BETWEEN ? AND ? AND refused IS NULL "
        "RETURNING sequence",
        (first, last),
    )
    there = sorted(int(row["sequence"]) for row in rows)
    absent = []
    for before, after in itertools.pairwise([first - 1, *there, last + 1]):
        if after - before > 1:
            absent.append(range(before + 1, after))
    return absent


def know_exposure(connection: sqlite3.Connection, image: ImageIdentity, *, seen_at: float) -> None:
    """Note that images of an exposure come through this host."""
    connection.execute(
        "INSERT INTO exposures (instrument, obs_id, exposure_id, day_obs, seq_num, first_seen_at) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
        "SET first_seen_at = min(first_seen_at, excluded.first_seen_at)",
        (
            image.instrument,
            image.obs_id,
            image.exposure_id,
            image.day_obs,
            image.seq_num,
            seen_at,
        ),
    )


def hold(connection: sqlite3.Connection, image: ImageIdentity, codes: Collection[str]) -> None:
    """Hold an exposure back for findings about one of its images."""
    at = (image.instrument, image.obs_id)
    row = connection.execute(
        "SELECT held FROM exposures WHERE instrument = ? AND obs_id = ?", at
    ).fetchone()
    before = [] if row is None or row["held"] is None else json.loads(row["held"])
    if codes and not set(codes) <= set(before):
        connection.execute(
            "UPDATE exposures SET held = ?, held_at = NULL WHERE instrument = ? AND obs_id = ?",
            (json.dumps(sorted({*before, *codes})), *at),
        )


def let_go(
    connection: sqlite3.Connection, held: ExposureShare, make_event: CompleteEvent, *, now: float
) -> bool:
    """Hold an exposure back no longer; return whether it is complete."""
    at = (held.instrument, held.obs_id)
    connection.execute(
        "UPDATE exposures SET held = NULL, held_at = NULL WHERE instrument = ? AND obs_id = ?", at
    )
    return complete_if_all_stored(connection, *at, make_event, now=now)


def held_shares(connection: sqlite3.Connection, limit: int) -> list[ExposureShare]:
    """Return the exposures that are held back, newest first."""
    rows = connection.execute(
        "SELECT * FROM exposures WHERE held IS NOT NULL ORDER BY first_seen_at DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [share_of(connection, row) for row in rows]


def expect(
    connection: sqlite3.Connection, instrument: str, obs_id: str, detectors: Collection[str]
) -> None:
    """Note which detectors of an exposure this host is to send."""
    connection.execute(
        "UPDATE exposures SET expected = ? WHERE instrument = ? AND obs_id = ?",
        (json.dumps(sorted(detectors)), instrument, obs_id),
    )


def share(connection: sqlite3.Connection, instrument: str, obs_id: str) -> ExposureShare | None:
    """Return the roll-up of an exposure."""
    row = connection.execute(
        "SELECT * FROM exposures WHERE instrument = ? AND obs_id = ?", (instrument, obs_id)
    ).fetchone()
    return None if row is None else share_of(connection, row)


def exposure_named(connection: sqlite3.Connection, obs_id: str) -> ExposureShare | None:
    """Return the roll-up of an exposure of any instrument."""
    row = connection.execute(
        "SELECT * FROM exposures WHERE obs_id = ? ORDER BY first_seen_at DESC LIMIT 1", (obs_id,)
    ).fetchone()
    return None if row is None else share_of(connection, row)


def image_key(connection: sqlite3.Connection, instrument: str, obs_id: str) -> str | None:
    """Return the object key of any image of an exposure."""
    row = connection.execute(
        "SELECT object_key FROM files WHERE instrument = ? AND obs_id = ? "
        "AND kind = 'image' AND object_key IS NOT NULL LIMIT 1",
        (instrument, obs_id),
    ).fetchone()
    return None if row is None else str(row[0])


def recent_shares(connection: sqlite3.Connection, limit: int) -> list[ExposureShare]:
    """Return the roll-ups of the latest exposures, newest first."""
    rows = connection.execute(
        "SELECT * FROM exposures ORDER BY first_seen_at DESC LIMIT ?", (limit,)
    ).fetchall()
    return [share_of(connection, row) for row in rows]


def complete_if_all_stored(
    connection: sqlite3.Connection,
    instrument: str,
    obs_id: str,
    make_event: CompleteEvent,
    *,
    now: float,
) -> bool:
    """Put `exposure.complete` into the outbox once all that is expected is stored.

    For an exposure that is held back it is `exposure.held`, once.
    """
    roll_up = share(connection, instrument, obs_id)
    if roll_up is None or not roll_up.complete or roll_up.completed_at is not None:
        return False
    if roll_up.held:
        told = connection.execute(
            "UPDATE exposures SET held_at = ? WHERE instrument = ? AND obs_id = ? "
            "AND held_at IS NULL",
            (now, instrument, obs_id),
        ).rowcount
        if told:
            enqueue(connection, make_event(roll_up), now=now)
        return False
    enqueue(connection, make_event(roll_up), now=now)
    connection.execute(
        "UPDATE exposures SET completed_at = ? WHERE instrument = ? AND obs_id = ?",
        (now, instrument, obs_id),
    )
    return True


def share_of(connection: sqlite3.Connection, row: sqlite3.Row) -> ExposureShare:
    """Return the roll-up of a row of `exposures`."""
    images = connection.execute(
        "SELECT detector_name, state, stored_at FROM files WHERE instrument = ? AND obs_id = ? "
        "AND kind = 'image' AND state != 'failed'",
        (row["instrument"], row["obs_id"]),
    ).fetchall()
    stored = [image for image in images if image["state"] in _STORED]
    times = [image["stored_at"] for image in stored if image["stored_at"] is not None]
    return ExposureShare(
        instrument=row["instrument"],
        obs_id=row["obs_id"],
        exposure_id=row["exposure_id"],
        day_obs=row["day_obs"],
        seq_num=row["seq_num"],
        first_seen_at=row["first_seen_at"],
        stored=frozenset(image["detector_name"] for image in stored),
        waiting=frozenset(
            image["detector_name"] for image in images if image["state"] not in _STORED
        ),
        last_stored_at=max(times, default=None),
        expected=None if row["expected"] is None else frozenset(json.loads(row["expected"])),
        held=frozenset() if row["held"] is None else frozenset(json.loads(row["held"])),
        completed_at=row["completed_at"],
    )
