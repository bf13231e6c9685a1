"""The blocking half of the directory store: objects as files, whole or not at all.

A put writes to `.arriero/unfinished/`, syncs, writes the record, and only then
gives the file its key: by `rename(2)`, or by `link(2)` when nobody may have the
key yet. Between any two of these steps the process may be killed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog

from daemons.storage.bodies import HeldFile, Payload, label_of, opened
from daemons.storage.durable import make_folders, sync_folder
from daemons.storage.interface import (
    AccessRefusedError,
    Body,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.keys import HIDDEN, check_key
from daemons.storage.records import Record, Records

_CHUNK_BYTES = 1 << 20
"""How much is copied between two looks at whether the caller is still there."""
_MAX_NAME_BYTES = 255
"""What Linux file systems take as the name of one file."""
_UNFINISHED_MAX_AGE_S = 86_400.0
"""Older than any put that still runs: what a killed process left."""
_ATTEMPTS = 20
"""How often a step is repeated that only a racing writer can spoil."""
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_IN_THE_WAY = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says to a user who has no space left; the three sets choose our error."""

_log = structlog.get_logger(__name__)


class GivenUpError(Exception):
    """Whoever asked for a put was cancelled; nobody sees this."""


@dataclass(frozen=True, slots=True)
class Put:
    """One put in hand."""

    key: str
    body: Body | HeldFile
    metadata: Mapping[str, str]
    content_type: str
    if_absent: bool
    given_up: threading.Event
    """Set when the caller was cancelled."""


class ObjectFolder:
    """Objects as plain files below a root.

    Parameters
    ----------
    root
        The directory, absolute.
    create
        Make the directory when it is not there at the first use. A directory
        that was there and is gone (not mounted) is never made.
    """

    def __init__(self, root: Path, *, create: bool) -> None:
        self._root = root
        self._create = create
        self._making = threading.Lock()
        self._unfinished = root / HIDDEN / "unfinished"
        self._objects = root / HIDDEN / "objects"
        self._records = Records(self._objects)

    def path(self, key: str) -> Path:
        """Return where an object is, after a look at its key."""
        parts = check_key(key).split("/")
        if any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
            raise ValueError(f"the key {key!r} has a part of over {_MAX_NAME_BYTES} bytes")
        return self._root.joinpath(*parts)

    def check(self) -> None:
        """Return when the directory is there and can be written; tidy up after killed puts."""
        with self._ready():
            probe = self._unfinished / f"probe-{uuid4().hex}"
            probe.write_bytes(b"")
            probe.unlink()
            self._sweep()

    def put(self, put: Put) -> ObjectInfo:
        """Store an object."""
        target = self.path(put.key)
        with opened(put.body, label_of(put.body, put.key)) as source, self._ready():
            unfinished = self._unfinished / uuid4().hex
            try:
                md5 = _copy(source, unfinished, put)
                record = Record(md5, put.content_type, put.metadata)
                described = self._records.write(put.key, unfinished, record)
                try:
                    self._give_key(unfinished, target, put)
                except BaseException:
                    self._records.discard(put.key, described)
                    raise
            finally:
                unfinished.unlink(missing_ok=True)
        return _info(put.key, described, record)

    def head(self, key: str, *, listing: bool = False) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        path = self.path(key)
        with self._ready():
            for _ in range(_ATTEMPTS):
                found = _stat(path)
                if found is None:
                    return None
                record = self._records.read(key, found)
                if record is None and _same(found, _stat(path)):  # put here by somebody else
                    record = Record(_md5(path), "application/octet-stream", {})
                if record is not None:
                    info = _info(key, found, record)
                    return _without_metadata(info) if listing else info
        raise StoreUnavailableError(f"{key} in {self._root} is being replaced all the time")

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        path = self.path(key)
        with self._ready():
            if _stat(path) is not None:
                with suppress(FileNotFoundError):
                    return path.read_bytes()
        raise ObjectNotFoundError(f"no object {key} in {self._root}")

    def delete(self, key: str) -> None:
        """Remove an object and the folders that it leaves empty."""
        path = self.path(key)
        with self._ready():
            found = _stat(path)
            if found is None:
                return
            path.unlink(missing_ok=True)
            self._records.discard(key, found)
            sync_folder(path.parent)
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:  # others are in there, or somebody was faster
                    break

    def walk(self, prefix: str, below: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with a prefix, in key order."""
        for label in self._entries(below):
            key = below + label
            if label.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self.walk(prefix, key)
            elif key.startswith(prefix):
                try:
                    info = self.head(key, listing=True)
                except ValueError as error:
                    _log.warning("store_file_has_no_key", root=str(self._root), reason=str(error))
                    continue
                if info is not None:
                    yield info

    def _entries(self, below: str) -> list[str]:
        """Return the names in a folder, sub-folders with a slash, in key order."""
        labels: list[str] = []
        with self._ready(), suppress(FileNotFoundError), os.scandir(self._root / below) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    labels.append(f"{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    labels.append(entry.name)
        return sorted(label for label in labels if below or label != f"{HIDDEN}/")

    def _give_key(self, unfinished: Path, target: Path, put: Put) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            make_folders(target.parent, below=self._root)
            replaced = _stat(target)
            try:
                if put.if_absent:
                    target.hardlink_to(unfinished)
                else:
                    unfinished.replace(target)
            except FileExistsError:
                if target.is_dir():
                    raise
                raise ObjectExistsError(f"{put.key} is in {self._root} already") from None
            except FileNotFoundError:  # a racing deletion took the empty folder
                if attempt == _ATTEMPTS:
                    raise
                continue
            break
        sync_folder(target.parent)
        if replaced is not None:
            self._records.discard(put.key, replaced)

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Make sure of the directory and turn what the system says into our errors."""
        try:
            if not self._objects.is_dir():
                with self._making:
                    self._make()
            self._create = False
            yield
        except OSError as error:
            raise _told(error, self._root) from error

    def _make(self) -> None:
        if self._objects.is_dir():  # another thread was faster
            return
        if not self._create:
            raise StoreUnavailableError(
                f"{self._root} is no object store (it has no {HIDDEN}/objects): mount it, or make "
                f"it one with `mkdir -p {self._objects} {self._unfinished}`"
            )
        self._root.mkdir(parents=True, exist_ok=True)
        make_folders(self._unfinished, below=self._root)
        make_folders(self._objects, below=self._root)

    def _sweep(self) -> None:
        oldest = time.time() - _UNFINISHED_MAX_AGE_S
        for path in self._unfinished.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _copy(source: Payload, target: Path, put: Put) -> str:
    """Copy durably and return the MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, source.size)))
    at = 0
    with target.open("xb") as out:
        while at < source.size:
            if put.given_up.is_set():
                raise GivenUpError
            chunk = source.read_into(buffer, at)
            digest.update(chunk)
            at += out.write(chunk)
        source.check_unchanged()
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _stat(path: Path) -> os.stat_result | None:
    """Return what the system knows of a regular file, or None."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            return found
    return None


def _same(one: os.stat_result, other: os.stat_result | None) -> bool:
    if other is None:
        return False
    fields = ("st_ino", "st_mtime_ns", "st_size")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _info(key: str, found: os.stat_result, record: Record) -> ObjectInfo:
    modified = datetime.fromtimestamp(found.st_mtime, tz=UTC)
    return ObjectInfo(key, found.st_size, record.md5, modified, dict(record.metadata))


def _without_metadata(info: ObjectInfo) -> ObjectInfo:
    return ObjectInfo(info.key, info.size_bytes, info.etag, info.modified, {})


def _told(error: OSError, root: Path) -> StoreError:
    where = error.filename or root
    if error.errno in _REFUSED:
        return AccessRefusedError(
            f"{where}: {error.strerror}; let user {os.geteuid()} write below {root}"
        )
    if error.errno in _IN_THE_WAY:
        return StoreError(
            f"{where}: {error.strerror}; in a directory a key cannot also be the folder of others"
        )
    if error.errno in _FULL:
        return StoreUnavailableError(f"{root} is full ({error.strerror}): make room")
    return StoreUnavailableError(f"{where}: {error.strerror}; is {root} mounted and in order?")
