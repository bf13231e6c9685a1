"""Waiting for what the code under test does not announce."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_ASK_EVERY_S = 0.01


async def until(
    condition: Callable[[], object | Awaitable[object]], *, timeout_s: float = 30.0
) -> None:
    """Return when a condition holds; `TimeoutError` when it does not in time.

    Parameters
    ----------
    condition
        Asked again and again; may be a coroutine function.
    timeout_s
        Long enough for a busy machine: this is no measurement.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(_ASK_EVERY_S)
