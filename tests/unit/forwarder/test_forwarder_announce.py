"""From the outbox to the stream, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from daemons.bus import BusError, BusUnavailableError
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import (
    Event,
    ImageRegistered,
    ImageRegistrationFailed,
    ImageStored,
    new_event,
)
from tests.unit.forwarder.harness import (
    TOPIC,
    Bench,
    detectors,
    raw_name,
    register,
    small_raw,
    until,
)


class FaultyStream(MemoryEventStream):
    """Fails where it is told to, and notes the order of what it accepted."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker, topic=TOPIC)
        self.faults: dict[int, list[Exception]] = {}
        self.accepted: list[int] = []
        self.stuck: set[int] = set()

    async def publish(self, event: Event) -> None:
        number = int(event.sequence or 0)
        if number in self.stuck:
            self.stuck.discard(number)
            await asyncio.Event().wait()
        if self.faults.get(number):
            raise self.faults[number].pop(0)
        await super().publish(event)
        self.accepted.append(number)


@pytest.fixture
def faulty(make_bench: Callable[..., Bench]) -> tuple[Bench, FaultyStream]:
    bench = make_bench(publish_timeout_s=0.3, reannounce_after_s=None)
    stream = FaultyStream(bench.broker)
    bench.stream = stream
    bench.registry = CollectorRegistry()
    bench.forwarder = bench.make()
    return bench, stream


def put(bench: Bench, count: int) -> None:
    for raft, sensor in detectors(count):
        bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))


async def test_after_a_failure_everything_from_there_on_is_published_again_in_order(
    faulty: tuple[Bench, FaultyStream],
) -> None:
    bench, stream = faulty
    bench.broker.stop()
    async with bench.running():
        put(bench, 8)
        await bench.reach("stored", 8)
        stream.faults = {4: [BusUnavailableError("away"), BusUnavailableError("still")]}
        bench.broker.start()
        await bench.reach("announced", 8)
    assert set(stream.accepted) == set(range(1, 9))
    last = stream.accepted[stream.accepted.index(4) :]
    assert last == [4, 5, 6, 7, 8]


async def test_an_event_that_the_stream_refuses_is_left_out_and_named(
    faulty: tuple[Bench, FaultyStream],
) -> None:
    bench, stream = faulty
    stream.faults = {2: [BusError("the message is too large")]}
    async with bench.running():
        put(bench, 4)
        await bench.reach("announced", 3)
        await until(lambda: bench.images("stored") == 1, "one is left", bench)
        (entry,) = await bench.forwarder._open_parts.journal.aside({"stored"}, 10)
        assert entry.reason == "announce.refused"
        assert entry.detail == "the message is too large"
    assert sorted(stream.accepted) == [1, 3, 4]
    failures = {"stage": "announce", "code": "bus.error"}
    assert bench.metric("arriero_forwarder_errors_total", **failures) == 1


async def test_a_publication_without_an_answer_is_given_up_and_repeated(
    faulty: tuple[Bench, FaultyStream],
) -> None:
    bench, stream = faulty
    stream.stuck = {1}
    async with bench.running():
        put(bench, 1)
        await bench.reach("announced")
    assert stream.accepted == [1]


async def test_what_the_butler_refuses_stays_announced_with_the_reason(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(reannounce_after_s=0.2)
    async with bench.running():
        put(bench, 1)
        await bench.reach("announced")
        stored = bench.events("image.stored")[0].read(ImageStored)
        fact = ImageRegistrationFailed(
            **stored.model_dump(include=set(ImageRegistrationFailed.model_fields)),
            code="butler.refused",
            reason="there is no such filter",
        )
        await bench.stream.publish(new_event(fact, source="/registrar", key="x"))
        journal = bench.forwarder._open_parts.journal

        async def noted() -> bool:
            return (await journal.entry(1)).reason == "registration.failed"

        async with asyncio.timeout(20):
            while not await noted():  # noqa: ASYNC110 - the journal tells nobody
                await asyncio.sleep(0.01)
        published = len(bench.events("image.stored"))
        await asyncio.sleep(0.5)
        assert len(bench.events("image.stored")) == published
        assert "no such filter" in str((await journal.entry(1)).detail)


async def test_registrations_of_other_hosts_and_unreadable_ones_are_passed_over(
    bench: Bench,
) -> None:
    async with bench.running():
        put(bench, 1)
        await bench.reach("announced")
        stored = bench.events("image.stored")[0].read(ImageStored)
        fields = stored.model_dump(include=set(ImageRegistered.model_fields))
        other = ImageRegistered(
            **{**fields, "sha256": "0" * 64}, butler="x", registered_at=datetime.now(tz=UTC)
        )
        event = new_event(other, source="/registrar", key="other")
        await bench.stream.publish(event)
        await bench.stream.publish(event.model_copy(update={"id": "y", "data": {"colour": "red"}}))
        registrar = asyncio.create_task(register(bench.stream))
        await bench.reach("registered")
        registrar.cancel()
        assert bench.images("announced") == 0
