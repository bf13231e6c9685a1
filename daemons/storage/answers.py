"""What comes back on an HTTP/1.1 connection, taken as it comes (RFC 9112).

Pure: bytes in, an answer out. Only what object stores send is understood; anything
else is a `MalformedAnswerError`, and its connection is not used again.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 16 << 20
"""An answer to an upload or a question is a few hundred bytes; parts are listed in some kB."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_FIRST_FINAL = 200
_NO_CONTENT = 204
_NOT_MODIFIED = 304


class MalformedAnswerError(Exception):
    """What came is no HTTP/1.1 answer; never leaves this room."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names; of several fields of one name the last."""
    body: bytes
    closes: bool
    """The connection is of no further use."""

    @property
    def date(self) -> datetime | None:
        """When the far end answered, by its own clock."""
        try:
            return parsedate_to_datetime(self.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return None

    def element(self, name: str) -> str:
        """Return the text of the first XML element of that name in the body, or nothing."""
        found = re.search(rf"<{name}>([^<]*)</{name}>", self.body.decode("utf-8", "replace"))
        return html.unescape(found[1]).strip() if found else ""


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    headers: Mapping[str, str]
    closes: bool


class AnswerReader:
    """Takes the bytes of one answer.

    Parameters
    ----------
    bodiless
        The request was a HEAD: no body follows, whatever the headers say.
    """

    def __init__(self, *, bodiless: bool = False) -> None:
        self._bodiless = bodiless
        self._buffer = bytearray()
        self._head: _Head | None = None
        self.answer: Answer | None = None
        self.begun = False
        """Something came."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes, or the end of the connection (no bytes).

        Returns
        -------
        complete
            The answer is whole.

        Raises
        ------
        MalformedAnswerError
            This is no answer, or it was cut off.
        """
        if not chunk:
            self._ended()
            return True
        self.begun = True
        self._buffer += chunk
        while self._head is None:
            if not self._take_head():
                return False
        self._take_body(self._head)
        return self.answer is not None

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise MalformedAnswerError("its headers have no end")
            return False
        line, *fields = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        status = _STATUS_LINE.fullmatch(line)
        if status is None:
            raise MalformedAnswerError(f"it begins with {line[:40]!r}")
        headers = dict(_field(field) for field in fields)
        code = int(status[2])
        if code < _FIRST_FINAL:  # 100 Continue and the like: the answer is yet to come
            return bool(self._buffer)
        keeps = headers.get("connection", "").lower()
        closes = keeps == "close" if status[1] == b"1" else keeps != "keep-alive"
        self._head = _Head(code, headers, closes)
        return True

    def _take_body(self, head: _Head) -> None:
        if self._bodiless or head.status in {_NO_CONTENT, _NOT_MODIFIED}:
            self._finish(head, b"", 0)
        elif "chunked" in head.headers.get("transfer-encoding", "").lower():
            self._take_chunks(head)
        elif "content-length" in head.headers:
            self._take_counted(head, head.headers["content-length"])
        if self.answer is None and len(self._buffer) > _MAX_BODY_BYTES:
            raise MalformedAnswerError("its body is longer than any answer of a store")

    def _take_counted(self, head: _Head, length: str) -> None:
        if not length.isascii() or not length.isdigit():
            raise MalformedAnswerError(f"its length is {length[:40]!r}")
        if len(self._buffer) >= int(length):
            self._finish(head, bytes(self._buffer[: int(length)]), int(length))

    def _take_chunks(self, head: _Head) -> None:
        body, at = bytearray(), 0
        while (end := self._buffer.find(b"\r\n", at)) >= 0:
            size = _CHUNK.fullmatch(bytes(self._buffer[at:end]))
            if size is None:
                raise MalformedAnswerError("the size of a chunk is missing")
            length = int(size[1], 16)
            at = end + 2
            if length == 0:
                self._take_trailers(head, bytes(body), at)
                return
            if len(self._buffer) < at + length + 2:
                return
            body += self._buffer[at : at + length]
            at += length + 2

    def _take_trailers(self, head: _Head, body: bytes, at: int) -> None:
        while (end := self._buffer.find(b"\r\n", at)) >= 0:
            if end == at:
                self._finish(head, body, end + 2)
                return
            at = end + 2

    def _ended(self) -> None:
        head = self._head
        counted = {"content-length", "transfer-encoding"}
        if head is None or counted & head.headers.keys():
            raise MalformedAnswerError("the connection ended before the answer did")
        self._finish(head, bytes(self._buffer), len(self._buffer), closes=True)

    def _finish(self, head: _Head, body: bytes, used: int, *, closes: bool = False) -> None:
        # What follows an answer belongs to nothing that was asked.
        closes = closes or head.closes or len(self._buffer) > used
        self.answer = Answer(head.status, head.headers, body, closes)


def _field(line: bytes) -> tuple[str, str]:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise MalformedAnswerError(f"one of its headers is {line[:40]!r}")
    return field[1].decode().lower(), field[2].decode("latin-1")
