"""What the mandatory cards of a header say of its data: kind, name and length.

FITS standard 4.0, sections 4.4.1 and 7: the data are
``|BITPIX| / 8 x GCOUNT x (PCOUNT + NAXIS1 x ... x NAXISn)`` bytes, without NAXIS1
for random groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from translators.fits.cards import CARD_BYTES, parse_header, parse_value
from translators.inspection import CardValue

BLOCK_BYTES = 2880
"""Length of a FITS block; headers and data are padded to it."""

_STRUCTURAL = (
    *("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT"),
    *("EXTNAME", "CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"),
)
_STRUCTURAL_FIRST = (*_STRUCTURAL, "GROUPS")
_BITPIX = frozenset({8, 16, 32, 64, -32, -64})
_MAX_AXES = 999
"""Largest NAXIS of the standard."""
_MAX_DATA_BYTES = 1 << 63
"""No file system has longer files."""


class StructureError(ValueError):
    """The mandatory cards do not tell how long the data are."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a header says of its HDU."""

    kind: str
    """`PRIMARY` or the XTENSION value."""
    name: str
    data_bytes: int
    """Length of the data without padding."""
    checksum: CardValue
    datasum: CardValue
    uncompressed_checksum: CardValue
    """ZHECKSUM: CHECKSUM of the image before compression."""
    uncompressed_datasum: CardValue
    """ZDATASUM: DATASUM of the image before compression."""

    @property
    def padded_bytes(self) -> int:
        """Length of the data with their padding."""
        return -(-self.data_bytes // BLOCK_BYTES) * BLOCK_BYTES


def structural_cards(header: bytes, *, first: bool) -> Mapping[str, CardValue]:
    """Read the few cards that matter for the structure, and no other.

    Parameters
    ----------
    header
        Up to the END card.
    first
        Whether it is the header of the first HDU.

    A raw of the LSST camera has about 2100 cards in its extensions; reading them
    all would cost a third of the time of the digest.
    """
    cards: dict[str, CardValue] = {}
    for keyword in _STRUCTURAL_FIRST if first else _STRUCTURAL:
        _read_first(header, keyword, cards)
    axes = cards.get("NAXIS")
    if isinstance(axes, int):
        for axis in range(1, min(axes, _MAX_AXES) + 1):
            _read_first(header, f"NAXIS{axis}", cards)
            if f"NAXIS{axis}" not in cards:
                break
    return cards


def _read_first(header: bytes, keyword: str, cards: dict[str, CardValue]) -> None:
    """Read the first card of a keyword, where there is one.

    The search is for the keyword without its blanks, which is several times faster
    in a text that is mostly blanks.
    """
    letters, field = keyword.encode(), f"{keyword:8}".encode()
    start = header.find(letters)
    while start >= 0 and (start % CARD_BYTES or not header.startswith(field, start)):
        start = header.find(letters, start + 1)
    if start >= 0:
        cards[keyword] = _value(header, start)


def _value(header: bytes, start: int) -> CardValue:
    """Read the value of one card, with the cards that continue its string."""
    fixed = header[start + 8 : start + 31]
    if fixed[:2] == b"= " and fixed[2:].strip().isdigit() and fixed[22:] == b" ":
        return int(fixed[2:])
    end = start + CARD_BYTES
    if fixed[:2] == b"= " and not header.startswith(b"CONTINUE", end):
        return parse_value(header[start + 10 : end].decode("latin-1"))[0]
    while header.startswith(b"CONTINUE", end):
        end += CARD_BYTES
    return next(iter(parse_header(header[start:end]).cards.values()), None)


def read_structure(cards: Mapping[str, CardValue], *, first: bool) -> Structure:
    """Work out the structure of an HDU.

    Parameters
    ----------
    cards
        The structural cards of its header, or all.
    first
        Whether it is the first HDU of the file.

    Raises
    ------
    StructureError
        A mandatory card is absent or makes no sense.
    """
    kind = "PRIMARY" if first else _text(cards, "XTENSION")
    bitpix = _integer(cards, "BITPIX")
    if bitpix not in _BITPIX:
        raise StructureError(f"BITPIX is {bitpix}, which the standard does not know")
    axes = _integer(cards, "NAXIS", maximum=_MAX_AXES)
    lengths = [_integer(cards, f"NAXIS{axis}") for axis in range(1, axes + 1)]
    extra, groups = _integer(cards, "PCOUNT", default=0), _integer(cards, "GCOUNT", default=1)
    if first and cards.get("GROUPS") is True and lengths and lengths[0] == 0:
        lengths = lengths[1:]
    elements = math.prod(lengths) if lengths else 0
    data_bytes = abs(bitpix) // 8 * groups * (extra + elements) if axes else 0
    if data_bytes >= _MAX_DATA_BYTES:
        raise StructureError(
            f"NAXIS {axes} with its lengths, PCOUNT and GCOUNT ask for more data than any file has"
        )
    return Structure(
        kind=kind,
        name=_text(cards, "EXTNAME", default="PRIMARY" if first else ""),
        data_bytes=data_bytes,
        checksum=cards.get("CHECKSUM"),
        datasum=cards.get("DATASUM"),
        uncompressed_checksum=cards.get("ZHECKSUM"),
        uncompressed_datasum=cards.get("ZDATASUM"),
    )


def _integer(
    cards: Mapping[str, CardValue],
    keyword: str,
    *,
    default: int | None = None,
    maximum: int | None = None,
) -> int:
    value = cards.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise StructureError(
            f"{keyword} is {'absent' if keyword not in cards else f'{value!r}, not an integer'}"
        )
    if keyword != "BITPIX" and (value < 0 or (maximum is not None and value > maximum)):
        raise StructureError(f"{keyword} is {value}, outside what the standard allows")
    return value


def _text(cards: Mapping[str, CardValue], keyword: str, *, default: str | None = None) -> str:
    value = cards.get(keyword, default)
    if isinstance(value, str):
        return value.strip()
    if default is not None:
        return default
    raise StructureError(f"{keyword} is absent or not a string")
