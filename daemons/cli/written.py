"""Sidecars and index files that `arriero translate` writes, each whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemons.runtime.errors import UsageError
from translators.findings import Finding, Severity
from translators.headerfile import Entry
from translators.index import INDEX_NAME, index_bytes
from translators.record import Record
from translators.sidecar import Content, sidecar_bytes, sidecar_name, translated_sidecar_bytes


@dataclass(slots=True)
class Written:
    """Writes sidecars as records come, and the indexes at the end."""

    content: Content
    sidecars: bool
    indexes: bool
    into: Path | None
    """Where; None: beside the files."""
    overwrite: bool
    _folders: dict[Path, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    def take(self, entry: Entry, record: Record) -> Iterator[Finding]:
        """Write the sidecar of a file and remember what its folder's index says of it.

        Raises
        ------
        UsageError
            The file is an object, and no folder was named to write into.
        """
        if self.content is Content.METADATA and entry.content is Content.TRANSLATED:
            yield Finding(
                "sidecar.no_header",
                Severity.ERROR,
                f"{entry.place} holds a translated record, from which no header can be made; "
                "translate the FITS file, or write `--content translated`",
            )
            return
        values = entry.values if self.content is Content.METADATA else record.values
        folder = self._folder(entry.place)
        if self.indexes:
            self._folders.setdefault(folder, {})[entry.file_name] = values
        if self.sidecars:
            made = sidecar_bytes if self.content is Content.METADATA else translated_sidecar_bytes
            yield from self._write(folder / sidecar_name(entry.file_name), made(values))

    def finish(self) -> tuple[Finding, ...]:
        """Write the indexes."""
        return tuple(
            finding
            for folder, files in self._folders.items()
            for finding in self._write(folder / INDEX_NAME, index_bytes(files, self.content))
        )

    def _folder(self, place: str) -> Path:
        if self.into is not None:
            self.into.mkdir(parents=True, exist_ok=True)
            return self.into
        if "://" in place:
            raise UsageError(f"{place} is an object; say with `--into DIR` where to write")
        return Path(place.partition("#")[0]).parent

    def _write(self, path: Path, content: bytes) -> Iterator[Finding]:
        try:
            if path.exists() and not self.overwrite:
                if path.read_bytes() != content:
                    yield Finding(
                        "sidecar.exists",
                        Severity.ERROR,
                        f"{path} is there and holds something else; look at it, and give "
                        "`--overwrite` to replace it",
                    )
                return
            write_whole(path, content)
        except OSError as error:
            yield Finding(
                "sidecar.unwritable",
                Severity.ERROR,
                f"{path} cannot be written: {error.strerror or error}",
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees it half written."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
