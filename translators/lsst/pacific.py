"""The clock of the laboratory in California, for images taken there.

A rule and no time zone database: a camera host may have none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_STANDARD_HOURS = 8
_SUNDAY = 6
"""As `datetime.weekday` counts."""


def pacific_offset_hours(moment: datetime) -> int:
    """Return by how many hours US Pacific time is behind UTC: 7 in summer, 8 in winter.

    Parameters
    ----------
    moment
        UTC, 2007 or later: summer time is from the second Sunday of March to the
        first Sunday of November, changing at two o'clock.
    """
    moment = moment.replace(tzinfo=None)
    begin = _sunday(moment.year, month=3, which=2) + timedelta(hours=2 + _STANDARD_HOURS)
    end = _sunday(moment.year, month=11, which=1) + timedelta(hours=2 + _STANDARD_HOURS - 1)
    return _STANDARD_HOURS - 1 if begin <= moment < end else _STANDARD_HOURS


def _sunday(year: int, *, month: int, which: int) -> datetime:
    first = datetime(year, month, 1)  # noqa: DTZ001 - UTC throughout, as documented
    return first + timedelta(days=(_SUNDAY - first.weekday()) % 7 + 7 * (which - 1))
