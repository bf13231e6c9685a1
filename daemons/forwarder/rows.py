"""Journal rows: from and to the values of `daemons.forwarder.model`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from daemons.forwarder.errors import EntryChangedError, UnknownFileError
from daemons.forwarder.model import (
    FileIdentity,
    FileKind,
    FileState,
    JournalEntry,
    check_move,
)
from translators.findings import Finding, Severity
from translators.identity import ImageIdentity, ImageKind


def to_entry(row: sqlite3.Row) -> JournalEntry:
    """Read a row of `files`."""
    return JournalEntry(
        id=row["id"],
        revision=row["revision"],
        path=row["path"],
        location=row["location"],
        identity=FileIdentity(row["device"], row["inode"], row["size_bytes"], row["ctime_ns"]),
        kind=FileKind(row["kind"]),
        state=FileState(row["state"]),
        seen_at=row["seen_at"],
        changed_at=row["changed_at"],
        witnessed=bool(row["witnessed"]),
        reason=row["reason"],
        detail=row["detail"],
        sha256=row["sha256"],
        crc64nvme=row["crc64nvme"],
        image=_image(row),
        object_key=row["object_key"],
        stored_at=row["stored_at"],
        findings=findings_from(row["findings"]),
        waived=tuple(json.loads(row["waived"])),
        quarantine_path=row["quarantine_path"],
        announcements=row["announcements"],
        exposure_at=row["exposure_at"],
        rank=row["rank"],
    )


def _image(row: sqlite3.Row) -> ImageIdentity | None:
    if row["dataset_id"] is None:
        return None
    return ImageIdentity(
        instrument=row["instrument"],
        obs_id=row["obs_id"],
        exposure_id=row["exposure_id"],
        day_obs=row["day_obs"],
        seq_num=row["seq_num"],
        detector=row["detector"],
        detector_name=row["detector_name"],
        kind=ImageKind(row["image_kind"]),
        dataset_type=row["dataset_type"],
        run=row["run"],
    )


def image_columns(image: ImageIdentity | None) -> dict[str, Any]:
    """Return the columns that say which image a file is."""
    if image is None:
        names = ("instrument", "obs_id", "exposure_id", "day_obs", "seq_num", "detector")
        more = ("detector_name", "image_kind", "dataset_type", "run", "dataset_id")
        return dict.fromkeys((*names, *more))
    return {
        "instrument": image.instrument,
        "obs_id": image.obs_id,
        "exposure_id": image.exposure_id,
        "day_obs": image.day_obs,
        "seq_num": image.seq_num,
        "detector": image.detector,
        "detector_name": image.detector_name,
        "image_kind": image.kind.value,
        "dataset_type": image.dataset_type,
        "run": image.run,
        "dataset_id": str(image.dataset_id),
    }


def identity_columns(identity: FileIdentity) -> dict[str, Any]:
    """Return the columns of a file's identity."""
    return {
        "device": identity.device,
        "inode": identity.inode,
        "size_bytes": identity.size_bytes,
        "ctime_ns": identity.ctime_ns,
    }


def findings_json(findings: Iterable[Finding]) -> str:
    """Write findings as JSON."""
    return json.dumps(
        [
            {
                "code": finding.code,
                "severity": finding.severity.value,
                "sentence": finding.sentence,
                "hdu": finding.hdu,
            }
            for finding in findings
        ]
    )


def findings_from(text: str) -> tuple[Finding, ...]:
    """Read findings from JSON."""
    return tuple(
        Finding(item["code"], Severity(item["severity"]), item["sentence"], item["hdu"])
        for item in json.loads(text)
    )


def fetch(connection: sqlite3.Connection, file_id: int) -> JournalEntry:
    """Return an entry or raise `UnknownFileError`."""
    row = connection.execute("SELECT * FROM files WHERE id = ?", (file_id,)).fetchone()
    if row is None:
        raise UnknownFileError(f"the journal knows no file number {file_id}")
    return to_entry(row)


def newest_at(connection: sqlite3.Connection, path: bytes) -> JournalEntry | None:
    """Return the newest entry of a path."""
    row = connection.execute(
        "SELECT * FROM files WHERE path = ? ORDER BY id DESC LIMIT 1", (path,)
    ).fetchone()
    return None if row is None else to_entry(row)


def insert(connection: sqlite3.Connection, columns: Mapping[str, Any]) -> int:
    """Add a row to `files` and return its number."""
    names = ", ".join(columns)
    marks = ", ".join(f":{name}" for name in columns)
    # The names are ours: keys of the dictionaries in this package.
    statement = f"INSERT INTO files ({names}) VALUES ({marks})"  # noqa: S608 - see above
    return int(connection.execute(statement, dict(columns)).lastrowid or 0)


def change(
    connection: sqlite3.Connection,
    entry: JournalEntry,
    state: FileState,
    *,
    now: float,
    **columns: Any,
) -> JournalEntry:
    """Move an entry to a state and change columns of it.

    Raises
    ------
    ForbiddenMoveError
        The life cycle has no such step.
    EntryChangedError
        Somebody else changed the entry since it was read.
    """
    check_move(entry.state, state)
    columns |= {"state": state.value, "changed_at": now, "revision": entry.revision + 1}
    settings = ", ".join(f"{name} = :{name}" for name in columns)
    # The names are ours: keyword arguments of calls in this package.
    statement = f"UPDATE files SET {settings} WHERE id = :_id AND revision = :_revision"  # noqa: S608 - see above
    done = connection.execute(
        statement, {**columns, "_id": entry.id, "_revision": entry.revision}
    ).rowcount
    if done != 1:
        raise EntryChangedError(f"file number {entry.id} changed meanwhile; it is read again")
    return fetch(connection, entry.id)
