"""The broker in memory, beyond what the contract asks, and the factory that shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from daemons.bus import BusUnavailableError, Delivery, Subscription
from daemons.bus.stream import (
    EventStreamSettings,
    MemoryBroker,
    MemoryEventStream,
    memory_broker,
    open_event_stream,
    reset_memory_brokers,
)
from daemons.events import Event, ImageQuarantined, new_event
from daemons.runtime.health import HealthBoard


@pytest.fixture(autouse=True)
def fresh_brokers() -> Iterator[None]:
    reset_memory_brokers()
    yield
    reset_memory_brokers()


def make_event(number: int, key: str = "a.fits") -> Event:
    fact = ImageQuarantined(
        host="h",
        path=f"/drop/{key}",
        quarantine_path=f"/quarantine/{key}",
        file_name=key,
        size_bytes=number,
        codes=("fits.truncated",),
        reason="short",
        quarantined_at="2026-11-20T03:12:00Z",  # type: ignore[arg-type]
    )
    return new_event(fact, source="/test", key=f"{key}-{number}")


async def take(subscription: Subscription[Event], count: int) -> list[Delivery[Event]]:
    iterator = aiter(subscription)
    async with asyncio.timeout(10):
        return [await anext(iterator) for _ in range(count)]


def numbers(deliveries: list[Delivery[Event]]) -> list[int]:
    return [delivery.message.data["size_bytes"] for delivery in deliveries]


def opened(url: str = "memory:") -> MemoryEventStream:
    settings = EventStreamSettings(url=url)
    stream = open_event_stream(
        settings, client_id="test", health=HealthBoard(), registry=CollectorRegistry()
    )
    assert isinstance(stream, MemoryEventStream)
    return stream


async def test_streams_of_one_url_share_a_broker_and_others_do_not() -> None:
    one, two, other = opened(), opened(), opened("memory:other")
    await one.publish(make_event(1))
    async with two.subscribe("g") as same, other.subscribe("g") as different:
        assert numbers(await take(same, 1)) == [1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(aiter(different))
    for stream in (one, two, other):
        await stream.close()


async def test_a_reset_begins_with_an_empty_broker() -> None:
    before = memory_broker()
    await opened().publish(make_event(1))
    reset_memory_brokers()
    assert memory_broker() is not before
    assert memory_broker().records("arriero.events") == []


async def test_a_stopped_broker_fails_a_publication_at_once_by_default() -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker)
    broker.stop()
    with pytest.raises(BusUnavailableError, match="stopped"):
        await stream.publish(make_event(1))
    broker.start()
    await stream.publish(make_event(2))
    assert len(broker.records("arriero.events")) == 1


async def test_a_publication_waits_for_the_broker_as_long_as_it_may() -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker, publish_timeout_s=10)
    broker.stop()
    publishing = asyncio.ensure_future(stream.publish(make_event(1)))
    await asyncio.sleep(0.01)
    assert not publishing.done()
    broker.start()
    async with asyncio.timeout(5):
        await publishing


async def test_acknowledgements_while_the_broker_is_stopped_count_when_it_is_back() -> None:
    broker = MemoryBroker()
    stream = MemoryEventStream(broker)
    async with stream.subscribe("g") as subscription:
        for number in range(3):
            await stream.publish(make_event(number))
        deliveries = await take(subscription, 2)
        broker.stop()
        for delivery in deliveries:
            await delivery.ack()
        broker.start()
    async with stream.subscribe("g") as subscription:
        assert numbers(await take(subscription, 1)) == [2]


async def test_the_health_board_follows_the_broker() -> None:
    broker, health = MemoryBroker(), HealthBoard()
    broker.stop()
    stream = MemoryEventStream(broker, health=health)
    assert not health.ready
    broker.start()
    assert health.ready
    async with stream.subscribe("g"):
        broker.stop()
        assert not health.dependencies["event_stream.read.g"].ok
    await stream.close()
    broker.start()  # nobody listens any more
    assert not health.dependencies["event_stream.publish"].ok


async def test_members_share_the_partitions_and_take_over_from_each_other() -> None:
    broker = MemoryBroker(partitions=4)
    stream = MemoryEventStream(broker)
    async with stream.subscribe("g") as one:
        async with stream.subscribe("g") as two:
            for number in range(40):
                await stream.publish(make_event(number, key=f"{number}.fits"))
            seen = {}
            for name, subscription in (("one", one), ("two", two)):
                seen[name] = []
                for _ in range(5):
                    [delivery] = await take(subscription, 1)
                    seen[name] += numbers([delivery])
                    await delivery.ack()
        assert not set(seen["one"]) & set(seen["two"])
        rest = []
        for _ in range(30):
            [delivery] = await take(one, 1)
            rest += numbers([delivery])
            await delivery.ack()
    assert sorted(seen["one"] + seen["two"] + rest) == list(range(40))


async def test_a_full_partition_drops_its_oldest_and_says_what_was_not_read() -> None:
    broker = MemoryBroker(partitions=1, kept=3)
    stream = MemoryEventStream(broker)
    for number in range(5):
        await stream.publish(make_event(number))
    with capture_logs() as logs:
        async with stream.subscribe("g") as subscription:
            assert numbers(await take(subscription, 3)) == [2, 3, 4]
    assert {"event": "records_expired_unread", "records": 2}.items() <= logs[-1].items()


async def test_a_stream_that_is_opened_outside_a_loop_connects_when_it_is_used() -> None:
    def open_outside() -> object:
        settings = EventStreamSettings(url="kafka://127.0.0.1:1")
        return open_event_stream(settings, client_id="test", health=HealthBoard())

    stream = await asyncio.to_thread(open_outside)
    assert stream._producer._keeper is None  # type: ignore[attr-defined]
    await stream.close()  # type: ignore[attr-defined]


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(0, 3)),
            st.tuples(st.just("take"), st.booleans()),
            st.tuples(st.just("restart reader"), st.just(0)),
            st.tuples(st.just("restart broker"), st.just(0)),
        ),
        max_size=60,
    ),
)
def test_every_event_is_delivered_and_keys_keep_their_order(
    partitions: int, steps: list[tuple[str, int]]
) -> None:
    async def play() -> None:
        broker = MemoryBroker(partitions=partitions)
        stream = MemoryEventStream(broker)
        published: dict[str, list[int]] = {}
        acked: dict[str, list[int]] = {}
        pending = 0
        count = 0
        left = list(steps)
        while True:
            async with stream.subscribe("g") as subscription:
                pending = count - sum(len(set(seen)) for seen in acked.values())
                while left:
                    step, argument = left.pop(0)
                    if step == "publish":
                        key = f"{argument}.fits"
                        await stream.publish(make_event(count, key))
                        published.setdefault(key, []).append(count)
                        count += 1
                        pending += 1
                    elif step == "take" and pending:
                        [delivery] = await take(subscription, 1)
                        pending -= 1
                        await delivery.ack()
                        event = delivery.message
                        acked.setdefault(event.partitionkey, []).extend(numbers([delivery]))
                    elif step == "restart reader":
                        break
                    elif step == "restart broker":
                        broker.stop()
                        broker.start()
                else:
                    while pending:
                        [delivery] = await take(subscription, 1)
                        pending -= 1
                        await delivery.ack()
                        event = delivery.message
                        acked.setdefault(event.partitionkey, []).extend(numbers([delivery]))
                    break
        assert acked == published

    asyncio.run(play())
