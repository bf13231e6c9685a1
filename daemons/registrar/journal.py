"""What the registrar must remember: guiders that wait, and images that were refused.

SQLite, WAL, `synchronous=FULL`; it belongs to the registrar's one thread.
Everything else the Butler itself remembers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from daemons.events import ImageStored
from daemons.runtime.sqlite import open_database

_MIGRATIONS = (
    """
CREATE TABLE waiting (
    file_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    instrument TEXT NOT NULL,
    exposure_id INTEGER NOT NULL,
    code TEXT NOT NULL,
    sentence TEXT NOT NULL,
    since TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    image TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_exposure ON waiting (instrument, exposure_id);
""",
    """
CREATE TABLE sequences (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    state TEXT NOT NULL
) STRICT;
""",
)


class Reason(StrEnum):
    """Why an image is remembered."""

    HELD = "held"
    """A guider whose exposure is not registered yet."""
    REFUSED = "refused"
    """The Butler refused it; a person must act."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that is remembered."""

    image: ImageStored
    reason: Reason
    code: str
    sentence: str
    since: datetime
    attempts: int


class RegistrarJournal:
    """The registrar's memory.

    Parameters
    ----------
    path
        The SQLite file; made where it is absent.

    Raises
    ------
    DatabaseFileError
        The file is damaged or of a newer version. Move it away; what it held can be
        announced again.
    """

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, _MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def remember(self, image: ImageStored, reason: Reason, *, code: str, sentence: str) -> None:
        """Keep an image; the same one again counts an attempt."""
        self._database.execute(
            "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (file_id) DO UPDATE"
            " SET reason = excluded.reason, code = excluded.code, sentence = excluded.sentence,"
            " attempts = attempts + 1, image = excluded.image",
            (
                str(image.file_id),
                reason,
                image.instrument,
                image.exposure_id,
                code,
                sentence,
                datetime.now(tz=UTC).isoformat(),
                image.model_dump_json(),
            ),
        )

    def sequences(self) -> dict[str, Any]:
        """Return what is known of the senders' sequence numbers."""
        row = self._database.execute("SELECT state FROM sequences").fetchone()
        found: dict[str, Any] = {} if row is None else json.loads(row[0])
        return found

    def keep_sequences(self, state: Mapping[str, Any]) -> None:
        """Keep what is known of the senders' sequence numbers."""
        self._database.execute(
            "INSERT OR REPLACE INTO sequences VALUES (1, ?)", (json.dumps(state),)
        )

    def forget(self, file_ids: Iterable[UUID]) -> None:
        """Drop images that are dealt with."""
        self._database.executemany(
            "DELETE FROM waiting WHERE file_id = ?", [(str(each),) for each in file_ids]
        )

    def waiting(
        self, reason: Reason, *, exposure: tuple[str, int] | None = None
    ) -> tuple[Waiting, ...]:
        """Return what is remembered for a reason, of one exposure or of all, oldest first."""
        query = "SELECT image, reason, code, sentence, since, attempts FROM waiting WHERE reason=?"
        values: tuple[object, ...] = (reason,)
        if exposure is not None:
            query += " AND instrument=? AND exposure_id=?"
            values += exposure
        rows = self._database.execute(query + " ORDER BY since", values).fetchall()
        return tuple(
            Waiting(
                image=ImageStored.model_validate_json(image),
                reason=Reason(why),
                code=code,
                sentence=sentence,
                since=datetime.fromisoformat(since),
                attempts=attempts,
            )
            for image, why, code, sentence, since, attempts in rows
        )
