"""Fewer uploads at once while a store asks for that."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_PAUSE_S = 1.0
"""Refusals within so long are one: they answer what was under way together."""


class Gate:
    """Lets so many uploads through at once as the store bears.

    A refusal halves the number; as many successes as are allowed at once add one
    again ("additive increase, multiplicative decrease").

    Parameters
    ----------
    most
        How many at once while all is well.
    clock
        Monotonic seconds.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._allowed = most
        self._inside = 0
        self._successes = 0
        self._slowed_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def allowed(self) -> int:
        """How many uploads may be under way at once now."""
        return self._allowed

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for one's turn, and be counted while inside."""
        if self._inside >= self._allowed or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                elif turn in self._waiting:
                    self._waiting.remove(turn)
                raise
        else:
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    def slow_down(self) -> bool:
        """Halve what is allowed; return whether this was a new refusal."""
        now = self._clock()
        if now - self._slowed_at < _PAUSE_S:
            return False
        self._slowed_at = now
        self._successes = 0
        self._allowed = max(1, self._allowed // 2)
        return True

    def went_well(self) -> None:
        """Count a success."""
        if self._allowed == self._most:
            return
        self._successes += 1
        if self._successes >= self._allowed:
            self._successes = 0
            self._allowed += 1
            self._admit()

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._inside < self._allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
