"""Waiting for a dependency, together."""

from __future__ import annotations

import asyncio
import time

import pytest

from daemons.forwarder.errors import DrainingError
from daemons.forwarder.patience import Patience
from daemons.runtime.health import HealthBoard
from daemons.storage import StoreUnavailableError

AWAY = StoreUnavailableError("the store is away")


async def test_the_health_board_says_that_it_is_away_and_that_it_is_back() -> None:
    health = HealthBoard()
    patience = Patience("store.x", health, first_s=0.01, most_s=0.01)
    await patience.failed(AWAY)
    assert not health.dependencies["store.x"].ok
    assert health.dependencies["store.x"].reason == "the store is away"
    assert patience.away
    patience.succeeded("reached")
    assert health.dependencies["store.x"].ok
    assert not patience.away


async def test_one_success_wakes_everybody_who_waits() -> None:
    patience = Patience("store.x", HealthBoard(), first_s=1000.0, most_s=1000.0)
    waiting = [asyncio.create_task(patience.failed(AWAY)) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert not all(task.done() for task in waiting)
    patience.succeeded("reached")
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_whoever_waits_gives_up_when_the_service_ends() -> None:
    draining = asyncio.Event()
    patience = Patience("x", HealthBoard(), draining=draining, first_s=1000.0, most_s=1000.0)
    waiting = asyncio.create_task(patience.failed(AWAY))
    await asyncio.sleep(0.01)
    draining.set()
    with pytest.raises(DrainingError):
        await waiting
    begun = time.monotonic()
    with pytest.raises(DrainingError):
        await patience.failed(AWAY)
    assert time.monotonic() - begun < 100


async def test_waiting_leaves_no_task_behind() -> None:
    patience = Patience("x", HealthBoard(), draining=asyncio.Event(), first_s=0.01, most_s=0.01)
    await patience.failed(AWAY)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
