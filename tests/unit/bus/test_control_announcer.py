from __future__ import annotations

import asyncio

from daemons.bus import Topic
from daemons.bus.control.announcer import Announcer
from daemons.bus.control.mailbox import Mailbox
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from tests.contract.bus.control_benches import take

STATE = Topic("MTCamera", "logevent_summaryState")


def bus_on(broker: MemoryControlBroker) -> MemoryControlBus:
    return MemoryControlBus(broker, identity="x")


async def test_messages_wait_for_an_absent_broker_in_their_order() -> None:
    broker = MemoryControlBroker()
    announcer = Announcer(bus_on(broker))
    broker.stop()
    running = asyncio.create_task(announcer.run())
    done = [announcer.put(STATE, {"summaryState": number}) for number in (5, 1, 2)]
    await asyncio.sleep(0.05)
    assert not any(event.is_set() for event in done)
    async with bus_on(broker).subscribe([STATE]) as heard:
        broker.start()
        assert [m.fields["summaryState"] for m in await take(heard, 3)] == [5, 1, 2]
    async with asyncio.timeout(5):
        for event in done:
            await event.wait()
    running.cancel()


async def test_message_that_is_refused_does_not_hold_up_the_next() -> None:
    broker = MemoryControlBroker()
    announcer = Announcer(bus_on(broker))
    refused = announcer.put(STATE, {"no such field": 1})
    announcer.put(STATE, {"summaryState": 1})
    running = asyncio.create_task(announcer.run())
    async with bus_on(broker).subscribe([STATE]) as heard:
        assert [m.fields["summaryState"] for m in await take(heard, 1)] == [1]
    async with asyncio.timeout(5):
        await refused.wait()
    running.cancel()


async def test_oldest_gives_way_when_too_many_wait() -> None:
    broker = MemoryControlBroker()
    announcer = Announcer(bus_on(broker), capacity=2)
    first, *_ = [announcer.put(STATE, {"summaryState": number}) for number in (1, 2, 3)]
    assert first.is_set()
    await announcer.flush(1.0)
    async with bus_on(broker).subscribe([STATE]) as heard:
        (last,) = await take(heard, 1)
    assert (last.fields["summaryState"], last.sequence) == (3, 2)


async def test_flush_gives_up_when_the_broker_is_away() -> None:
    broker = MemoryControlBroker()
    announcer = Announcer(bus_on(broker))
    broker.stop()
    done = announcer.put(STATE, {"summaryState": 1})
    await announcer.flush(1.0)
    assert not done.is_set()


async def test_closed_mailbox_lets_everybody_go() -> None:
    mailbox: Mailbox[int] = Mailbox(2)

    async def read() -> list[int]:
        found = []
        try:
            while True:
                found.append(await mailbox.get())
        except StopAsyncIteration:
            return found

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await mailbox.put(1)
    await mailbox.put(2)
    await asyncio.sleep(0)
    mailbox.close()
    async with asyncio.timeout(5):
        found = [await reader for reader in readers]
    assert sorted(item for items in found for item in items) == [1, 2]
