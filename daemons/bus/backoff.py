"""How long to wait before the next attempt to reach a broker."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class FullJitter:
    """Exponential back-off with full jitter.

    Each delay is drawn evenly between nothing and a bound that doubles from
    attempt to attempt, so that the clients of a broker that comes back do not
    all knock at once (Brooker, "Exponential Backoff and Jitter", AWS
    Architecture Blog, 2015).
    """

    initial_s: float = 0.25
    """Bound of the first delay."""
    cap_s: float = 15.0
    """No delay is longer."""
    _attempt: int = 0

    @property
    def bound_s(self) -> float:
        """The longest that the next delay can be."""
        return min(self.cap_s, self.initial_s * 2.0 ** min(self._attempt, 32))

    def next_delay_s(self) -> float:
        """Return the next delay and widen the bound."""
        bound = self.bound_s
        self._attempt += 1
        return random.uniform(0.0, bound)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """Begin anew after a success."""
        self._attempt = 0
