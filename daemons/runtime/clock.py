"""Time: TAI or UTC by type, never by hope.

The control bus speaks TAI (unix seconds on the TAI scale), people and files
speak UTC. TAI - UTC comes from the leap second table of IERS that astropy ships
(Bulletin C); `leap_seconds_expire` tells until when it is known to be right.
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import NewType, Protocol

TaiSeconds = NewType("TaiSeconds", float)
"""Seconds since 1970-01-01T00:00:00 TAI."""

UtcSeconds = NewType("UtcSeconds", float)
"""Seconds since 1970-01-01T00:00:00 UTC without leap seconds: a POSIX time."""


_UNIX_EPOCH_MJD = 40587.0
"""Modified Julian Date of 1970-01-01."""
_DAY_S = 86_400.0
_EXPIRES = "#  File expires on "


@lru_cache(maxsize=1)
def _leap_lines() -> tuple[str, ...]:
    table = files("astropy_iers_data") / "data" / "Leap_Second.dat"
    return tuple(table.read_text(encoding="ascii").splitlines())


@lru_cache(maxsize=1)
def _leap_table() -> tuple[tuple[float, float], ...]:
    """Return (UTC POSIX second from which it holds, TAI - UTC) rows, newest first."""
    rows = []
    for line in _leap_lines():
        if line.strip() and not line.startswith("#"):
            mjd, *_, offset = line.split()
            rows.append(((float(mjd) - _UNIX_EPOCH_MJD) * _DAY_S, float(offset)))
    return tuple(sorted(rows, reverse=True))


def leap_seconds_expire() -> datetime:
    """Return the instant until which the leap second table is known to be right, UTC.

    After it, update the package `astropy-iers-data`.
    """
    line = next(line for line in _leap_lines() if line.startswith(_EXPIRES))
    return datetime.strptime(f"{line.removeprefix(_EXPIRES).strip()} +0000", "%d %B %Y %z")


def tai_minus_utc(utc: UtcSeconds) -> float:
    """Return TAI - UTC in seconds at a UTC instant (1972 or later)."""
    for start, offset in _leap_table():
        if utc >= start:
            return offset
    raise ValueError(f"TAI - UTC is not a whole number of seconds before 1972 (asked for {utc})")


def utc_to_tai(utc: UtcSeconds) -> TaiSeconds:
    """Convert POSIX seconds to TAI seconds."""
    return TaiSeconds(utc + tai_minus_utc(utc))


def tai_to_utc(tai: TaiSeconds) -> UtcSeconds:
    """Convert TAI seconds to POSIX seconds."""
    for start, offset in _leap_table():
        if tai - offset >= start:
            return UtcSeconds(tai - offset)
    raise ValueError(f"TAI - UTC is not a whole number of seconds before 1972 (asked for {tai})")


class Clock(Protocol):
    """Where the time comes from, so that a test or a simulated night can bring its own."""

    def utc(self) -> UtcSeconds:
        """Return the present instant, UTC."""
        ...

    def tai(self) -> TaiSeconds:
        """Return the present instant, TAI."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        ...


class SystemClock:
    """The machine's clock."""

    def utc(self) -> UtcSeconds:
        """Return the present instant, UTC."""
        return UtcSeconds(time.time())

    def tai(self) -> TaiSeconds:
        """Return the present instant, TAI."""
        return utc_to_tai(self.utc())

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        return time.monotonic()
