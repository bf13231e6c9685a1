"""What the simulated camera wrote, and with which content: one JSON line a file.

The manifest is how a test proves at the end of a night that every file arrived
unaltered, and how a run that was killed knows where to go on. A line is on disk before
the file appears under its name, so a file that is not in the manifest was never seen by
anyone.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from daemons.simulators.errors import ManifestError


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file."""

    file: str
    """Path below the drop directory."""
    size_bytes: int
    sha256: str
    obs_id: str
    detector: str | None
    """Such as `R22_S11`; None for a file of the exposure."""
    written_at: str
    """UTC."""


class Manifest:
    """The manifest of a drop directory; may be appended to from several threads.

    Parameters
    ----------
    path
        The file; made when it is not there. A last line that a crash cut off is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._entries = dict(self.read(path))
        self._file = path.open("ab")
        self._file.truncate(_whole_bytes(path))

    @staticmethod
    def read(path: Path) -> Mapping[str, ManifestEntry]:
        """Return the entries by file, in the order of writing; none where there is no manifest.

        Raises
        ------
        ManifestError
            A line is no entry.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return MappingProxyType({})
        entries: dict[str, ManifestEntry] = {}
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            entry = _entry(path, number, line)
            entries[entry.file] = entry
        return MappingProxyType(entries)

    def get(self, file: str) -> ManifestEntry | None:
        """Return the entry of a file."""
        with self._lock:
            return self._entries.get(file)

    def append(self, entry: ManifestEntry) -> None:
        """Add an entry; it is on disk when this returns."""
        line = json.dumps(asdict(entry)).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._entries[entry.file] = entry

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _entry(path: Path, number: int, line: bytes) -> ManifestEntry:
    try:
        content: dict[str, Any] = json.loads(line)
        return ManifestEntry(**content)
    except (ValueError, TypeError) as error:
        raise ManifestError(
            f"{path}, line {number} is no entry ({error}); mend it, or begin with a new manifest "
            "and an empty drop directory"
        ) from error


def _whole_bytes(path: Path) -> int:
    """Return the length of the file without an unfinished last line."""
    return path.read_bytes().rfind(b"\n") + 1
