"""What a stuck process is doing: SIGUSR1 writes every thread and every task to standard error."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
import sys
from collections.abc import Iterator
from typing import Any

import structlog

_log = structlog.get_logger(__name__)

_MAX_FRAMES = 20


@contextlib.contextmanager
def dumps_on_sigusr1(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Answer SIGUSR1 while the context lasts; from the main thread only.

    The threads are written by the signal handler itself, so that a loop that is stuck shows
    where; the tasks follow as soon as the loop moves.
    """
    try:
        loop.add_signal_handler(signal.SIGUSR1, _write_tasks, loop)
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True, chain=True)
    except (ValueError, OSError, RuntimeError) as error:
        _log.debug("stack_dump_unavailable", reason=str(error))
        yield
        return
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return the name of every task of a loop, and what it awaits, outermost first."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    lines = [f"{len(tasks)} asyncio tasks\n"]
    for task in tasks:
        lines.append(f"Task {task.get_name()}:\n")
        lines.extend(_awaited(task.get_coro()))
    return "".join(lines)


def _awaited(awaitable: Any) -> Iterator[str]:
    """Yield a line for each coroutine of a chain of awaits, as far as it can be followed."""
    for _ in range(_MAX_FRAMES):
        frame = _first(awaitable, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        code = frame.f_code
        yield f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}\n'
        awaitable = _first(awaitable, "cr_await", "gi_yieldfrom", "ag_await")


def _first(thing: Any, *names: str) -> Any:
    found = (getattr(thing, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def _write_tasks(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(describe_tasks(loop))
        sys.stderr.flush()
