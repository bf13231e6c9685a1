"""Warns before the table of leap seconds runs out: pure."""

from __future__ import annotations

from datetime import datetime

from daemons.runtime.clock import leap_seconds_expire
from translators.findings import Finding, Severity

WARN_DAYS = 30
"""So many days before the table runs out it is told."""


def leap_second_finding(now: datetime, expires: datetime | None = None) -> Finding | None:
    """Return that the table of leap seconds runs out soon or has run out; None while it holds.

    Parameters
    ----------
    now
        The present instant, with time zone.
    expires
        Until when the table holds; None: as the installed one says.
    """
    until = leap_seconds_expire() if expires is None else expires
    days = (until - now).total_seconds() / 86_400.0
    if days > WARN_DAYS:
        return None
    hint = "update the package astropy-iers-data and restart"
    if days > 0:
        sentence = f"the table of leap seconds holds until {until:%Y-%m-%d}: {hint}"
        return Finding("clock.leap_seconds_expire", Severity.WARNING, sentence)
    sentence = (
        f"the table of leap seconds ran out on {until:%Y-%m-%d}: should a leap second have been "
        f"announced since, dates in UTC are wrong by it; {hint}"
    )
    return Finding("clock.leap_seconds_expired", Severity.ERROR, sentence)
