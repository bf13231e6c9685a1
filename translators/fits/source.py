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
    _inflater: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(_GZIP_WINDOW))
    _kept: bytes = b""

    def feed(self, raw: bytes) -> None:
        """Take the next bytes of the gzip file."""
        while raw and not self.fault:
            if self._inflater.eof:
                if not raw.startswith(GZIP_MAGIC):
                    return
                self._inflater = zlib.decompressobj(_GZIP_WINDOW)
            try:
                content = self._inflater.decompress(raw, CHUNK_BYTES)
            except zlib.error as error:
                self.fault = str(error)
                return
            self._pass_on(content)
            raw = self._inflater.unconsumed_tail or self._inflater.unused_data

    def finish(self) -> None:
        """Say that the gzip file has ended."""
        self._drain()
        if not self.fault and not self._inflater.eof:
            self.fault = "the compressed data end too early"
        if self._kept:
            self.sink(memoryview(self._kept))
            self._kept = b""

    def _drain(self) -> None:
        """Pass on what the inflater still holds back."""
        while not self.fault and not self._inflater.eof:
            content = self._inflater.decompress(b"", CHUNK_BYTES)
            if not content:
                return
            self._pass_on(content)

    def _pass_on(self, content: bytes) -> None:
        self.size_bytes += len(content)
        content = self._kept + content
        whole = len(content) // BLOCK_BYTES * BLOCK_BYTES
        if whole:
            self.sink(memoryview(content)[:whole])
        self._kept = content[whole:]
