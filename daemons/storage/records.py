"""What a directory store knows of its objects besides their bytes.

The record of an object is a small JSON file below `.arriero/objects/KEY/`, named
after the modification time and the size of the very file that it describes:
`MTIME_NS-SIZE.json`. A file and its record are written before the file gets its
key, so whoever sees the file under its key finds the matching record; the one
rename or link that gives the key decides everything. A record without its file is
what a crash can leave: harmless, and never found.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from daemons.storage.durable import make_folders, sync_folder

_JITTER_NS = 1_000_000
"""Modification times are moved back by a random part of this, so that no two are alike."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of an object."""

    md5: str
    content_type: str
    metadata: Mapping[str, str]


class Records:
    """The records of one directory store.

    Parameters
    ----------
    folder
        `.arriero/objects` of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, key: str, file: Path, record: Record) -> os.stat_result:
        """Write the record of a finished file that has no key yet, durably.

        The file gets a modification time that no other record of this key has.
        """
        folder = self._folder / key
        make_folders(folder, below=self._folder)
        payload = json.dumps(asdict(record), sort_keys=True).encode()
        while True:
            stamp = time.time_ns() - secrets.randbelow(_JITTER_NS)
            os.utime(file, ns=(stamp, stamp))
            described = file.stat()
            try:
                with self._path(key, described).open("xb") as out:
                    out.write(payload)
                    out.flush()
                    os.fsync(out.fileno())
            except FileExistsError:
                continue
            except FileNotFoundError:  # a racing deletion took the empty folder
                make_folders(folder, below=self._folder)
                continue
            sync_folder(folder)
            return described

    def read(self, key: str, file: os.stat_result) -> Record | None:
        """Return the record of a file, or None when it was not put here by a store."""
        try:
            fields = json.loads(self._path(key, file).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Record(**fields)

    def discard(self, key: str, file: os.stat_result) -> None:
        """Remove the record of a file that lost its key or never got it."""
        path = self._path(key, file)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for folder in path.parents:
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:  # others are in there, or somebody was faster
                break

    def _path(self, key: str, file: os.stat_result) -> Path:
        return self._folder / key / f"{file.st_mtime_ns}-{file.st_size}.json"
