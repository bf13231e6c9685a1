"""Threads for blocking work."""

from __future__ import annotations

import asyncio
import threading

import structlog

from daemons.runtime.executors import BlockingExecutor


async def test_a_call_runs_in_a_named_thread_with_the_log_context() -> None:
    executor = BlockingExecutor("upload", 1)
    with structlog.contextvars.bound_contextvars(obs_id="O1"):
        name, context = await executor.run(
            lambda: (threading.current_thread().name, structlog.contextvars.get_contextvars())
        )
    executor.close()
    assert name.startswith("upload")
    assert context == {"obs_id": "O1"}


async def test_arguments_and_exceptions_pass() -> None:
    executor = BlockingExecutor("math", 1)
    assert await executor.run(divmod, 7, 2) == (3, 1)
    try:
        await executor.run(divmod, 7, 0)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError
    executor.close()


async def test_no_more_calls_run_or_wait_than_there_are_places() -> None:
    executor = BlockingExecutor("slow", 2, waiting=1)
    go = threading.Event()
    begun = threading.Semaphore(0)
    running: list[int] = []

    def call(number: int) -> int:
        running.append(number)
        begun.release()
        go.wait(10)
        return number

    tasks = [asyncio.create_task(executor.run(call, number)) for number in range(6)]
    await asyncio.to_thread(begun.acquire)
    await asyncio.to_thread(begun.acquire)
    assert len(running) == 2
    assert executor._places.locked()
    assert executor.pool._work_queue.qsize() == 1
    go.set()
    assert await asyncio.gather(*tasks) == list(range(6))
    executor.close()


async def test_close_drops_what_waits_and_does_not_wait_for_what_runs() -> None:
    executor = BlockingExecutor("hung", 1)
    go = threading.Event()
    hung = asyncio.create_task(executor.run(go.wait, 10))
    waiting = asyncio.create_task(executor.run(go.wait, 10))
    await asyncio.sleep(0.05)
    executor.close()
    results = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 5)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not hung.done()
    go.set()
    assert await hung is True
