"""Reading the drop directory with all its folders: the truth, where notices are hints."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemons.forwarder.model import FileIdentity, shown
from daemons.forwarder.roles import Role, ignored, role_of
from daemons.forwarder.settings import ForwarderSettings
from translators.findings import Finding, Severity

_BATCH = 500
"""Files per batch: what is handed over at a time, and looked up in one journal job."""


_PLACED_NS = 20_000_000
"""Writing sets both times of a file; so much later only its name or its rights changed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a scan or a notice came upon."""

    path: bytes
    identity: FileIdentity
    role: Role
    links: int = 1
    """Number of its hard links."""
    placed: bool = False
    """It was renamed or linked here after it was written: whoever wrote it had finished."""


@dataclass(slots=True)
class ScanBatch:
    """A part of what a scan found."""

    files: list[Found] = field(default_factory=list)
    """Images and attachments."""
    unknown: list[bytes] = field(default_factory=list)
    """Files with names that mean nothing to the forwarder."""
    refused: list[tuple[bytes, Finding]] = field(default_factory=list)
    """What is not taken, and why."""

    def __len__(self) -> int:
        return len(self.files) + len(self.unknown) + len(self.refused)


def scan(root: bytes, settings: ForwarderSettings) -> Iterator[ScanBatch]:
    """Yield what is in a folder and its folders; links are not followed.

    Blocks, so it belongs in a thread. Files that vanish meanwhile are passed over.

    Raises
    ------
    OSError
        The root itself cannot be read.
    """
    batch = ScanBatch()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    _sort(entry, settings, batch, folders)
                    if len(batch) >= _BATCH:
                        yield batch
                        batch = ScanBatch()
        except FileNotFoundError:
            if folder == root:
                raise
        except OSError as error:
            if folder == root:
                raise
            batch.refused.append((folder, _unreadable(folder, error)))
    if len(batch):
        yield batch


def look(path: bytes, role: Role) -> Found | Finding | None:
    """Look at one file; None where it is gone, a finding where it must not be taken."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _unreadable(path, error)
    refusal = refuse(path, status)
    placed = status.st_ctime_ns > status.st_mtime_ns + _PLACED_NS
    return refusal or Found(path, FileIdentity.from_stat(status), role, status.st_nlink, placed)


def refuse(path: bytes, status: os.stat_result) -> Finding | None:
    """Return why a file is not taken whatever its name: only regular files are."""
    if stat.S_ISREG(status.st_mode):
        return None
    if stat.S_ISLNK(status.st_mode):
        return Finding(
            "file.symlink",
            Severity.ERROR,
            f"{shown(path)} is a symbolic link and is left alone: what it points to could be "
            "changed or leave the drop directory; let the camera write or rename the file itself",
        )
    return Finding(
        "file.not_regular",
        Severity.ERROR,
        f"{shown(path)} is no regular file and is left alone; remove it",
    )


def _sort(
    entry: os.DirEntry[bytes], settings: ForwarderSettings, batch: ScanBatch, folders: list[bytes]
) -> None:
    name = os.fsdecode(entry.name)
    if ignored(name, settings):
        return
    try:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
            return
        role = role_of(name, settings)
        if role is Role.UNKNOWN:
            batch.unknown.append(entry.path)
        if role.kind is None:
            return
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    refusal = refuse(entry.path, status)
    if refusal is not None:
        batch.refused.append((entry.path, refusal))
    else:
        identity = FileIdentity.from_stat(status)
        batch.files.append(Found(entry.path, identity, role, status.st_nlink))


def _unreadable(path: bytes, error: OSError) -> Finding:
    return Finding(
        "file.unreadable",
        Severity.ERROR,
        f"{shown(path)} cannot be read: {error.strerror}; look at its permissions and at the disk",
    )
