"""The unit that a card states in its comment, against the one of its definition.

`PRESSURE=  745.0 / [hPa] outside` where Pa is defined: the value is either in the wrong
unit or its comment is wrong. Who knows no comments judges by the value alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from astropy import units
from astropy.units import imperial

from translators.checks.keywords import Keyword

_FAHRENHEIT = "deg_F"
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("c", "degc", "deg c", "degrees c", "degree c", "celsius"), "deg_C"),
        **dict.fromkeys(("f", "degf", "deg f", "fahrenheit"), _FAHRENHEIT),
        **dict.fromkeys(("degs", "degrees", "deg.", "degree"), "deg"),
        **dict.fromkeys(("sec", "secs", "sec.", "seconds"), "s"),
        **dict.fromkeys(("msec", "millisec", "milliseconds"), "ms"),
        **dict.fromkeys(("hrs", "hours", "hourangle", "hour angle"), "h"),
        **dict.fromkeys(("days",), "d"),
        **dict.fromkeys(("microns",), "um"),
        **dict.fromkeys(("angstroms",), "Angstrom"),
        **dict.fromkeys(("mb", "mbars", "millibar", "millibars"), "mbar"),
        **dict.fromkeys(("arcsecs", "arcseconds"), "arcsec"),
    }
)
"""What people write, in lower case, to what astropy calls it; `C` alone is no charge in the
header of an image, and an hour angle is stated in hours."""
_PER_PIXEL = re.compile(r"\s*(?:/\s*pix(?:el)?|pix(?:el)?\^?-1)$")
_NAMED = re.compile(r"[A-Za-z%]")
"""A number alone in brackets is no unit."""


def stated_otherwise(stated: str | None, keyword: Keyword) -> bool:
    """Tell whether a card states another unit than its definition.

    Parameters
    ----------
    stated
        Text in the brackets of its comment; None where there is none.
    keyword
        Its definition.

    Returns
    -------
    bool
        False also where one of the texts is no unit that is known: brackets hold time
        scales and formats too.
    """
    if not stated or not keyword.unit or stated == keyword.unit:
        return False
    unit, meant = _unit(stated), _unit(keyword.unit)
    return unit is not None and meant is not None and bool(unit != meant)


def in_defined_unit(number: float, stated: str, keyword: Keyword) -> float | None:
    """Return a number of a stated unit in the unit of the definition; None: that is impossible."""
    unit, meant = _unit(stated), _unit(keyword.unit)
    if unit is None or meant is None:
        return None
    try:
        return float(unit.to(meant, number, equivalencies=units.temperature()))
    except units.UnitConversionError:
        return None


@lru_cache(maxsize=512)
def _unit(text: str) -> Any:
    """Return a unit, None where the text is none."""
    text = _PER_PIXEL.sub("", text.strip())
    if _NAMED.search(text) is None:
        return None
    name = _ALIASES.get(text.lower(), text)
    if name == _FAHRENHEIT:
        return imperial.deg_F  # astropy reads it from text only in a process that asked for it
    for spelled in (name, name.lower()):
        try:
            return units.Unit(spelled)
        except (ValueError, TypeError):
            continue
    return None
