"""Factors between units, and the period of an angle in any unit.

astropy knows the units; it is imported at the first use, for it takes half a second.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_HOUR_PERIOD = 24.0
"""An hour angle in hours comes round after so many."""


@cache
def _unit(name: str) -> Any:
    from astropy import units  # noqa: PLC0415 - slow to import, and needed only at start

    try:
        return units.Unit(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is no unit that astropy knows") from error


def factor(source: str, target: str) -> float:
    """Return what a value in one unit is multiplied by to be in another.

    Raises
    ------
    ValueError
        Not a unit, or not a matter of multiplication.
    """
    from astropy import units  # noqa: PLC0415 - as above

    try:
        return float(_unit(source).to(_unit(target)))
    except units.UnitConversionError as error:
        raise ValueError(f"{source} cannot be converted to {target} by a factor") from error


def same(one: str, other: str) -> bool:
    """Return whether two names mean the same unit.

    Raises
    ------
    ValueError
        Not a unit.
    """
    return bool(_unit(one) == _unit(other))


def is_plain(name: str) -> bool:
    """Return whether a name stands for no unit at all, as `dimensionless` does.

    Raises
    ------
    ValueError
        Not a unit.
    """
    return same(name, "")


def period(unit: str) -> float:
    """Return a full turn in a unit of angle; hours count as hour angle.

    Raises
    ------
    ValueError
        Not a unit of angle.
    """
    if same(unit, "h"):
        return _HOUR_PERIOD
    return factor("deg", unit) * 360.0
