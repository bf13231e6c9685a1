"""The journal's statements for exposures that are late; each runs inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from daemons.events import Event
from daemons.forwarder import ledger
from daemons.forwarder.exposures import ExposureShare


class Lateness(IntEnum):
    """How late an exposure is, as far as it was said."""

    IN_TIME = 0
    WARNED = 1
    LATE = 2
    INCOMPLETE = 3
    """Nothing more is to be said: the last deadline has passed."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after an exposure's first file."""

    warn_s: float
    late_s: float
    incomplete_s: float

    def reached(self, age_s: float) -> Lateness:
        """Return how late an exposure is that is not complete at some age."""
        for limit, lateness in (
            (self.incomplete_s, Lateness.INCOMPLETE),
            (self.late_s, Lateness.LATE),
            (self.warn_s, Lateness.WARNED),
        ):
            if age_s >= limit:
                return lateness
        return Lateness.IN_TIME

    def next_after(self, lateness: Lateness) -> float:
        """Return the deadline that comes after one that was reached."""
        return (self.warn_s, self.late_s, self.incomplete_s)[min(lateness, Lateness.LATE)]

    def of(self, lateness: Lateness) -> float:
        """Return the deadline that makes an exposure so late."""
        return (0.0, self.warn_s, self.late_s, self.incomplete_s)[lateness]


@dataclass(frozen=True, slots=True)
class Overdue:
    """An exposure that became later than it was."""

    share: ExposureShare
    lateness: Lateness
    age_s: float


ShortfallEvent = Callable[[ExposureShare, Lateness, float], Event]
"""Makes the event of a late or incomplete exposure, with the deadline in seconds."""


def step(
    base: sqlite3.Connection,
    deadlines: Deadlines,
    share_names: Sequence[str],
    make_event: ShortfallEvent,
    *,
    now: float,
) -> list[Overdue]:
    """Move exposures on that have passed a deadline, and put the events into the outbox.

    An exposure that passed several deadlines at once (the service was not running)
    is announced once, by the last of them.
    """
    overdue = []
    for share, before in _open(base, reached_before=now - deadlines.warn_s):
        share = _with_literal_share(share, share_names)  # noqa: PLW2901 - the same, completed
        age_s = now - share.first_seen_at
        lateness = deadlines.reached(age_s)
        if lateness <= before:
            continue
        base.execute(
            "UPDATE exposures SET lateness = ? WHERE instrument = ? AND obs_id = ?",
            (int(lateness), share.instrument, share.obs_id),
        )
        if not share.missing:
            continue
        if lateness >= Lateness.LATE:
            ledger.enqueue(base, make_event(share, lateness, deadlines.of(lateness)), now=now)
        overdue.append(Overdue(share, lateness, age_s))
    return overdue


def next_due(base: sqlite3.Connection, deadlines: Deadlines) -> float | None:
    """Return when the next exposure passes a deadline, UTC seconds; None where none is open."""
    rows = base.execute(
        "SELECT lateness, min(first_seen_at) AS first FROM exposures "
        "WHERE completed_at IS NULL AND lateness < 3 GROUP BY lateness"
    )
    return min(
        (row["first"] + deadlines.next_after(Lateness(row["lateness"])) for row in rows),
        default=None,
    )


def _open(
    base: sqlite3.Connection, *, reached_before: float
) -> list[tuple[ExposureShare, Lateness]]:
    rows = base.execute(
        "SELECT * FROM exposures WHERE completed_at IS NULL AND lateness < 3 "
        "AND first_seen_at <= ? ORDER BY first_seen_at",
        (reached_before,),
    ).fetchall()
    return [(ledger.share_of(base, row), Lateness(row["lateness"])) for row in rows]


def _with_literal_share(share: ExposureShare, names: Sequence[str]) -> ExposureShare:
    """Where nobody said what is expected, the settings do if they name every detector."""
    literal = all(not set(name) & set("*?[") for name in names)
    if share.expected is None and names and literal:
        return replace(share, expected=frozenset(names))
    return share
