"""Which publications are under way, so that closing can wait for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class UnderWay:
    """Counts the blocks that were entered and not left."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def finished(self, within_s: float) -> None:
        """Return when none is under way, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._none.wait()
