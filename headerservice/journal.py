"""The memory of the header service: a SQLite file, written before anything is done.

WAL, `synchronous=FULL`; it belongs to one thread of one process. It holds the
events of the exposures and of the observatory's state, the values sampled so
far, and every header with what remains to be done for it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import quote

import structlog

from daemons.bus import ControlMessage, Topic
from daemons.runtime.clock import TaiSeconds
from daemons.runtime.sqlite import DatabaseFileError, open_database, transaction
from headerservice.errors import JournalError
from headerservice.exposure import Exposure, Phase, Status
from headerservice.journal_records import (
    ENTRY_COLUMNS,
    HEADER_COLUMNS,
    MIGRATIONS,
    HeaderEntry,
    StoredHeader,
    Todo,
    compress,
    entry_of,
    header_of,
)
from headerservice.quality import Resolved

_log = structlog.get_logger(__name__)

_LATEST_FIRST = "ORDER BY revision DESC, status = 'early' ASC"


class Journal:
    """The journal file, for the one thread that it belongs to.

    Parameters
    ----------
    path
        The file; made where it is absent.

    Raises
    ------
    JournalError
        The file is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._database = open_database(path, MIGRATIONS)
        except DatabaseFileError as error:
            raise JournalError(
                f"the journal cannot be used: {error}; move it away and start again, headers that "
                "were not stored yet are in it"
            ) from error

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Return a journal that is only read, also while its service has it.

        Raises
        ------
        JournalError
            There is none, it is damaged, or of another version.
        """
        journal = cls.__new__(cls)
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        try:
            journal._database = sqlite3.connect(uri, uri=True, isolation_level=None)  # noqa: SLF001 - our own
            (version,) = journal._database.execute("PRAGMA user_version").fetchone()  # noqa: SLF001 - as above
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal {path} cannot be read ({error}): look at `state_directory`"
            ) from error
        if version != len(MIGRATIONS):
            journal.close()
            raise JournalError(
                f"the journal {path} has version {version}, this program reads {len(MIGRATIONS)}: "
                "start the service of this version once"
            )
        return journal

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Events.

    def add_message(self, message: ControlMessage, obs_id: str | None = None) -> bool:
        """Keep an event; return False for one that is there already."""
        topic = message.topic
        cursor = self._database.execute(
            "INSERT OR IGNORE INTO message"
            " (component, name, salindex, sent, sequence, identity, origin, obs_id, fields)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                topic.component,
                topic.name,
                topic.index,
                float(message.sent),
                message.sequence,
                message.identity,
                message.origin,
                obs_id,
                json.dumps(dict(message.fields), default=_plain),
            ),
        )
        return cursor.rowcount > 0

    def messages_of(self, obs_id: str) -> tuple[ControlMessage, ...]:
        """Return the events of an exposure in the order in which they came."""
        return self._messages("WHERE obs_id = ? ORDER BY id", (obs_id,))

    def state_messages(self, since: float) -> tuple[ControlMessage, ...]:
        """Return the events that belong to no exposure, from an instant on, TAI seconds.

        The last one before it is there too, for each topic and index.
        """
        return self._messages(
            "WHERE obs_id IS NULL AND (sent >= ?1 OR id IN (SELECT id FROM (SELECT id, max(sent)"
            " FROM message WHERE obs_id IS NULL AND sent < ?1 GROUP BY component, name, salindex)))"
            " ORDER BY sent",
            (since,),
        )

    def last_heard(self) -> float | None:
        """Return the time of sending of the newest event, TAI seconds."""
        (newest,) = self._database.execute("SELECT max(sent) FROM message").fetchone()
        return None if newest is None else float(newest)

    def _messages(self, clause: str, values: tuple[object, ...]) -> tuple[ControlMessage, ...]:
        rows = self._database.execute(
            "SELECT component, name, salindex, sent, sequence, identity, origin, fields"  # noqa: S608 - clauses are texts of this file
            f" FROM message {clause}",
            values,
        )
        return tuple(
            ControlMessage(
                topic=Topic(component, name, index),
                fields=MappingProxyType(json.loads(fields)),
                sent=TaiSeconds(sent),
                sequence=sequence,
                identity=identity,
                origin=origin,
            )
            for component, name, index, sent, sequence, identity, origin, fields in rows
        )

    # Exposures.

    def save_exposure(
        self,
        exposure: Exposure,
        *,
        message: ControlMessage | None = None,
        sampled: Mapping[str, Resolved] | None = None,
        header: StoredHeader | None = None,
    ) -> int:
        """Record what is known of an exposure, in one transaction.

        Parameters
        ----------
        exposure
            The exposure.
        message
            An event of it.
        sampled
            Its sampled values; None: they stay as they are.
        header
            A header of it, to be published.

        Returns
        -------
        id
            Number of the header; 0 where there is none.
        """
        with transaction(self._database):
            if message is not None:
                self.add_message(message, exposure.obs_id)
            self._save(exposure, sampled)
            return 0 if header is None else self._add_header(header)

    def _save(self, exposure: Exposure, sampled: Mapping[str, Resolved] | None) -> None:
        text = (
            None
            if sampled is None
            else json.dumps({name: each.to_json() for name, each in sampled.items()})
        )
        self._database.execute(
            "INSERT INTO exposure"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?9, '{}'))"
            " ON CONFLICT (obs_id) DO UPDATE SET phase = ?2, deadline = ?4, early = ?5,"
            " revision = ?6, status = ?7, published_at = ?8, sampled = coalesce(?9, sampled)",
            (
                exposure.obs_id,
                exposure.phase,
                exposure.opened_at,
                exposure.deadline,
                int(exposure.early),
                exposure.revision,
                exposure.status,
                exposure.published_at,
                text,
            ),
        )

    def exposure(self, obs_id: str) -> tuple[Exposure, dict[str, Resolved]] | None:
        """Return an exposure and its sampled values; None for one never heard of."""
        row = self._database.execute(
            "SELECT phase, opened_at, deadline, early, revision, status, published_at, sampled"
            " FROM exposure WHERE obs_id = ?",
            (obs_id,),
        ).fetchone()
        if row is None:
            return None
        phase, opened_at, deadline, early, revision, status, published_at, sampled = row
        messages: dict[Topic, ControlMessage] = {}
        for message in self.messages_of(obs_id):
            messages.setdefault(message.topic, message)
        exposure = Exposure(
            obs_id=obs_id,
            phase=Phase(phase),
            opened_at=opened_at,
            deadline=deadline,
            messages=MappingProxyType(messages),
            early=bool(early),
            revision=revision,
            status=None if status is None else Status(status),
            published_at=published_at,
        )
        return exposure, _sampled(obs_id, sampled)

    def unfinished(self) -> tuple[str, ...]:
        """Return the exposures without a final header, oldest first."""
        rows = self._database.execute(
            "SELECT obs_id FROM exposure WHERE phase <> 'published' ORDER BY opened_at"
        )
        return tuple(obs_id for (obs_id,) in rows)

    # Headers.

    def _add_header(self, header: StoredHeader) -> int:
        self._database.execute(
            "INSERT OR IGNORE INTO header (obs_id, day_obs, revision, status, made_at, missing,"
            " sha256, md5, size_bytes, body, provenance, todo)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                header.obs_id,
                header.day_obs,
                header.revision,
                header.status,
                header.made_at,
                json.dumps(header.missing),
                header.sha256,
                header.md5,
                header.size_bytes,
                compress(header.body),
                compress(header.provenance),
                int(header.todo),
            ),
        )
        (number,) = self._database.execute(
            "SELECT id FROM header WHERE obs_id = ? AND revision = ? AND status = ?",
            (header.obs_id, header.revision, header.status),
        ).fetchone()
        return int(number)

    def mark(self, number: int, *, todo: Todo, key: str | None, error: str | None) -> None:
        """Record what remains to be done for a header, and why."""
        self._database.execute(
            "UPDATE header SET todo = ?, key = coalesce(?, key), error = ? WHERE id = ?",
            (int(todo), key, error, number),
        )

    def waiting(self) -> tuple[tuple[int, str], ...]:
        """Return number and exposure of headers that are not done with, oldest first."""
        rows = self._database.execute("SELECT id, obs_id FROM header WHERE todo <> 0 ORDER BY id")
        return tuple((number, obs_id) for number, obs_id in rows)

    def header(self, number: int) -> StoredHeader | None:
        """Return a header by its number."""
        return self._header("WHERE id = ?", (number,))

    def latest(
        self, obs_id: str, *, revision: int | None = None, final: bool = False
    ) -> StoredHeader | None:
        """Return the latest header of an exposure.

        Parameters
        ----------
        obs_id
            The exposure.
        revision
            This revision instead of the latest.
        final
            No early header.
        """
        clause, values = "WHERE obs_id = ?", [obs_id, *([] if revision is None else [revision])]
        clause += "" if revision is None else " AND revision = ?"
        clause += " AND status <> 'early'" if final else ""
        return self._header(f"{clause} {_LATEST_FIRST} LIMIT 1", tuple(values))

    def _header(self, clause: str, values: tuple[object, ...]) -> StoredHeader | None:
        row = self._database.execute(
            f"SELECT {HEADER_COLUMNS} FROM header {clause}",  # noqa: S608 - as above
            values,
        ).fetchone()
        return None if row is None else header_of(row)

    def headers(
        self, *, day_obs: int | None = None, obs_id: str | None = None, limit: int = 5000
    ) -> tuple[HeaderEntry, ...]:
        """Return what there is of a day, or of an exposure, oldest first."""
        clauses, values = [], []
        for column, value in (("day_obs", day_obs), ("obs_id", obs_id)):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        rows = self._database.execute(
            f"SELECT {ENTRY_COLUMNS} FROM header{where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - as above
            (*values, limit),
        ).fetchall()
        return tuple(entry_of(row) for row in reversed(rows))

    # Keeping it small.

    def prune(self, *, heard_before: float, made_before: float) -> int:
        """Forget what is old; return how many headers went.

        What is unfinished or waits to be published stays, and so does the last event of
        each topic.

        Parameters
        ----------
        heard_before
            Events sent before this, TAI seconds, and exposures opened before it.
        made_before
            Headers made before this, UTC seconds.
        """
        with transaction(self._database):
            gone = self._database.execute(
                "DELETE FROM header WHERE made_at < ? AND todo = 0", (made_before,)
            ).rowcount
            self._database.execute(
                "DELETE FROM exposure WHERE opened_at < ? AND phase = 'published'"
                " AND obs_id NOT IN (SELECT obs_id FROM header)",
                (heard_before,),
            )
            self._database.execute(
                "DELETE FROM message WHERE sent < ? AND"
                " (obs_id IS NULL OR obs_id NOT IN (SELECT obs_id FROM exposure))"
                " AND id NOT IN (SELECT id FROM (SELECT id, max(sent) FROM message"
                " GROUP BY component, name, salindex))",
                (heard_before,),
            )
        return gone


def _sampled(obs_id: str, text: str) -> dict[str, Resolved]:
    try:
        return {name: Resolved.from_json(each) for name, each in json.loads(text).items()}
    except (ValueError, TypeError, KeyError) as error:
        _log.warning("sampled_values_unreadable", obs_id=obs_id, reason=repr(error))
        return {}


def _plain(value: Any) -> Any:
    """Return a value that JSON lacks as one that it has."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
