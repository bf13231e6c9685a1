"""The time of a simulated night.

Everything that the simulated observatory says or does happens at an instant of the
plan. The clock tells that instant to whoever asks, and so to the control bus: give
the bus that the observatory publishes on this clock, and `private_sndStamp` agrees
with the time stamps inside the payloads at either pace.

* `real`: from the start of the observatory on, the clock runs as fast as the wall
  clock. A night that begins "now" is then the same as real time; a night of another
  day, or one that goes on after a restart, is away from it by a constant.
* `fast`: the clock stands still until the observatory moves it to the next instant,
  which it does as fast as the bus takes the messages.
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum

from daemons.runtime.clock import TaiSeconds, UtcSeconds, tai_to_utc


class Pace(StrEnum):
    """How fast a simulated night goes by."""

    REAL = "real"
    """A second lasts a second."""
    FAST = "fast"
    """As fast as the messages can be sent."""


class SimulatedClock:
    """A clock of a simulated night; it never goes back.

    Parameters
    ----------
    begins
        The instant at which it stands until it is started.
    pace
        Whether it runs by itself.
    """

    def __init__(self, begins: TaiSeconds, pace: Pace) -> None:
        self.pace = pace
        self._at = begins
        self._since: float | None = None

    def start(self) -> None:
        """Begin to run, at the real pace; a second call changes nothing."""
        if self._since is None:
            self._since = time.monotonic()

    def tai(self) -> TaiSeconds:
        """Return the present instant of the night, TAI."""
        if self.pace is Pace.FAST or self._since is None:
            return self._at
        return TaiSeconds(self._at + time.monotonic() - self._since)

    def utc(self) -> UtcSeconds:
        """Return the present instant of the night, UTC."""
        return tai_to_utc(self.tai())

    def monotonic(self) -> float:
        """Return seconds of the machine's own clock: deadlines are not simulated."""
        return time.monotonic()

    def skip_to(self, instant: TaiSeconds) -> None:
        """Move to a later instant at once; an earlier one changes nothing."""
        if instant > self.tai():
            self._at = instant
            self._since = None if self._since is None else time.monotonic()

    async def until(self, instant: TaiSeconds) -> None:
        """Return when an instant has come; at once when it is past."""
        if self.pace is Pace.FAST:
            self.skip_to(instant)
            return
        remaining = instant - self.tai()
        if remaining > 0:
            await asyncio.sleep(remaining)
