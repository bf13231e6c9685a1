"""Threads for blocking work: few, named, and no reason for a process not to end."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

ParamsT = ParamSpec("ParamsT")
ResultT = TypeVar("ResultT")


class BlockingExecutor:
    """A bounded number of named threads for calls that block.

    Parameters
    ----------
    name
        Name of the threads, as a stack dump shows them.
    workers
        How many calls run at once.
    waiting
        How many more calls may wait for a thread; further callers wait before they
        hand over, so that memory is bounded.
    """

    def __init__(self, name: str, workers: int, *, waiting: int = 64) -> None:
        self.pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
        self._places = asyncio.Semaphore(workers + waiting)

    async def run(
        self, call: Callable[ParamsT, ResultT], *args: ParamsT.args, **kwargs: ParamsT.kwargs
    ) -> ResultT:
        """Run a call in a thread, with the caller's log context.

        A caller who is cancelled stops waiting; a call that has begun runs to its end.
        """
        async with self._places:
            context = contextvars.copy_context()
            bound = functools.partial(context.run, functools.partial(call, *args, **kwargs))
            return await asyncio.get_running_loop().run_in_executor(self.pool, bound)

    def close(self) -> None:
        """Take no more calls and drop those that wait; does not wait for those that run."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def end_within(grace_s: float, code: int) -> None:
    """See to it that the process ends within a time, even when a thread hangs.

    Python and asyncio wait without limit for threads, and for tasks that do not let
    themselves be cancelled. After `grace_s` the threads that remain are named on
    standard error, and the process ends with `code` all the same. For the end of a
    main program only: there is no way back.
    """

    def end() -> None:
        time.sleep(grace_s)
        names = [
            thread.name
            for thread in threading.enumerate()
            if not thread.daemon and thread is not threading.main_thread()
        ]
        what = f"threads {', '.join(names)}" if names else "tasks of the event loop"
        sys.stderr.write(f"arriero: {what} did not end within {grace_s:g} s; leaving anyway\n")
        logging.shutdown()
        os._exit(code)

    threading.Thread(target=end, name="end-within", daemon=True).start()
