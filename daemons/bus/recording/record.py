"""Writes what a control bus delivers into a recording."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from daemons.bus.interface import ControlBus, Topic
from daemons.bus.recording.file import Recorded, RecordingWriter
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor

_FLUSH_S = 1.0
"""What came is on the disk after so long."""
_BATCH = 2000
_WAITING = 20_000
"""Messages that wait for the disk; beyond that the bus is read no further."""


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What was recorded."""

    messages: int
    by_topic: Mapping[str, int]
    parts: int


async def record(
    bus: ControlBus,
    topics: Collection[Topic],
    writer: RecordingWriter,
    *,
    clock: Clock,
    ready: Callable[[], None] = lambda: None,
    limit: int | None = None,
    stop: asyncio.Event | None = None,
) -> RecordReport:
    """Record until told to stop, or until so many messages came; all is then on the disk.

    Parameters
    ----------
    bus
        Where from.
    topics
        What; the last event of each comes first, as for a late joiner.
    writer
        Where to; it is closed at the end.
    clock
        Dates the arrival.
    ready
        Called once what is sent from then on is recorded.
    limit
        How many messages.
    stop
        Set when it shall end; cancelling ends it as well.

    Raises
    ------
    OSError
        The disk does not take it; what was written before can be read.
    """
    queue: asyncio.Queue[Recorded] = asyncio.Queue(_WAITING)
    counts: Counter[str] = Counter()
    executor = BlockingExecutor("bus-record", workers=1)
    writing = asyncio.create_task(_write(queue, writer, executor), name="bus-record-write")
    reading = asyncio.create_task(
        _read(bus, topics, queue, counts, clock=clock, ready=ready, limit=limit),
        name="bus-record-read",
    )
    told = asyncio.create_task((stop or asyncio.Event()).wait(), name="bus-record-told")
    tasks = {writing, reading, told}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        try:
            await executor.run(writer.write, _taken(queue, queue.qsize()))
        finally:
            await executor.run(writer.close)
            executor.close()
    return RecordReport(counts.total(), dict(counts), writer.parts)


async def _read(
    bus: ControlBus,
    topics: Collection[Topic],
    queue: asyncio.Queue[Recorded],
    counts: Counter[str],
    *,
    clock: Clock,
    ready: Callable[[], None],
    limit: int | None,
) -> None:
    async with bus.subscribe(topics) as subscription:
        await subscription.ready()
        ready()
        async for delivery in subscription:
            await queue.put(Recorded(float(clock.tai()), delivery.message))
            counts[str(delivery.message.topic)] += 1
            if limit is not None and counts.total() >= limit:
                return


async def _write(
    queue: asyncio.Queue[Recorded], writer: RecordingWriter, executor: BlockingExecutor
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        first = await queue.get()
        batch = [first, *_taken(queue, _BATCH)]
        begun = loop.time()
        # A batch that was begun is written, also when the recording is ended meanwhile.
        await asyncio.shield(asyncio.ensure_future(executor.run(writer.write, batch)))
        if len(batch) < _BATCH:
            await asyncio.sleep(max(0.0, _FLUSH_S - (loop.time() - begun)))


def _taken(queue: asyncio.Queue[Recorded], most: int) -> list[Recorded]:
    return [queue.get_nowait() for _ in range(min(most, queue.qsize()))]
