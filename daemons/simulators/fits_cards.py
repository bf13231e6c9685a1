"""FITS headers as bytes: cards, sections and checksums.

astropy writes the cards; the checksum of an HDU is made from the sum of its header and
the known sum of its data, so that a data unit is summed once however many files it
goes into.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from astropy.io import fits

from translators.fits.checksums import fold, word_sum
from translators.inspection import CardValue

BLOCK_BYTES = 2880
"""Length of a FITS block."""
CARD_BYTES = 80
"""Length of a card."""
CHECKSUM_COMMENT = "makes the sum of the HDU zero"
"""Of the CHECKSUM card."""
DATASUM_COMMENT = "sum of the data"
"""Of the DATASUM card."""
END_CARD = b"END".ljust(CARD_BYTES)
"""The last card of a header."""

_COMMENT_COLUMN = 30
_NO_CHECKSUM = "0" * 16
_PUNCTUATION = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def card(keyword: str, value: CardValue = None, comment: str = "") -> bytes:
    """Return a card of 80 bytes (more for a text that needs CONTINUE cards).

    Parameters
    ----------
    keyword
        With `HIERARCH ` in front where it is longer than eight characters.
    value
        None, and a float that is no number, give an undefined value.
    comment
        Cut where it does not fit.
    """
    if isinstance(value, float):
        value = value + 0.0 if math.isfinite(value) else None
    elif isinstance(value, str):
        value = value.encode("ascii", "replace").decode()
    return _card(keyword, value, comment)


@lru_cache(maxsize=8192, typed=True)
def _card(keyword: str, value: CardValue, comment: str) -> bytes:
    image = str(fits.Card(keyword, value).image)
    if comment and len(image) <= CARD_BYTES:
        image = f"{image.rstrip().ljust(_COMMENT_COLUMN)} / {comment}"[:CARD_BYTES].ljust(
            CARD_BYTES
        )
    return image.encode("ascii")


def section(title: str) -> bytes:
    """Return the card that stands above a group of cards."""
    return f"        ---- {title} ----".ljust(CARD_BYTES)[:CARD_BYTES].encode("ascii")


def blank() -> bytes:
    """Return an empty card."""
    return b" " * CARD_BYTES


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """Fill up to a whole number of blocks."""
    return data + fill * (-len(data) % BLOCK_BYTES)


def data_sum(data: bytes) -> int:
    """Return the ones' complement sum of a padded data unit."""
    return fold(word_sum(data))


def seal(cards: Iterable[bytes], summed: int) -> tuple[bytes, str]:
    """Finish a header: checksum cards, END, padding.

    Parameters
    ----------
    cards
        All other cards.
    summed
        Ones' complement sum of the data unit.

    Returns
    -------
    tuple
        The header, and the value of its CHECKSUM card.
    """
    body = b"".join(cards)
    tail = card("DATASUM", str(summed), DATASUM_COMMENT) + END_CARD
    header = padded(body + _checksum_card(_NO_CHECKSUM) + tail, b" ")
    value = encode_checksum(fold(word_sum(header) + summed))
    return padded(body + _checksum_card(value) + tail, b" "), value


def _checksum_card(value: str) -> bytes:
    return f"CHECKSUM= '{value}'   / {CHECKSUM_COMMENT}".ljust(CARD_BYTES).encode("ascii")


def encode_checksum(total: int) -> str:
    """Return the 16 characters that bring an HDU's sum to minus zero.

    FITS standard 4.0, appendix J: each byte of the complement is spread over four
    letters and digits, which are then rotated by one place.

    Parameters
    ----------
    total
        Ones' complement sum of the HDU with sixteen times `0` in its CHECKSUM card.
    """
    letters = [0] * 16
    for place, byte in enumerate((0xFFFFFFFF - total).to_bytes(4, "big")):
        share, rest = divmod(byte, 4)
        quarter = [share + rest + 0x30, share + 0x30, share + 0x30, share + 0x30]
        while not _PUNCTUATION.isdisjoint(quarter):
            for left in (0, 2):
                if not _PUNCTUATION.isdisjoint(quarter[left : left + 2]):
                    quarter[left] += 1
                    quarter[left + 1] -= 1
        letters[place::4] = quarter
    return bytes(letters[-1:] + letters[:-1]).decode("ascii")
