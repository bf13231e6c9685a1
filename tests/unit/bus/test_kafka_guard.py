"""What aiokafka cancels by itself is a lost connection, and what we cancel is a cancellation."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from daemons.bus.kafka_guard import uncancelled


async def cancelled_inside() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def test_future_that_the_library_cancelled_is_a_lost_connection() -> None:
    with pytest.raises(KafkaConnectionError, match="the connection was lost"):
        await uncancelled(cancelled_inside())


async def test_task_that_ends_so_does_not_look_as_if_it_had_ended_in_order() -> None:
    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(uncancelled(cancelled_inside()))
            group.create_task(asyncio.Event().wait())

    with pytest.raises(ExceptionGroup) as caught:
        await together()
    assert caught.group_contains(KafkaConnectionError)


async def test_cancellation_from_outside_stays_one() -> None:
    task = asyncio.create_task(uncancelled(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_time_limit_around_it_stays_a_time_limit() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await uncancelled(asyncio.Event().wait())


async def test_result_is_passed_on() -> None:
    async def seven() -> int:
        return 7

    assert await uncancelled(seven()) == 7
