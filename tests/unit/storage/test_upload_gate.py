from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from daemons.storage.pressure import Gate


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_halves_what_is_allowed_and_successes_bring_it_back() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    assert gate.slow_down()
    assert gate.allowed == 4
    for _ in range(4):
        gate.went_well()
    assert gate.allowed == 5
    for _ in range(5 + 6 + 7 + 100):
        gate.went_well()
    assert gate.allowed == 8


def test_refusals_of_what_was_under_way_together_count_once() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    assert [gate.slow_down() for _ in range(5)] == [True, False, False, False, False]
    assert gate.allowed == 4
    clock.now += 2
    assert gate.slow_down()
    assert gate.allowed == 2


@given(st.integers(1, 40))
def test_one_is_always_allowed(refusals: int) -> None:
    clock = Hand()
    gate = Gate(16, clock=clock)
    for _ in range(refusals):
        clock.now += 2
        gate.slow_down()
    assert gate.allowed >= 1


async def test_no_more_are_inside_than_allowed_and_all_get_through_in_turn() -> None:
    gate = Gate(4)
    gate.slow_down()
    inside, most, order = 0, 0, []

    async def pass_through(number: int) -> None:
        nonlocal inside, most
        async with gate.passing():
            inside += 1
            most = max(most, inside)
            order.append(number)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(pass_through(number))
    assert most == 2
    assert order == list(range(20))


async def test_who_gives_up_waiting_takes_no_place() -> None:
    gate = Gate(1)
    release = asyncio.Event()

    async def hold() -> None:
        async with gate.passing():
            await release.wait()

    async def enter() -> None:
        async with gate.passing():
            pass

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiter = asyncio.create_task(enter())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter})
    release.set()
    await holder
    async with asyncio.timeout(10):
        await enter()
