"""A ceiling on bandwidth that several connections share fairly, and that may change at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from daemons.storage.bodies import Abandonment

_SLICES_PER_S = 50
"""How often each second the link changes hands, so that connections advance together."""
_SMALLEST_SLICE_BYTES = 4096
_LARGEST_SLICE_BYTES = 256 * 1024
_LOOK_UP_S = 0.2
"""How long a waiting connection does not notice that its caller was cancelled."""


class Throttle:
    """Gives out the right to send, in turn.

    Each waiting connection has one place in the row, and a slice of at most a 50th of a
    second when its turn comes: so all advance at the same rate, whatever their files' sizes.

    Parameters
    ----------
    bytes_per_s
        The ceiling, or None for none.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, bytes_per_s: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._turn = threading.Condition()
        self._free_at = clock()
        self._generation = 0

    @property
    def bytes_per_s(self) -> float | None:
        """The ceiling."""
        return self._rate

    def limit(self, bytes_per_s: float | None) -> None:
        """Set another ceiling, for what is under way too; None for none."""
        if bytes_per_s is not None and not bytes_per_s > 0:
            raise ValueError(f"a ceiling of {bytes_per_s} bytes/s would stop everything: pause it")
        with self._turn:
            self._rate = bytes_per_s
            self._free_at = self._clock()
            self._generation += 1
            self._turn.notify_all()

    def take(self, wanted: int, abandoned: Abandonment) -> int:
        """Wait for one's turn.

        Parameters
        ----------
        wanted
            How much there is to send, bytes; at least 1.
        abandoned
            Ends the wait.

        Returns
        -------
        granted
            How much may be sent now, bytes: 1 to `wanted`.
        """
        rate = self._rate
        while rate is not None:
            with self._turn:
                granted = min(wanted, _slice(rate))
                due = max(self._clock(), self._free_at)
                self._free_at = due + granted / rate
                if self._wait_until(due, abandoned):
                    return granted
            rate = self._rate
        return wanted

    def _wait_until(self, due: float, abandoned: Abandonment) -> bool:
        """Wait; return False where the ceiling changed meanwhile."""
        generation = self._generation
        while (left := due - self._clock()) > 0 and not abandoned.is_set():
            self._turn.wait(min(left, _LOOK_UP_S))
            if generation != self._generation:
                return False
        return True


def _slice(rate: float) -> int:
    return int(min(max(rate / _SLICES_PER_S, _SMALLEST_SLICE_BYTES), _LARGEST_SLICE_BYTES))
