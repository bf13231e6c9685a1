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
        A buffer of a multiple of four bytes, at most 16 GiB; the interpreter lock
        is not held meanwhile.
    """
    return int(np.frombuffer(data, dtype=_WORD).sum(dtype=np.uint64))


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


def or_borrowed(verdict: Verdict, card: CardValue, uncompressed: CardValue) -> Verdict:
    """Tell a wrong checksum from one that was only carried along by a compressor.

    A compressor keeps the checksum of the image in ZHECKSUM (ZDATASUM) and makes a new
    one for the table. Where the card still has the image's, none was made.

    Parameters
    ----------
    verdict
        What the card says of the bytes.
    card
        CHECKSUM or DATASUM.
    uncompressed
        ZHECKSUM or ZDATASUM.
    """
    if verdict is Verdict.WRONG and card is not None and card == uncompressed:
        return Verdict.BORROWED
    return verdict
