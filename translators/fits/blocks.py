"""Walk the blocks of a FITS file as they are read, without keeping its data.

`BlockWalker` is fed whole blocks in file order and remembers where each HDU
begins, its header, and the sums for its checksums. It never raises for what is
in the blocks: what breaks the rules becomes a finding, and where the next HDU
cannot be found the rest of the file is only counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from translators.findings import Finding, Severity
from translators.fits.cards import CARD_BYTES
from translators.fits.checksums import fold, word_sum
from translators.fits.packed import may_be_packed
from translators.fits.structure import (
    BLOCK_BYTES,
    Structure,
    StructureError,
    read_structure,
    structural_cards,
)

_END = b"END     "
_PRINTABLE = bytes(range(0x20, 0x7F))
_HEADER_WINDOW_BYTES = 8 * BLOCK_BYTES
"""How much is searched for an END card at once."""

_MAX_HEADER_BYTES = 5000 * BLOCK_BYTES
"""Where a header without END is given up; 180 000 cards are more than any has."""


@dataclass(slots=True)
class WalkedHdu:
    """One HDU as far as it was seen."""

    index: int
    offset: int
    header: bytes = b""
    """The header up to its END card, without it; kept for the first HDU, and for the
    second where it is the table of a packed image."""
    header_bytes: int = 0
    """Length of the header with its padding."""
    structure: Structure | None = None
    """None where the header is broken or cut."""
    data_bytes: int = 0
    """Padded data that were seen."""
    words: int = 0
    """Plain sum over header and data."""
    data_words: int = 0
    """Plain sum over the data."""

    @property
    def complete(self) -> bool:
        """True when header and data with their padding were seen to the end."""
        return self.structure is not None and self.data_bytes == self.structure.padded_bytes

    @property
    def data_sum(self) -> int:
        """Ones' complement sum of the data."""
        return fold(self.data_words)

    @property
    def hdu_sum(self) -> int:
        """Ones' complement sum of header and data."""
        return fold(self.words)


@dataclass(slots=True)
class BlockWalker:
    """Finds the HDUs in a stream of blocks."""

    hdus: list[WalkedHdu] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    position: int = 0
    """Bytes seen."""
    _header: bytearray = field(default_factory=bytearray)
    _data_left: int = 0
    _trailing: int = 0
    _trailing_blank: bool = True
    _state: Callable[[memoryview], int] = field(init=False)

    def __post_init__(self) -> None:
        self._state = self._begin_hdu

    def feed(self, blocks: memoryview) -> None:
        """Take the next bytes of the file.

        Parameters
        ----------
        blocks
            A whole number of blocks; only the last of the file may be cut.
        """
        taken = 0
        while taken < len(blocks):
            used = self._state(blocks[taken:])
            self.position += used
            taken += used

    def finish(self) -> None:
        """Say that the file has ended, and conclude."""
        state = self._state
        if state == self._more_header:
            self._cut_header()
        elif state == self._more_data and self._data_left:
            self._cut_data()
        elif self._trailing:
            self._report_trailing()

    # States. Each takes from the start of what it is given and tells how much.

    def _begin_hdu(self, blocks: memoryview) -> int:
        """Look at the first block of an HDU, or at what stands where one might."""
        start = bytes(blocks[:9])
        if not self.hdus and start != b"SIMPLE  =":
            self._not_fits(bytes(blocks[:BLOCK_BYTES]))
            self._state = self._skip
            return 0
        if self.hdus and not start.startswith(b"XTENSION"):
            self._state = self._trail
            return 0
        self.hdus.append(WalkedHdu(index=len(self.hdus), offset=self.position))
        self._header = bytearray()
        self._state = self._more_header
        return 0

    def _more_header(self, blocks: memoryview) -> int:
        """Take header up to its END card; several blocks at once, as most headers have some."""
        window = bytes(blocks[:_HEADER_WINDOW_BYTES])
        end = _find_end(window)
        if not _is_header_text(window, end) or len(self._header) > _MAX_HEADER_BYTES:
            self._missing_end()
            return 0
        if end < 0:
            self._header += window
            return len(window)
        header_end = (end // BLOCK_BYTES + 1) * BLOCK_BYTES
        self._header += window[:header_end]
        if len(window) >= header_end:
            self._end_header(len(self._header) - header_end + end)
        return min(len(window), header_end)

    def _more_data(self, blocks: memoryview) -> int:
        part = blocks[: self._data_left]
        hdu = self.hdus[-1]
        words = word_sum(part[: len(part) // 4 * 4])
        hdu.data_words += words
        hdu.words += words
        hdu.data_bytes += len(part)
        self._data_left -= len(part)
        if not self._data_left:
            self._state = self._begin_hdu
        return len(part)

    def _trail(self, blocks: memoryview) -> int:
        if self._trailing_blank:
            rest = bytes(blocks)
            self._trailing_blank = not rest.strip(b"\0") or not rest.strip(b" ")
        self._trailing += len(blocks)
        return len(blocks)

    def _skip(self, blocks: memoryview) -> int:
        return len(blocks)

    # Conclusions.

    def _end_header(self, end: int) -> None:
        hdu = self.hdus[-1]
        header, hdu.header_bytes = bytes(self._header[:end]), len(self._header)
        if (following := _following_hdu(header)) is not None:
            self._header = self._header[:following]
            self._missing_end()
            return
        hdu.header = header if hdu.index == 0 or (hdu.index == 1 and may_be_packed(header)) else b""
        hdu.words = word_sum(self._header)
        try:
            cards = structural_cards(header, first=hdu.index == 0)
            hdu.structure = read_structure(cards, first=hdu.index == 0)
        except StructureError as error:
            self._find(
                "structure.mandatory_card",
                f"HDU {hdu.index}: {error}; where its data end is unknown, so nothing after "
                "this header was looked at",
            )
            self._state = self._skip
            return
        self._data_left = hdu.structure.padded_bytes
        self._state = self._more_data if self._data_left else self._begin_hdu

    def _not_fits(self, block: bytes) -> None:
        text = block.isascii()
        looks = "text" if text else "binary data"
        self._find(
            "structure.not_fits",
            f"the file does not begin with SIMPLE  = but looks like {looks} "
            f"({block[:24]!r}); it is no FITS file. Find out which program wrote it",
            hdu=None,
        )

    def _missing_end(self) -> None:
        hdu = self.hdus[-1]
        self._keep_header()
        self._find(
            "structure.missing_end",
            f"HDU {hdu.index}: the header that begins at byte {hdu.offset} has no END card "
            f"within {len(self._header)} bytes; where its data begin is unknown",
        )
        self._state = self._skip

    def _cut_header(self) -> None:
        hdu = self.hdus[-1]
        self._keep_header()
        rest = len(self._header) % BLOCK_BYTES
        where = "behind" if _find_end(bytes(self._header[-rest:])) >= 0 else "before"
        self._find(
            "structure.truncated",
            f"the file ends after {len(self._header)} bytes of the header of HDU {hdu.index}, "
            f"{where} its END card; at least {BLOCK_BYTES - rest} bytes are missing. "
            "Ask the camera for the file again",
        )

    def _cut_data(self) -> None:
        hdu = self.hdus[-1]
        total = hdu.data_bytes + self._data_left
        self._find(
            "structure.truncated",
            f"the file ends after {hdu.data_bytes} of {total} bytes of the data of HDU "
            f"{hdu.index}; {self._data_left} bytes are missing. Ask the camera for the file again",
        )

    def _report_trailing(self) -> None:
        what = "blank filling" if self._trailing_blank else "bytes that are no HDU"
        self.findings.append(
            Finding(
                "structure.trailing_bytes",
                Severity.WARNING if self._trailing_blank else Severity.ERROR,
                f"after the last HDU there are {self._trailing} bytes of {what}; something was "
                "written to the file after it was finished",
            )
        )

    def _keep_header(self) -> None:
        """Keep the whole cards of a header without an end, so that they can be read."""
        hdu = self.hdus[-1]
        hdu.header_bytes = len(self._header)
        if hdu.index == 0:
            hdu.header = bytes(self._header[: len(self._header) // CARD_BYTES * CARD_BYTES])

    def _find(self, code: str, sentence: str, *, hdu: int | None = -1) -> None:
        index = self.hdus[-1].index if hdu == -1 else hdu
        self.findings.append(Finding(code, Severity.ERROR, sentence, index))


def _find_end(header: bytes) -> int:
    """Return where the END card in some blocks of a header begins, -1 where there is none.

    Only the first letters of the cards are searched: a search for the whole card
    would stop at every blank.
    """
    firsts = header[::CARD_BYTES]
    number = firsts.find(b"E")
    while number >= 0 and not header.startswith(_END, number * CARD_BYTES):
        number = firsts.find(b"E", number + 1)
    return number * CARD_BYTES if number >= 0 else -1


def _following_hdu(header: bytes) -> int | None:
    """Return where the next HDU begins in a header that has swallowed it, for want of END."""
    for start in range(BLOCK_BYTES, len(header), BLOCK_BYTES):
        if header.startswith(b"XTENSION=", start):
            return start
    return None


def _is_header_text(header: bytes, end: int) -> bool:
    """Tell whether every card up to END, or all without one, could be a card."""
    firsts = header[: end if end >= 0 else None : CARD_BYTES]
    return not firsts.translate(None, _PRINTABLE)
