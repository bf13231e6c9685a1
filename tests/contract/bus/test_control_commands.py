"""Commands over every control bus: a real runner is commanded as observatory software does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiomqtt import Client

from daemons.bus import BusUnavailableError, Topic
from daemons.bus.commandable import CommandPolicy
from daemons.bus.commands import AckCode, CommandIssuer, RemoteCommandError
from daemons.runtime.state import State
from tests.contract.bus.control_benches import (
    Bench,
    KafkaBench,
    MemoryBench,
    MqttBench,
    nothing_more,
    take,
    until,
)
from tests.contract.bus.control_crew import COMPONENT, Crew, topic
from tests.support.fixtures import Starter
from tests.support.servers import Mosquitto

KINDS = [
    "memory",
    pytest.param("kafka", marks=pytest.mark.server),
    pytest.param("mqtt", marks=pytest.mark.server),
]
EVENTS = [
    topic(f"logevent_{name}")
    for name in (
        "logLevel",
        "simulationMode",
        "softwareVersions",
        "summaryState",
        "errorCode",
        "logMessage",
    )
]
ACK = topic("ackcmd")


def shared(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    if request.param == "kafka":
        return KafkaBench(
            request.getfixturevalue("kafka"), request.getfixturevalue("schema_registry")
        )
    return MqttBench(request.getfixturevalue("mosquitto"))


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = shared(request)
    yield made
    await made.close()


@pytest.fixture(params=KINDS[:2])
async def forgetting_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A bus that keeps no commands for who is away; on MQTT their age decides."""
    made = shared(request)
    yield made
    await made.close()


def durable(bench: Bench) -> str | None:
    return f"{bench.prefix}-commands" if isinstance(bench, MqttBench) else None


async def introduced(bench: Bench) -> None:
    """Wait until a service has told its state: from then on it obeys."""
    async with bench.bus().subscribe([topic("logevent_errorCode")]) as subscription:
        await take(subscription, 1)


async def test_service_is_taken_through_its_states_and_back(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    issuer = CommandIssuer(bench.bus("observer@summit"))
    async with crew.at_work():
        await introduced(bench)
        for command, after in [
            ("start", State.DISABLED),
            ("enable", State.ENABLED),
            ("disable", State.DISABLED),
            ("standby", State.STANDBY),
        ]:
            ack = await issuer.issue(COMPONENT, command, timeout_s=30)
            assert (ack.code, ack.result, ack.error) == (AckCode.COMPLETE, "Done", 0)
            assert crew.runner.state is after


async def test_start_is_told_in_sals_order(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with bench.bus().subscribe([*EVENTS, topic("logevent_heartbeat")]) as heard:
        await heard.ready()
        async with crew.at_work():
            seen = await take(heard, 1)
            while len({m.topic for m in seen}) < 6:
                seen += await take(heard, 1)
    told = {m.topic.name.removeprefix("logevent_"): m for m in seen}
    in_order = sorted((m for name, m in told.items() if name != "heartbeat"), key=lambda m: m.sent)
    assert [m.topic.name.removeprefix("logevent_") for m in in_order] == [
        "logLevel",
        "simulationMode",
        "softwareVersions",
        "summaryState",
        "errorCode",
    ]
    assert told["softwareVersions"].fields["cscVersion"] == "1.2.3"
    assert told["summaryState"].fields["summaryState"] == State.STANDBY
    assert told["errorCode"].fields["errorCode"] == 0
    assert told["heartbeat"].identity == COMPONENT


async def test_heart_beats(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with bench.bus().subscribe([topic("logevent_heartbeat")], history=False) as beats:
        await beats.ready()
        async with crew.at_work():
            messages = await take(beats, 4)
    numbers = [message.sequence for message in messages]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


async def test_acknowledgement_names_its_command_and_follows_the_state(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with crew.at_work():
        await introduced(bench)
        sender = bench.bus("observer@summit")
        async with bench.bus().subscribe(
            [ACK, topic("logevent_summaryState")], history=False
        ) as heard:
            await heard.ready()
            sent = await sender.publish(topic("command_start"), {}, sequence=1_234_567)
            answers = await take(heard, 2)
    by_name = {message.topic.name: message for message in answers}
    ack, state = by_name["ackcmd"], by_name["logevent_summaryState"]
    assert ack.sequence == 1_234_567
    assert ack.fields["identity"] == "observer@summit"
    assert ack.fields["origin"] == sent.origin
    assert ack.fields["ack"] == 303
    assert ack.fields["cmdtype"] == 6
    assert state.fields["summaryState"] == State.DISABLED
    assert state.sent <= ack.sent


async def test_command_that_the_state_does_not_allow_fails_with_the_reason(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    issuer = CommandIssuer(bench.bus("observer@summit"))
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(RemoteCommandError) as failure:
            await issuer.issue(COMPONENT, "enable", timeout_s=30)
        assert failure.value.ack.code is AckCode.FAILED
        assert failure.value.ack.error == 1
        assert failure.value.result.startswith("Failed: enable not allowed in state STANDBY")
        assert crew.runner.state is State.STANDBY


async def test_slow_command_asks_for_patience(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    crew.service.may_open.clear()
    async with crew.at_work():
        await introduced(bench)
        async with bench.bus().subscribe([ACK], history=False) as acks:
            await acks.ready()
            issuing = asyncio.create_task(
                CommandIssuer(bench.bus("observer@summit")).issue(COMPONENT, "start", timeout_s=15)
            )
            first, second = await take(acks, 2)
            crew.service.may_open.set()
            assert (await issuing).code is AckCode.COMPLETE
    assert [first.fields["ack"], second.fields["ack"]] == [301, 301]
    assert first.fields["timeout"] > 0


async def test_only_those_who_may_command_are_obeyed(bench: Bench) -> None:
    policy = CommandPolicy(allowed=("observer@*", "ScriptQueue:1"))
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench), policy=policy)
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(RemoteCommandError, match=r"NOPERM: guest@laptop may not command"):
            await CommandIssuer(bench.bus("guest@laptop")).issue(COMPONENT, "start", timeout_s=30)
        assert crew.service.opened == 0
        await CommandIssuer(bench.bus("ScriptQueue:1")).issue(COMPONENT, "start", timeout_s=30)
        assert crew.runner.state is State.DISABLED


async def test_log_level_is_set_and_told(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with crew.at_work():
        await introduced(bench)
        async with bench.bus().subscribe([topic("logevent_logLevel")], history=False) as heard:
            await heard.ready()
            await CommandIssuer(bench.bus("observer@summit")).issue(
                COMPONENT, "setLogLevel", {"level": 10, "subsystem": "bus"}, timeout_s=30
            )
            (message,) = await take(heard, 1)
    assert crew.levels == [(10, "bus")]
    assert message.fields == {"level": 10, "subsystem": "bus"}


async def test_exit_control_ends_it_after_the_acknowledgement(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with crew.at_work():
        await introduced(bench)
        async with bench.bus().subscribe([topic("logevent_summaryState")]) as states:
            ack = await CommandIssuer(bench.bus("observer@summit")).issue(
                COMPONENT, "exitControl", timeout_s=30
            )
            assert ack.code is AckCode.COMPLETE
            assert crew.task is not None
            async with asyncio.timeout(20):
                await crew.task
            assert [m.fields["summaryState"] for m in await take(states, 2)] == [5, 4]
        async with bench.bus().subscribe([topic("logevent_heartbeat")], history=False) as beats:
            await beats.ready()
            assert await nothing_more(beats)


async def test_services_that_share_a_name_are_told_apart_by_index(bench: Bench) -> None:
    name = "ArrieroForwarder"
    crews = [
        Crew(
            bench.bus(f"{name}:{index}"),
            component=name,
            index=index,
            durable=durable(bench) and f"{durable(bench)}-{index}",
        )
        for index in (1, 2)
    ]
    async with crews[0].at_work(), crews[1].at_work():
        error_codes = Topic(name, "logevent_errorCode")
        async with bench.bus().subscribe([error_codes]) as told:
            assert {m.topic.index for m in await take(told, 2)} == {1, 2}
        await CommandIssuer(bench.bus("observer@summit")).issue(
            name, "start", index=2, timeout_s=30
        )
        assert [crew.runner.state for crew in crews] == [State.STANDBY, State.DISABLED]


async def test_fault_is_told_before_the_state_and_taken_back_after(bench: Bench) -> None:
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    issuer = CommandIssuer(bench.bus("observer@summit"))
    async with crew.at_work():
        await introduced(bench)
        await issuer.issue(COMPONENT, "start", timeout_s=30)
        await issuer.issue(COMPONENT, "enable", timeout_s=30)
        async with bench.bus().subscribe(
            [topic("logevent_errorCode"), topic("logevent_logMessage"), EVENTS[3]], history=False
        ) as heard:
            await heard.ready()
            crew.service.breaks.set()
            fault = sorted(await take(heard, 3), key=lambda message: message.sent)
            assert [m.topic.name for m in fault] == [
                "logevent_errorCode",
                "logevent_logMessage",
                "logevent_summaryState",
            ]
            assert fault[0].fields["errorCode"] == 1
            assert "the sensor is on fire" in fault[0].fields["errorReport"]
            assert "RuntimeError" in fault[0].fields["traceback"]
            assert fault[1].fields["level"] == 50
            assert fault[2].fields["summaryState"] == State.FAULT
            await issuer.issue(COMPONENT, "standby", timeout_s=30)
            well = sorted(await take(heard, 2), key=lambda message: message.sent)
            assert well[0].fields["summaryState"] == State.STANDBY
            assert well[1].fields["errorCode"] == 0


async def test_nobody_there_is_said_so(bench: Bench) -> None:
    issuer = CommandIssuer(bench.bus("observer@summit"))
    with pytest.raises(RemoteCommandError) as failure:
        await issuer.issue(COMPONENT, "start", timeout_s=3.0)
    assert failure.value.ack.code is AckCode.NOACK


async def test_command_from_before_the_start_is_not_carried_out(forgetting_bench: Bench) -> None:
    bench = forgetting_bench
    await bench.bus("observer@summit").publish(topic("command_start"), {})
    crew = Crew(bench.bus(COMPONENT))
    async with crew.at_work():
        await introduced(bench)
        await asyncio.sleep(1.0)
    assert crew.service.opened == 0


@pytest.mark.server
async def test_command_that_comes_again_is_acknowledged_again_and_not_carried_out_twice(
    mosquitto: Mosquitto,
) -> None:
    bench = MqttBench(mosquitto)
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    sender = bench.bus("observer@summit")
    async with crew.at_work(), bench.bus().subscribe([ACK]) as acks:
        await introduced(bench)
        await acks.ready()
        answers = []
        for _ in range(3):
            await sender.publish(topic("command_start"), {}, sequence=77)
            answers += await take(acks, 1)
    await bench.close()
    assert [answer.fields["ack"] for answer in answers] == [303, 303, 303]
    assert crew.service.opened == 1


@pytest.mark.server
async def test_command_is_kept_by_the_broker_until_it_is_carried_out(
    start_mosquitto: Starter[Mosquitto],
) -> None:
    bench = MqttBench(start_mosquitto())
    name = durable(bench)
    crew = Crew(bench.bus(COMPONENT), durable=name)
    crew.service.may_open.clear()
    async with crew.at_work():
        await introduced(bench)
        await bench.bus("observer@summit").publish(topic("command_start"), {}, sequence=5)
        await until(lambda: crew.service.opened == 1)
        await bench.stop()  # before the command is done, so it was not acknowledged
        await bench.start()
        await until(lambda: bench.broker_is_well)
        crew.service.may_open.set()
        await until(lambda: crew.runner.state is State.DISABLED)
        await asyncio.sleep(1.0)
        assert crew.service.opened == 1
    await bench.close()


@pytest.mark.server
async def test_old_command_is_refused_with_its_age(mosquitto: Mosquitto) -> None:
    bench = MqttBench(mosquitto)
    policy = CommandPolicy(stale_after_s=0.5)
    first = Crew(bench.bus(COMPONENT), durable=durable(bench), policy=policy)
    async with first.at_work():
        await introduced(bench)
    await bench.bus("observer@summit").publish(topic("command_start"), {}, sequence=9)
    await asyncio.sleep(1.0)
    second = Crew(bench.bus(COMPONENT), durable=durable(bench), policy=policy)
    async with bench.bus().subscribe([ACK]) as acks:
        await acks.ready()
        async with second.at_work():
            (answer,) = await take(acks, 1)
    await bench.close()
    assert answer.fields["ack"] == AckCode.TIMEOUT
    assert "sent 1 s ago, so it was not carried out" in answer.fields["result"]
    assert second.service.opened == 0


@pytest.mark.server
async def test_retained_command_is_never_carried_out(mosquitto: Mosquitto) -> None:
    bench = MqttBench(mosquitto)
    name = f"{bench.prefix}/{COMPONENT}/command_start"
    async with Client("127.0.0.1", mosquitto.port) as client:
        await client.publish(
            name, b'{"private_seqNum": 4, "private_sndStamp": 1.0}', 1, retain=True
        )
    crew = Crew(bench.bus(COMPONENT), durable=durable(bench))
    async with crew.at_work():
        await introduced(bench)
        await CommandIssuer(bench.bus("observer@summit")).issue(
            COMPONENT, "setLogLevel", {"level": 20}, timeout_s=30
        )
    await bench.close()
    assert crew.service.opened == 0


async def test_state_that_changed_while_the_broker_was_away_is_told_later() -> None:
    bench = MemoryBench()
    crew = Crew(bench.bus(COMPONENT))
    states = topic("logevent_summaryState")
    async with bench.bus().subscribe([states], history=False) as told, crew.at_work():
        assert [m.fields["summaryState"] for m in await take(told, 1)] == [State.STANDBY]
        await bench.stop()
        await crew.runner.go_to(State.ENABLED)
        with pytest.raises(BusUnavailableError):
            await bench.bus().publish(states, {})
        await bench.start()
        assert [m.fields["summaryState"] for m in await take(told, 2)] == [1, 2]


async def test_service_that_ends_says_so_and_aborts_what_is_in_hand() -> None:
    bench = MemoryBench()
    crew = Crew(bench.bus(COMPONENT))
    crew.service.may_open.clear()
    async with bench.bus().subscribe([ACK]) as acks:
        async with crew.at_work():
            await introduced(bench)
            await bench.bus("observer@summit").publish(topic("command_start"), {}, sequence=3)
            await until(lambda: crew.service.opened == 1)
            assert crew.task is not None
            crew.task.cancel()
            await asyncio.wait({crew.task})
            crew.service.may_open.set()
        answers = await take(acks, 1)
        while answers[-1].fields["ack"] == AckCode.INPROGRESS:
            answers = await take(acks, 1)
    assert answers[-1].fields["ack"] == AckCode.ABORTED


async def test_number_that_is_not_positive_is_refused() -> None:
    bench = MemoryBench()
    crew = Crew(bench.bus(COMPONENT))
    async with crew.at_work(), bench.bus().subscribe([ACK]) as acks:
        await introduced(bench)
        await bench.bus("observer@summit").publish(topic("command_start"), {}, sequence=0)
        (answer,) = await take(acks, 1)
    assert answer.fields["result"] == "Failed: private_seqNum must be positive"
    assert crew.service.opened == 0


async def test_answers_to_others_are_not_taken_for_ours() -> None:
    bench = MemoryBench()
    other = bench.bus(COMPONENT)
    listening = asyncio.Event()

    async def answer() -> None:
        async with other.subscribe([topic("command_start")]) as commands:
            listening.set()
            (command,) = await take(commands, 1)
            fields = {"ack": 303, "identity": command.identity, "origin": command.origin}
            for change, sequence in [
                ({"identity": "someone@else"}, command.sequence),
                ({"origin": command.origin + 1}, command.sequence),
                ({}, command.sequence + 1),
            ]:
                await other.publish(ACK, fields | change, sequence=sequence)
            last = fields | {"ack": 12345, "result": "?"}
            await other.publish(ACK, last, sequence=command.sequence)

    answering = asyncio.create_task(answer())
    await listening.wait()
    with pytest.raises(RemoteCommandError, match=r"FAILED: answered with the unknown code 12345"):
        await CommandIssuer(bench.bus("observer@summit")).issue(COMPONENT, "start")
    await answering
