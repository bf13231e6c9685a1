"""What the journal keeps: its schema, and a header with what remains to be done for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from headerservice.exposure import Status

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        component TEXT NOT NULL,
        name TEXT NOT NULL,
        salindex INTEGER NOT NULL,
        sent REAL NOT NULL,
        sequence INTEGER NOT NULL,
        identity TEXT NOT NULL,
        origin INTEGER NOT NULL,
        obs_id TEXT,
        fields TEXT NOT NULL,
        UNIQUE (component, name, salindex, identity, origin, sequence, sent)
    ) STRICT;
    CREATE INDEX message_of_exposure ON message (obs_id) WHERE obs_id IS NOT NULL;
    CREATE INDEX message_by_time ON message (sent);
    CREATE TABLE exposure (
        obs_id TEXT PRIMARY KEY,
        phase TEXT NOT NULL,
        opened_at REAL NOT NULL,
        deadline REAL NOT NULL,
        early INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        status TEXT,
        published_at REAL,
        sampled TEXT NOT NULL DEFAULT '{}'
    ) STRICT;
    CREATE INDEX exposure_unfinished ON exposure (opened_at) WHERE phase <> 'published';
    CREATE TABLE header (
        id INTEGER PRIMARY KEY,
        obs_id TEXT NOT NULL,
        day_obs INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL,
        made_at REAL NOT NULL,
        missing TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        md5 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        body BLOB NOT NULL,
        provenance BLOB NOT NULL,
        todo INTEGER NOT NULL,
        key TEXT,
        error TEXT,
        UNIQUE (obs_id, revision, status)
    ) STRICT;
    CREATE INDEX header_of_day ON header (day_obs);
    CREATE INDEX header_todo ON header (id) WHERE todo <> 0;
    """,
)
"""Schema by version: entry n leads from version n to n + 1."""

ENTRY_COLUMNS = (
    "obs_id, day_obs, revision, status, made_at, missing, sha256, size_bytes, todo, error"
)
"""Columns of a header in a list."""
HEADER_COLUMNS = (
    "id, obs_id, day_obs, revision, status, made_at, missing, sha256, md5, body, provenance, "
    "todo, key, error"
)
"""Columns of a header with its content."""

_COMPRESSION = 1
"""The fastest; a header shrinks to a twentieth all the same."""


class Todo(IntFlag):
    """What remains to be done for a header."""

    NOTHING = 0
    STORE = 1
    """Put it into the object store."""
    CONTROL_BUS = 2
    """Announce it on the control bus."""
    EVENT_STREAM = 4
    """Announce it on the event stream."""
    PROVENANCE = 8
    """Put its provenance into the object store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHeader:
    """A header as it is published."""

    obs_id: str
    day_obs: int
    revision: int
    status: Status
    made_at: float
    """UTC seconds."""
    missing: tuple[str, ...]
    sha256: str
    md5: str
    body: bytes
    """YAML."""
    provenance: bytes
    """JSON."""
    todo: Todo
    id: int = 0
    """Number in the journal; 0: not there yet."""
    key: str | None = None
    """Key in the object store, once it is there."""
    error: str | None = None
    """Why the last attempt to store or announce it failed."""

    @property
    def size_bytes(self) -> int:
        """Length of the YAML."""
        return len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEntry:
    """A header in a list."""

    obs_id: str
    day_obs: int
    revision: int
    status: Status
    made_at: float
    missing: tuple[str, ...]
    sha256: str
    size_bytes: int
    todo: Todo
    error: str | None


def compress(body: bytes) -> bytes:
    """Return bytes as the journal keeps them."""
    return zlib.compress(body, _COMPRESSION)


def header_of(row: Sequence[Any]) -> StoredHeader:
    """Return a header out of a row of `HEADER_COLUMNS`."""
    said = dict(zip(HEADER_COLUMNS.split(", "), row, strict=True))
    return StoredHeader(
        **{
            **said,
            "status": Status(said["status"]),
            "missing": tuple(json.loads(said["missing"])),
            "body": zlib.decompress(said["body"]),
            "provenance": zlib.decompress(said["provenance"]),
            "todo": Todo(said["todo"]),
        }
    )


def entry_of(row: Sequence[Any]) -> HeaderEntry:
    """Return a header in a list out of a row of `ENTRY_COLUMNS`."""
    said = dict(zip(ENTRY_COLUMNS.split(", "), row, strict=True))
    return HeaderEntry(
        **{
            **said,
            "status": Status(said["status"]),
            "missing": tuple(json.loads(said["missing"])),
            "todo": Todo(said["todo"]),
        }
    )
