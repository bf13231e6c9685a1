"""A recording: gzip-compressed JSON lines, one file or several numbered ones.

::

    {"arriero_recording": 1, "part": 0, "bus": "kafka://...", "begun": "2026-11-21T03:04:05+00:00"}
    {"schema": 1, "text": "{...}"}
    {"received": 1795273035.97, "topic": "MTCamera.logevent_startIntegration", "index": 0,
     "sent": 1795273035.96, "sequence": 1, "identity": "MTCamera", "origin": 24451,
     "historical": false, "schema": 1, "fields": {...}}

Times are TAI seconds. `schema` numbers the Avro schema that the message was written with;
it stands in each file before the first message that names it, so that every file can be
read alone. JSON lacks NaN and the infinities: they are written as Python and JavaScript
write them. What was flushed can be read, also when the recorder was killed in a write.

Exceptions::

    RecordingError    (ArrieroError) no recording, or one that is damaged
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import structlog

from daemons.bus.interface import ControlMessage, Topic
from daemons.runtime.clock import TaiSeconds
from daemons.runtime.errors import ArrieroError

FORM = 1
"""Version of the form."""
_GZIP = 31
"""zlib's `wbits` for gzip framing."""
_CHUNK = 1 << 16
_LEVEL = 6
_log = structlog.get_logger(__name__)


class RecordingError(ArrieroError):
    """No recording, or one that is damaged."""

    code = "recording.unusable"
    exit_code = 65


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message and when it came."""

    received: float
    """TAI seconds."""
    message: ControlMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a recording goes on in another file."""

    max_bytes: int = 256 * 1024 * 1024
    """Compressed size."""
    max_s: float = 3600.0
    """Span of the times of arrival."""


def part_path(path: Path, number: int) -> Path:
    """Return the name of a part: `night.jsonl.gz`, `night-0001.jsonl.gz`, ..."""
    if not number:
        return path
    stem, dot, suffixes = path.name.partition(".")
    return path.with_name(f"{stem}-{number:04d}{dot}{suffixes}")


class RecordingWriter:
    """Writes a recording: for one thread.

    Parameters
    ----------
    path
        The first file; it must not exist.
    about
        Added to the first line of each file.
    rotation
        When the next file is begun.
    """

    def __init__(
        self, path: Path, *, about: Mapping[str, Any], rotation: Rotation | None = None
    ) -> None:
        self._path = path
        self._about = dict(about)
        self._rotation = rotation or Rotation()
        self._part = 0
        self._schemas: dict[str, int] = {}
        self._began: float | None = None
        self._file: BinaryIO
        self._open()

    @property
    def parts(self) -> int:
        """Files so far."""
        return self._part + 1

    def write(self, batch: Iterable[Recorded]) -> None:
        """Add messages; they can be read when this returns, whatever happens to the process.

        Raises
        ------
        OSError
            They could not be written.
        """
        for recorded in batch:
            if self._is_full(recorded.received):
                self.close()
                self._part += 1
                self._open()
            if self._began is None:
                self._began = recorded.received
            self._add(recorded)
        self._flush()

    def close(self) -> None:
        """End the file. Idempotent."""
        if self._file.closed:
            return
        self._file.write(self._compressor.flush(zlib.Z_FINISH))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _open(self) -> None:
        path = part_path(self._path, self._part)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = path.open("xb")
        except FileExistsError as error:
            raise RecordingError(
                f"{path} exists, and a recording overwrites nothing: name another file"
            ) from error
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._schemas.clear()
        self._began = None
        begun = datetime.now(tz=UTC).isoformat(timespec="seconds")
        self._line({"arriero_recording": FORM, "part": self._part, "begun": begun} | self._about)
        self._flush()

    def _is_full(self, received: float) -> bool:
        return (
            self._file.tell() >= self._rotation.max_bytes
            or received - (self._began or received) >= self._rotation.max_s
        )

    def _add(self, recorded: Recorded) -> None:
        message = recorded.message
        entry = {
            "received": recorded.received,
            "topic": f"{message.topic.component}.{message.topic.name}",
            "index": message.topic.index,
            "sent": float(message.sent),
            "sequence": message.sequence,
            "identity": message.identity,
            "origin": message.origin,
            "historical": message.historical,
            "schema": self._schema(message.schema),
            "fields": dict(message.fields),
        }
        self._line(entry)

    def _schema(self, text: str | None) -> int | None:
        if text is None:
            return None
        number = self._schemas.get(text)
        if number is None:
            number = self._schemas[text] = len(self._schemas) + 1
            self._line({"schema": number, "text": text})
        return number

    def _line(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        self._file.write(self._compressor.compress(line))

    def _flush(self) -> None:
        self._file.write(self._compressor.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()


def read_recording(path: Path) -> Iterator[Recorded]:
    """Yield the messages of a recording and of its further parts, in the order of arrival.

    A file that ends within a line, because its recorder was killed, ends with the last whole
    one.

    Raises
    ------
    RecordingError
        There is no such file, it is no recording, or it is damaged within; what stands before
        the damage was yielded.
    """
    number = 0
    while not number or part_path(path, number).exists():
        yield from _read_part(part_path(path, number))
        number += 1


def _read_part(path: Path) -> Iterator[Recorded]:
    schemas: dict[int, str] = {}
    expects_head = True
    for number, line in enumerate(_lines(path), start=1):
        try:
            entry = json.loads(line)
            if expects_head:
                _check_head(path, entry)
                expects_head = False
            elif "text" in entry:
                schemas[int(entry["schema"])] = str(entry["text"])
            else:
                yield _recorded(entry, schemas)
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{path} is damaged in line {number} ({error!r}): what stands before can be used"
            ) from error
    if expects_head:
        raise RecordingError(f"{path} is empty: nothing was recorded in it")


def _check_head(path: Path, entry: Any) -> None:
    form = entry.get("arriero_recording") if isinstance(entry, dict) else None
    if form is None:
        raise RecordingError(f"{path} is no recording of `arriero bus record`")
    if form != FORM:
        raise RecordingError(f"{path} has form {form}, this program reads form {FORM}: upgrade it")


def _recorded(entry: Mapping[str, Any], schemas: Mapping[int, str]) -> Recorded:
    component, _, name = str(entry["topic"]).partition(".")
    schema = entry["schema"]
    return Recorded(
        received=float(entry["received"]),
        message=ControlMessage(
            topic=Topic(component, name, int(entry["index"])),
            fields=MappingProxyType(dict(entry["fields"])),
            sent=TaiSeconds(float(entry["sent"])),
            sequence=int(entry["sequence"]),
            identity=str(entry["identity"]),
            origin=int(entry["origin"]),
            historical=bool(entry["historical"]),
            schema=None if schema is None else schemas[int(schema)],
        ),
    )


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file."""
    rest = b""
    for piece in _decompressed(path):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        _log.warning("recording_cut_short", path=str(path), hint="its recorder was killed")


def _decompressed(path: Path) -> Iterator[bytes]:
    stream = zlib.decompressobj(_GZIP)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield stream.decompress(chunk)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read ({error.strerror}): name a file") from error
    except zlib.error as error:
        raise RecordingError(
            f"{path} is no recording of `arriero bus record`, or damaged ({error})"
        ) from error
