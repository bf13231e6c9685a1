"""What is special of memory; what it shares with the others is in the contract suite."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from daemons.bus import BusError, Topic
from daemons.bus.control.factory import (
    command_subscription,
    forget_memory_brokers,
    memory_broker,
    open_control_bus,
)
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus, MemorySubscription
from daemons.bus.settings_control import ControlBusSettings
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard
from tests.contract.bus.control_benches import take

STATE = Topic("MTCamera", "logevent_summaryState")
ELEVATION = Topic("MTMount", "elevation")


async def test_last_event_outlives_the_log() -> None:
    broker = MemoryControlBroker(retention=10)
    bus = MemoryControlBus(broker, identity="x")
    await bus.publish(STATE, {"summaryState": 3})
    for number in range(50):
        await bus.publish(ELEVATION, {"actualPosition": float(number)})
    async with bus.subscribe([STATE, ELEVATION], since=TaiSeconds(0.0)) as subscription:
        messages = await take(subscription, 11)
    assert messages[0].fields["summaryState"] == 3
    assert messages[0].historical
    assert [m.fields["actualPosition"] for m in messages[1:]] == [float(n) for n in range(40, 50)]


async def test_reader_that_was_outlived_goes_on_with_what_is_kept() -> None:
    broker = MemoryControlBroker(retention=3)
    bus = MemoryControlBus(broker, identity="x")
    async with bus.subscribe([ELEVATION]) as subscription:
        for number in range(10):
            await bus.publish(ELEVATION, {"actualPosition": float(number)})
        assert [m.fields["actualPosition"] for m in await take(subscription, 3)] == [7.0, 8.0, 9.0]


async def test_durable_name_belongs_to_one_reader_at_a_time() -> None:
    bus = MemoryControlBus(MemoryControlBroker(), identity="x")
    async with bus.subscribe([STATE], durable="one"):
        with pytest.raises(BusError, match="another subscription has the durable name one"):
            async with bus.subscribe([STATE], durable="one"):
                pass
    async with bus.subscribe([STATE], durable="one"):
        pass


async def test_closed_bus_takes_nothing() -> None:
    bus = MemoryControlBus(MemoryControlBroker(), identity="x")
    await bus.close()
    await bus.close()
    with pytest.raises(BusError, match="the control bus is closed"):
        await bus.publish(STATE, {"summaryState": 1})


async def test_presence_of_the_broker_is_on_the_health_board() -> None:
    broker, health = MemoryControlBroker(), HealthBoard()
    bus = MemoryControlBus(broker, identity="x", health=health)
    assert health.dependencies["control_bus"].ok
    broker.stop()
    assert not health.dependencies["control_bus"].ok
    broker.start()
    assert health.dependencies["control_bus"].ok
    await bus.close()
    broker.stop()
    assert health.dependencies["control_bus"].ok


async def test_services_of_a_process_meet_on_the_broker_of_the_url() -> None:
    forget_memory_brokers()

    def opened(url: str, identity: str) -> MemoryControlBus:
        bus = open_control_bus(
            ControlBusSettings(url=url),
            identity=identity,
            clock=SystemClock(),
            health=HealthBoard(),
            registry=CollectorRegistry(),
        )
        assert isinstance(bus, MemoryControlBus)
        return bus

    async with opened("memory:", "a").subscribe([STATE]) as here:
        await opened("memory:elsewhere", "b").publish(STATE, {"summaryState": 1})
        await opened("memory:", "c").publish(STATE, {"summaryState": 2})
        (message,) = await take(here, 1)
    assert (message.identity, message.fields["summaryState"]) == ("c", 2)
    before = memory_broker()
    forget_memory_brokers()
    assert memory_broker() is not before


def test_commands_are_kept_by_the_broker_on_mqtt_alone() -> None:
    def name(url: str, index: int = 0) -> str | None:
        return command_subscription(ControlBusSettings(url=url).address, "MTForwarder", index)

    assert name("memory:") is None
    assert name("mqtt://broker:1883") == "MTForwarder-commands"
    assert name("mqtt://broker:1883", 3) == "MTForwarder-3-commands"
    kafka = ControlBusSettings(url="kafka://broker:9092", registry_url="http://registry:8081")
    assert command_subscription(kafka.address, "MTForwarder", 3) is None


@given(st.lists(st.sampled_from(["send", "take", "take and ack", "leave", "restart"]), max_size=40))
def test_durable_reader_gets_everything_that_it_did_not_acknowledge(steps: list[str]) -> None:
    """Whatever happens, the first deliveries are in order and nothing unacknowledged is lost."""

    async def night() -> None:
        broker = MemoryControlBroker()
        bus = MemoryControlBus(broker, identity="x")
        sent = 0
        seen: list[int] = []
        acked: set[int] = set()

        async def read(subscription: MemorySubscription, *, ack: bool) -> None:
            delivery = await anext(aiter(subscription))
            seen.append(delivery.message.sequence)
            if ack:
                await delivery.ack()
                acked.add(delivery.message.sequence)

        remaining = ["leave", *steps]
        while remaining:
            remaining.pop(0)
            async with bus.subscribe([STATE], durable="d", history=False) as subscription:
                while remaining and remaining[0] != "leave":
                    step = remaining.pop(0)
                    if step == "send":
                        await bus.publish(STATE, {"summaryState": 1})
                        sent += 1
                    elif step == "restart":
                        broker.stop()
                        broker.start()
                    elif sent > len(set(seen)):
                        await read(subscription, ack=step == "take and ack")
        async with bus.subscribe([STATE], durable="d", history=False) as subscription:
            while acked != set(range(1, sent + 1)):
                await read(subscription, ack=True)
        assert acked == set(range(1, sent + 1))
        assert list(dict.fromkeys(seen)) == list(range(1, sent + 1))

    asyncio.run(asyncio.wait_for(night(), 20))
