"""Setting files aside with the reason beside them; nothing is overwritten, nothing deleted.

The journal names the place before the file is moved, so a move that a crash cut
off is finished at the next start. Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from daemons.forwarder.errors import FileChangedError, FileGoneError
from daemons.forwarder.facts import sentences
from daemons.forwarder.model import FileIdentity, JournalEntry, shown
from daemons.forwarder.rows import findings_json
from daemons.storage.durable import sync_folder
from translators.findings import Finding

REASON_SUFFIX = ".reason.json"
"""What the name of the note beside a file that is set aside ends with."""
_MOVING_SUFFIX = ".arriero-moving"


class Quarantine:
    """The quarantine folder of one host.

    Parameters
    ----------
    root
        The folder; made where it is absent.
    host
        Name of this host, for the note.
    """

    def __init__(self, root: Path, *, host: str) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        self._host = host

    def choose(self, entry: JournalEntry, at: float) -> bytes:
        """Return a free place for a file: `{root}/{date}/{name}`, numbered where that is taken.

        A file that is in quarantine already stays where it is.
        """
        if entry.location.startswith(os.fsencode(self.root) + b"/"):
            return entry.location
        day = datetime.fromtimestamp(at, tz=UTC).strftime("%Y%m%d")
        folder = self.root / day
        folder.mkdir(parents=True, exist_ok=True)
        stem, dot, suffix = entry.file_name.partition(b".")
        for number in count():
            name = entry.file_name if number == 0 else b"%s.%d%s%s" % (stem, number, dot, suffix)
            place = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 - names need not be UTF-8
            if not os.path.lexists(place) and not os.path.lexists(note_path(place)):
                return place
        raise AssertionError("counting ended")

    def set_aside(
        self, entry: JournalEntry, findings: tuple[Finding, ...], *, sha256: str | None, at: float
    ) -> None:
        """Move a file to its `quarantine_path`, with the note beside it; may be repeated.

        Raises
        ------
        FileChangedError
            It is gone, or another file has its name now; nothing was moved.
        OSError
            The disk is full or fails.
        """
        target = entry.quarantine_path
        if target is None:
            raise ValueError(f"file number {entry.id} has no place in quarantine")
        if target != entry.location and not _arrived(entry, target):
            _check(entry)
            self._note(entry, target, findings, sha256, at)
            _move(entry, target)
        else:
            self._note(entry, target, findings, sha256, at)

    def annotate(self, entry: JournalEntry, decision: Mapping[str, Any]) -> None:
        """Add an operator's decision to the note beside a file."""
        path = Path(os.fsdecode(note_path(entry.location)))
        try:
            note = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            note = {}
        note.setdefault("decisions", []).append(dict(decision))
        _write_json(path, note)

    def _note(
        self,
        entry: JournalEntry,
        target: bytes,
        findings: tuple[Finding, ...],
        sha256: str | None,
        at: float,
    ) -> None:
        path = Path(os.fsdecode(note_path(target)))
        before = json.loads(path.read_bytes()) if path.is_file() else {}
        note = {
            "codes": list(dict.fromkeys(finding.code for finding in findings)),
            "reason": sentences(findings),
            "findings": json.loads(findings_json(findings)),
            "quarantined_at": datetime.fromtimestamp(at, tz=UTC).isoformat(),
            "original_path": shown(entry.path),
            "size_bytes": entry.identity.size_bytes,
            "sha256": sha256,
            "host": self._host,
            "number": entry.id,
            "what_to_do": (
                f"`arriero quarantine release {entry.id}` sends the file as it is, "
                f"`arriero quarantine reject {entry.id}` gives it up; it stays here in both cases"
            ),
        }
        _write_json(path, {**before, **note})


def note_path(place: bytes) -> bytes:
    """Return the path of the note beside a file in quarantine."""
    return place + REASON_SUFFIX.encode()


def _arrived(entry: JournalEntry, target: bytes) -> bool:
    """Return whether an earlier attempt moved the file already."""
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return False
    there = FileIdentity.from_stat(status)
    if there.same_inode(entry.identity):
        return True
    # From another file system it was copied: complete, for the copy got its name last.
    copied = there.device != entry.identity.device
    if copied and there.size_bytes == entry.identity.size_bytes:
        _remove_source(entry)
        return True
    raise FileChangedError(f"{shown(target)} was taken by another file")


def _check(entry: JournalEntry) -> None:
    try:
        now = FileIdentity.from_stat(os.lstat(entry.location))
    except FileNotFoundError as error:
        raise FileGoneError(f"{shown(entry.location)} is no longer there") from error
    if now != entry.identity:
        raise FileChangedError(f"{shown(entry.location)} was written to or replaced")


def _move(entry: JournalEntry, target: bytes) -> None:
    """Rename the file, or copy it where the quarantine is another file system."""
    if os.path.lexists(target):
        raise FileChangedError(f"{shown(target)} was taken by another file")
    try:
        os.rename(entry.location, target)  # noqa: PTH104 - names need not be UTF-8
    except FileNotFoundError as error:
        raise FileGoneError(f"{shown(entry.location)} is no longer there") from error
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(entry.location, target)
        _remove_source(entry)
    sync_folder(_folder(target))
    sync_folder(_folder(entry.location))


def _copy(source: bytes, target: bytes) -> None:
    part = target + _MOVING_SUFFIX.encode()
    with open(source, "rb") as read, open(part, "wb") as write:  # noqa: PTH123 - as above
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
    os.rename(part, target)  # noqa: PTH104 - as above
    sync_folder(_folder(target))


def _remove_source(entry: JournalEntry) -> None:
    """Remove the original after it was copied; another file that took its name stays."""
    folder, _, name = entry.location.rpartition(b"/")
    moving = folder + b"/." + name + _MOVING_SUFFIX.encode()
    try:
        os.rename(entry.location, moving)  # noqa: PTH104 - as above
    except FileNotFoundError:
        if not os.path.lexists(moving):
            return
    if FileIdentity.from_stat(os.lstat(moving)).same_inode(entry.identity):
        os.unlink(moving)  # noqa: PTH108 - as above
    else:
        os.link(moving, entry.location)
        os.unlink(moving)  # noqa: PTH108 - as above


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small file whole or not at all, durably."""
    part = path.with_name(path.name + _MOVING_SUFFIX)
    with part.open("w", encoding="utf-8", errors="surrogateescape") as write:
        json.dump(content, write, indent=2, ensure_ascii=True)
        write.write("\n")
        write.flush()
        os.fsync(write.fileno())
    part.replace(path)
    sync_folder(path.parent)


def _folder(path: bytes) -> Path:
    return Path(os.fsdecode(path)).parent
