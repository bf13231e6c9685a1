"""Comments of cards, of which the units are used: `EXPTIME = 30.0 / [s] exposure time`.

A header's values are read for every image; its comments only where somebody asks.
"""

from __future__ import annotations

import re

from translators.fits.cards import CARD_BYTES, split_card

_UNIT = re.compile(r"\s*\[\s*([^\[\]]{1,30}?)\s*\]")
_STRING = re.compile(r"\s*'(?:[^']|'')*'")


def card_units(header: bytes) -> dict[str, str]:
    """Return the units that the cards of a header state, FITS standard 4.0, section 4.3.2.

    Parameters
    ----------
    header
        As `Inspection.header_block` has it: whole cards, END may be among them.

    Returns
    -------
    dict
        Keyword (HIERARCH without the prefix) to the text in the brackets that the comment
        begins with; of a keyword that stands twice, the first.
    """
    units: dict[str, str] = {}
    seen: set[str] = set()
    text = header.decode("latin-1")
    for start in range(0, len(text), CARD_BYTES):
        keyword, field, _ = split_card(text[start : start + CARD_BYTES])
        if field is None or keyword in seen:
            continue
        seen.add(keyword)
        if "[" in field and (unit := _UNIT.match(_comment(field))):
            units[keyword] = unit[1]
    return units


def _comment(field: str) -> str:
    """Return what stands behind the slash of a value field; nothing behind an open string."""
    if field.lstrip().startswith("'"):
        string = _STRING.match(field)
        field = field[string.end() :] if string else ""
    return field.partition("/")[2]
