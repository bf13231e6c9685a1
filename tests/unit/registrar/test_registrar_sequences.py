"""Events that were lost on the way are asked for at their sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import Event, EventsForgotten, EventsMissed, ExposureComplete, decode, new_event
from daemons.registrar.journal import RegistrarJournal
from daemons.registrar.sequences import SequenceWatch
from daemons.runtime.clock import SystemClock
from tests.support.waiting import until

TOPIC = "arriero.events"
SENDER = "/arriero/forwarder/camera-host"


class Memory:
    """What is known, in the registrar's journal."""

    def __init__(self, path: Path) -> None:
        self._journal = RegistrarJournal(path)

    async def load(self) -> dict[str, Any]:
        return self._journal.sequences()

    async def save(self, state: dict[str, Any]) -> None:
        self._journal.keep_sequences(state)

    def close(self) -> None:
        self._journal.close()


def fact(number: int) -> Event:
    data = ExposureComplete(
        instrument="LSSTCam",
        obs_id=f"MC_O_20250501_{number:06d}",
        exposure_id=number,
        day_obs=20250501,
        seq_num=number,
        scope="host",
        expected=1,
        stored=1,
    )
    return new_event(data, source=SENDER, key=str(number), sequence=number)


def told(broker: MemoryBroker, event_type: str) -> list[Event]:
    events = [decode(record.payload) for record in broker.records(TOPIC)]
    return [event for event in events if event.type == event_type]


@asynccontextmanager
async def watching(broker: MemoryBroker, path: Path) -> AsyncIterator[SequenceWatch]:
    memory = Memory(path)
    watch = SequenceWatch(
        MemoryEventStream(broker, topic=TOPIC),
        group="registrar-gaps",
        source="/arriero/registrar/facility",
        memory=memory,
        patience_s=0.2,
        clock=SystemClock(),
        registry=CollectorRegistry(),
    )
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        memory.close()


async def test_a_missed_event_is_asked_for_until_it_comes(tmp_path: Path) -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker, topic=TOPIC)
    async with watching(broker, tmp_path / "journal.sqlite3") as watch:
        for number in (1, 2, 5):
            await stream.publish(fact(number))
        await until(lambda: bool(told(broker, "events.missed")))
        request = told(broker, "events.missed")[0].read(EventsMissed)
        assert (request.of_source, request.first, request.last) == (SENDER, 3, 4)
        assert request.reader == "registrar-gaps"
        for number in (3, 4):
            await stream.publish(fact(number))
        await until(lambda: not watch.status())


async def test_what_is_missing_outlasts_a_restart(tmp_path: Path) -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker, topic=TOPIC)
    async with watching(broker, tmp_path / "journal.sqlite3") as watch:
        for number in (1, 3):
            await stream.publish(fact(number))
        await until(lambda: bool(told(broker, "events.missed")))
        assert watch.status()[0]["first"] == 2
    async with watching(broker, tmp_path / "journal.sqlite3") as watch:
        await until(lambda: bool(watch.status()))
        assert (watch.status()[0]["first"], watch.status()[0]["last"]) == (2, 2)


async def test_what_the_sender_has_no_more_is_given_up(tmp_path: Path) -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker, topic=TOPIC)
    async with watching(broker, tmp_path / "journal.sqlite3") as watch:
        for number in (1, 4):
            await stream.publish(fact(number))
        await until(lambda: bool(watch.status()))
        gone = EventsForgotten(of_source=SENDER, first=2, last=3)
        await stream.publish(new_event(gone, source=SENDER, key="2:3", sequence=5))
        await until(lambda: not watch.status())
