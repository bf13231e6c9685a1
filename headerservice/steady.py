"""A TAI clock that does not step when somebody sets the machine's clock."""

from __future__ import annotations

from daemons.runtime.clock import Clock


class SteadyClock:
    """TAI as it was at the beginning, and the time that has gone by since.

    Deadlines are kept by it. The dates in headers come from the clock itself.

    Parameters
    ----------
    clock
        The clock to begin with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = float(clock.tai()) - clock.monotonic()

    def now(self) -> float:
        """Return the present instant, TAI seconds."""
        return self._offset + self._clock.monotonic()
