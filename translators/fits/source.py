"""Bytes of a file in whole FITS blocks, plain or unwrapped from gzip."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from translators.fits.structure import BLOCK_BYTES

CHUNK_BYTES = 256 * BLOCK_BYTES
"""How much is read and worked on at once, 0.7 MiB: it stays in a core's cache between
reading, hashing and summing, and is large enough that taking the interpreter lock
again does not count."""

GZIP_MAGIC = b"\x1f\x8b"
"""How a gzip file begins."""

_GZIP_WINDOW = 31
"""zlib's window bits for a gzip wrapper."""

_GZIP_PIECE_BYTES = 1 << 15
"""How much the inflater is given at once. At the end of each member it copies what is
left of it, which would take hours for a file of a million tiny members."""


_own = threading.local()


def chunk_buffer() -> memoryview:
    """Return the buffer of this thread, which is used again for every file."""
    buffer: memoryview | None = getattr(_own, "buffer", None)
    if buffer is None:
        buffer = _own.buffer = memoryview(bytearray(CHUNK_BYTES))
    return buffer


@dataclass(slots=True)
class GzipUnwrapper:
    """Feeds the content of a gzip file on in whole blocks, with bounded memory."""

    sink: Callable[[memoryview], None]
    """Takes whole blocks; the last call may bring a cut one."""
    size_bytes: int = 0
    """Bytes of content so far."""
    fault: str = ""
    """What is wrong with the wrapper; empty while nothing is."""
    trailing_bytes: int = 0
    """Bytes behind the last member that begin no other."""
    trailing_blank: bool = True
    """Whether all of them are zero, as a tape or a block device fills up."""
    _inflater: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(_GZIP_WINDOW))
    _kept: bytes = b""
    _between: bytes = b""
    """The first byte behind a member, while the next is not known."""

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes of the gzip file."""
        for start in range(0, len(chunk), _GZIP_PIECE_BYTES):
            self._feed(bytes(chunk[start : start + _GZIP_PIECE_BYTES]))

    def _feed(self, raw: bytes) -> None:
        while raw and not self.fault:
            if self._inflater.eof:
                raw = self._begin_member(raw)
            else:
                self._pass_on(self._inflate(raw))
                raw = self._inflater.unconsumed_tail or self._inflater.unused_data

    def finish(self) -> None:
        """Say that the gzip file has ended."""
        while not self.fault and not self._inflater.eof:
            # What the inflater still holds back.
            content = self._inflate(b"")
            if not content:
                break
            self._pass_on(content)
        if not self.fault and not self._inflater.eof:
            self.fault = "the compressed data end too early"
        self._trail(self._between)
        if self._kept:
            self.sink(memoryview(self._kept))
            self._kept = b""

    def _begin_member(self, raw: bytes) -> bytes:
        """Take the next member's beginning, which may lie in two chunks, or what is none."""
        start = self._between + raw
        self._between = b""
        if self.trailing_bytes == 0 and start == GZIP_MAGIC[:1]:
            self._between = start
            return b""
        if self.trailing_bytes == 0 and start.startswith(GZIP_MAGIC):
            self._inflater = zlib.decompressobj(_GZIP_WINDOW)
            return start
        self._trail(start)
        return b""

    def _trail(self, rest: bytes) -> None:
        self.trailing_bytes += len(rest)
        self.trailing_blank = self.trailing_blank and not rest.strip(b"\0")

    def _inflate(self, raw: bytes) -> bytes:
        try:
            return self._inflater.decompress(raw, CHUNK_BYTES)
        except zlib.error as error:
            self.fault = str(error)
            return b""

    def _pass_on(self, content: bytes) -> None:
        self.size_bytes += len(content)
        content = self._kept + content
        whole = len(content) // BLOCK_BYTES * BLOCK_BYTES
        if whole:
            self.sink(memoryview(content)[:whole])
        self._kept = content[whole:]
