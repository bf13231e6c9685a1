"""Writes files into the drop directory, in the ways in which cameras do.

* `atomic`: under a hidden temporary name, synchronised to disk, entered into the
  manifest, renamed. Who watches the directory only ever sees whole files.
* `in_place_slow`: under the final name, in pieces with pauses. Who watches must find
  out when the file is whole.
* `fpack_in_place`: first the uncompressed file appears under the final name, and is
  replaced by the compressed one a moment later.

A file that the manifest has is never written again, wherever it is by now. After a
crash, `recover` finishes what was in the manifest and had not yet got its name.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

from daemons.simulators.manifest import Manifest, ManifestEntry

_TEMPORARY = ".{}.writing"
_PATTERN = _TEMPORARY.format("*")
_log = structlog.get_logger(__name__)


class WriteMode(StrEnum):
    """How a file gets into the drop directory."""

    ATOMIC = "atomic"
    IN_PLACE_SLOW = "in_place_slow"
    FPACK_IN_PLACE = "fpack_in_place"


class Drop:
    """A drop directory with its manifest.

    Parameters
    ----------
    directory
        Where the files go; made when it is not there.
    manifest
        What was written; its file must be outside of `directory`.
    mode
        How FITS files are written; small files are always written atomically.
    pieces
        Of a file that is written in place.
    pause_s
        Between two pieces, and before a compressed file replaces the uncompressed one.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        mode: WriteMode = WriteMode.ATOMIC,
        pieces: int = 5,
        pause_s: float = 0.2,
    ) -> None:
        self.directory = directory
        self.manifest = manifest
        self.mode = mode
        self._pieces = pieces
        self._pause_s = pause_s
        directory.mkdir(parents=True, exist_ok=True)

    def has(self, file: str) -> bool:
        """Tell whether a file was written for good, whether or not it is still here."""
        entry = self.manifest.get(file)
        if entry is None:
            return False
        if self.mode is WriteMode.ATOMIC:
            return True
        place = self.directory / file
        return not place.exists() or place.stat().st_size == entry.size_bytes

    def recover(self) -> int:
        """Finish the files that a crash left in the manifest but under a temporary name.

        Temporary files that the manifest does not have are removed: they will be
        written again. Returns how many files got their name.
        """
        finished = 0
        for temporary in sorted(filter(Path.is_file, self.directory.rglob(_PATTERN))):
            name = temporary.name.removeprefix(".").removesuffix(".writing")
            final = temporary.with_name(name)
            entry = self.manifest.get(final.relative_to(self.directory).as_posix())
            if entry is not None and _sha256(temporary) == entry.sha256:
                _rename(temporary, final)
                finished += 1
                _log.info("simulator_file_recovered", file=entry.file)
            else:
                temporary.unlink()
        return finished

    def write(
        self,
        file: str,
        buffers: Sequence[bytes],
        *,
        obs_id: str,
        detector: str | None,
        before: Sequence[bytes] = (),
        renew: bool = False,
    ) -> ManifestEntry | None:
        """Write a file; None where it was written before.

        Parameters
        ----------
        file
            Path below the drop directory.
        buffers
            The content.
        obs_id, detector
            What the file belongs to, for the manifest.
        before
            Content that stands under the name first in `fpack_in_place`. Empty: the
            file is written atomically whatever the mode.
        renew
            Write it again where it was written with other content: for a sidecar whose
            image is not there yet.
        """
        if self.has(file) and not renew:
            return None
        final = self.directory / file
        final.parent.mkdir(parents=True, exist_ok=True)
        entry = _describe(file, buffers, obs_id, detector)
        known = self.manifest.get(file)
        if renew and known is not None and known.sha256 == entry.sha256:
            return None
        if before and self.mode is WriteMode.IN_PLACE_SLOW:
            self._grow(final, buffers, entry)
            return entry
        if before and self.mode is WriteMode.FPACK_IN_PLACE:
            _rename(_stage(final, before), final)
            time.sleep(self._pause_s)
        elif known is None and final.exists():
            return self._adopt(final, entry)
        temporary = _stage(final, buffers)
        self.manifest.append(entry)
        _rename(temporary, final)
        return entry

    def _adopt(self, final: Path, entry: ManifestEntry) -> ManifestEntry:
        """Enter a file that somebody else wrote; it is left as it is."""
        found = ManifestEntry(
            entry.file,
            final.stat().st_size,
            _sha256(final),
            entry.obs_id,
            entry.detector,
            entry.written_at,
        )
        _log.warning("simulator_file_already_there", file=found.file, sha256=found.sha256)
        self.manifest.append(found)
        return found

    def _grow(self, final: Path, buffers: Sequence[bytes], entry: ManifestEntry) -> None:
        """Write under the final name, piece by piece.

        It goes on where a crash left off if the content is the same, else begins again.
        """
        known = self.manifest.get(entry.file)
        same = known is not None and known.sha256 == entry.sha256
        if not same:
            self.manifest.append(entry)
        content = b"".join(buffers)
        piece = -(-len(content) // self._pieces)
        with final.open("ab" if same else "wb") as out:
            for start in range(out.tell(), len(content), piece):
                out.write(content[start : start + piece])
                out.flush()
                os.fsync(out.fileno())
                if start + piece < len(content):
                    time.sleep(self._pause_s)


def _describe(
    file: str, buffers: Sequence[bytes], obs_id: str, detector: str | None
) -> ManifestEntry:
    digest, size_bytes = hashlib.sha256(), 0
    for buffer in buffers:
        digest.update(buffer)
        size_bytes += len(buffer)
    written_at = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
    return ManifestEntry(file, size_bytes, digest.hexdigest(), obs_id, detector, written_at)


def _stage(final: Path, buffers: Sequence[bytes]) -> Path:
    """Write a file under its temporary name, to disk."""
    temporary = final.with_name(_TEMPORARY.format(final.name))
    with temporary.open("wb") as out:
        out.writelines(buffers)
        out.flush()
        os.fsync(out.fileno())
    return temporary


def _rename(temporary: Path, final: Path) -> None:
    """Give a file its name, to disk."""
    temporary.replace(final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
