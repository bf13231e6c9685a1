"""The FITS checksums: DATASUM and CHECKSUM of an HDU.

FITS standard 4.0, appendix J: the 32-bit ones' complement sum over big-endian
words. The sum of the data stands in DATASUM; CHECKSUM is chosen so that the sum
of the whole HDU is minus zero, all bits set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from translators.inspection import CardValue, Verdict

_WORD = np.dtype(">u4")
_MASK = 0xFFFFFFFF
_ROW_WORDS = 1 << 15
"""How many words are summed at once; at most 65536, see `word_sum`."""


def fold(total: int) -> int:
    """Bring a plain sum of 32-bit words to the ones' complement sum."""
    while total > _MASK:
        total = (total & _MASK) + (total >> 32)
    return total


def word_sum(data: Any) -> int:
    """Return the plain sum of the big-endian 32-bit words of a buffer.

    Parameters
    ----------
    data
        A buffer of a multiple of four bytes; the interpreter lock is not held
        while a large one is summed.

    Notes
    -----
    numpy adds 32-bit words into 32-bit sums several times faster than into 64-bit
    ones, but loses the carries. They follow from the sum of the upper halves of
    the words, which has none over up to 65536 words: the true sum lies less than
    ``2**32`` above ``2**16`` times that sum, and is known modulo ``2**32``.
    """
    words = np.frombuffer(data, dtype=_WORD)
    rows = words.size // _ROW_WORDS
    whole = rows * _ROW_WORDS
    total = int(words[whole:].sum(dtype=np.uint64))
    if rows:
        table = words[:whole].astype(np.uint32).reshape(rows, _ROW_WORDS)
        sums = table.sum(axis=1, dtype=np.uint32).tolist()
        np.right_shift(table, 16, out=table)
        for low, upper in zip(sums, table.sum(axis=1, dtype=np.uint32).tolist(), strict=True):
            least = upper << 16
            total += least + ((low - least) & _MASK)
    return total


def datasum_verdict(card: CardValue, data_sum: int) -> Verdict:
    """Compare a DATASUM card with the sum of the data.

    Parameters
    ----------
    card
        Value of the card; absent, undefined and empty count as absent.
    data_sum
        Ones' complement sum of the data with their padding.
    """
    if card is None or card == "":
        return Verdict.ABSENT
    try:
        stated = int(str(card))
    except ValueError:
        return Verdict.WRONG
    return Verdict.GOOD if stated == data_sum else Verdict.WRONG


def checksum_verdict(card: CardValue, hdu_sum: int) -> Verdict:
    """Tell whether the sum over an HDU is zero, as its CHECKSUM card makes it.

    Parameters
    ----------
    card
        Value of the card; absent, undefined and empty count as absent.
    hdu_sum
        Ones' complement sum of header and data with their padding.
    """
    if card is None or card == "":
        return Verdict.ABSENT
    return Verdict.GOOD if hdu_sum in {0, _MASK} else Verdict.WRONG
