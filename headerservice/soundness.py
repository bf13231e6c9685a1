"""Which values a header can hold: the last look before one is written."""

from __future__ import annotations

import math
import sys

LARGEST_INT = 2**63 - 1
"""Whole numbers beyond this are no count of anything, and readers cannot hold them."""


def flaw_of(value: object) -> str:
    """Return what is wrong with a value, such as `infinite`; empty where nothing is."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, float):
        return flaw_of_float(value)
    if isinstance(value, int):
        return "" if -LARGEST_INT <= value <= LARGEST_INT else "too large a whole number"
    if isinstance(value, str):
        return "" if value.isascii() and value.isprintable() else "no printable text"
    return f"a {type(value).__name__}"


def flaw_of_float(value: float) -> str:
    """Return what is wrong with a number; empty where it can be one that was measured."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value and abs(value) < sys.float_info.min:
        return "denormal, as uninitialised memory is"
    return ""


def number_of(value: object) -> float | None:
    """Return what the bus says as a finite number; None where it is none, however large it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
