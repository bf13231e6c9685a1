"""Counts log lines that repeat, so that a storm stays readable and nothing is hidden."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(slots=True)
class _Window:
    began: float
    seen: int


@dataclass(frozen=True, slots=True)
class Repeated(Generic[KeyT]):
    """How often a line was held back in a window that is over."""

    key: KeyT
    count: int


class RepeatLimiter(Generic[KeyT]):
    """Lets the first lines of a kind pass in each window of time, and counts the others.

    Pure: the time comes with each call. Not for several threads at once.

    Parameters
    ----------
    burst
        How many lines of a kind pass in a window.
    window_s
        Length of a window; it begins with the first line of a kind.
    max_keys
        How many kinds are remembered; the oldest is summarised and forgotten beyond that.
    """

    def __init__(self, *, burst: int = 20, window_s: float = 60.0, max_keys: int = 4096) -> None:
        self.burst = burst
        self.window_s = window_s
        self._max_keys = max_keys
        self._windows: OrderedDict[KeyT, _Window] = OrderedDict()

    def passes(self, key: KeyT, now: float) -> bool:
        """Count a line of a kind at a time in seconds; return whether it is written.

        Call `over` first, so that a window that has ended is told.
        """
        window = self._windows.setdefault(key, _Window(now, 0))
        window.seen += 1
        return window.seen <= self.burst

    def over(self, now: float) -> Iterator[Repeated[KeyT]]:
        """Forget the windows that have ended; yield those that held lines back."""
        while self._windows:
            key, window = next(iter(self._windows.items()))
            fresh = 0 <= now - window.began < self.window_s
            if fresh and len(self._windows) < self._max_keys:
                return
            del self._windows[key]
            if window.seen > self.burst:
                yield Repeated(key, window.seen - self.burst)

    def drain(self) -> Iterator[Repeated[KeyT]]:
        """Forget everything; yield what was held back."""
        return self.over(float("inf"))
