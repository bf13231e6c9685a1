"""A file of JSON lines that grows to a limit and is then begun anew: for one thread."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 1024 * 1024
"""A file of this size is put aside."""
KEPT = 5
"""Files that were put aside and are kept: `NAME.1` is the youngest."""


class LinesFile:
    """Appends JSON objects, one a line, each on the disk before `append` returns.

    A line that a kill cut short is ended before the next one is written, and left out by
    `newest`.

    Parameters
    ----------
    path
        The file; it and its folder are made when the first line is written.
    max_bytes
        Size at which it is put aside.
    kept
        Files put aside that are kept; the oldest is removed beyond that.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._made_whole = False

    def append(self, value: Mapping[str, Any]) -> None:
        """Add a line.

        Raises
        ------
        OSError
            It could not be written.
        """
        line = json.dumps(dict(value), default=str).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._made_whole and self._ends_within_a_line():
            line = b"\n" + line
        self.path.touch(mode=0o640)
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self._made_whole = True
        if size >= self._max_bytes:
            self._put_aside()

    def newest(self, count: int) -> Iterator[Mapping[str, Any]]:
        """Yield the last lines that can be read, oldest first; none where there is no file."""
        lines: list[bytes] = []
        for path in (self._aside(1), self.path):
            try:
                lines += path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
        for line in lines[-count:]:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value

    def _ends_within_a_line(self) -> bool:
        try:
            with self.path.open("rb") as file:
                if not file.seek(0, os.SEEK_END):
                    return False
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except FileNotFoundError:
            return False

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _put_aside(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            if self._aside(number).exists():
                self._aside(number).replace(self._aside(number + 1))
        if self._kept:
            self.path.replace(self._aside(1))
        else:
            self.path.unlink()
