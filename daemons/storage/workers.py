"""Blocking calls of one store, in a bounded executor with its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

ParamT = ParamSpec("ParamT")
ResultT = TypeVar("ResultT")


class Workers:
    """Threads of one store.

    Parameters
    ----------
    name
        Name of the store; its threads carry it.
    count
        How many calls run at once; others wait for their turn.
    """

    def __init__(self, name: str, count: int) -> None:
        self.count = count
        self._executor = ThreadPoolExecutor(max_workers=count, thread_name_prefix=f"store-{name}")

    async def run(
        self, call: Callable[ParamT, ResultT], *args: ParamT.args, **kwargs: ParamT.kwargs
    ) -> ResultT:
        """Run a blocking call in a thread and return its result.

        When the caller is cancelled a call that has not begun never begins; one
        that has begun runs to its end unseen.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))

    async def close(self) -> None:
        """Drop what has not begun and wait for what has. Idempotent."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
