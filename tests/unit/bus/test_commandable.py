"""What a commandable service does when commands are odd; on memory, with a real runner."""

from __future__ import annotations

import pytest
import structlog

from daemons.bus import Topic
from daemons.bus.commandable import Commandable, CommandPolicy, Presence
from daemons.bus.commands import AckCode, CommandIssuer, RemoteCommandError
from daemons.bus.control.log_relay import LogRelay
from daemons.runtime.clock import SystemClock
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import Command, State
from tests.contract.bus.control_benches import MemoryBench, nothing_more, take
from tests.contract.bus.control_crew import COMPONENT, Crew, IdleService, topic


@pytest.fixture
def bench() -> MemoryBench:
    return MemoryBench()


def observer(bench: MemoryBench) -> CommandIssuer:
    return CommandIssuer(bench.bus("observer@summit"))


async def introduced(bench: MemoryBench, component: str = COMPONENT) -> None:
    async with bench.bus().subscribe([Topic(component, "logevent_errorCode")]) as subscription:
        await take(subscription, 1)


async def test_command_for_another_index_is_left_to_it(bench: MemoryBench) -> None:
    name = "ArrieroForwarder"
    crew = Crew(bench.bus(name), component=name)
    async with crew.at_work(), bench.bus().subscribe([Topic(name, "ackcmd")]) as acks:
        await introduced(bench, name)
        await bench.bus("observer@summit").publish(Topic(name, "command_start", 4), {})
        assert await nothing_more(acks)
    assert crew.service.opened == 0


async def test_command_that_takes_too_long_is_given_up(bench: MemoryBench) -> None:
    crew = Crew(bench.bus(COMPONENT), policy=CommandPolicy(limit_s=0.2))
    crew.service.may_open.clear()
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(RemoteCommandError, match=r"TIMEOUT: not done within 0.2 s"):
            await observer(bench).issue(COMPONENT, "start")
        crew.service.may_open.set()


async def test_command_that_goes_wrong_says_how(bench: MemoryBench) -> None:
    class Broken(IdleService):
        async def open(self) -> None:
            raise OSError("the journal's disk is gone")

    crew = Crew(bench.bus(COMPONENT))
    crew.runner.service = Broken()
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(
            RemoteCommandError, match=r"FAILED: Failed: .*the journal's disk is gone"
        ):
            await observer(bench).issue(COMPONENT, "start")
        assert crew.runner.state is State.FAULT


async def test_target_that_breaks_does_not_end_the_service(bench: MemoryBench) -> None:
    class Fragile(ServiceRunner):
        async def command(self, command: Command, **fields: object) -> State:
            if command is Command.START:
                raise KeyError("bug")
            return await super().command(command, **fields)

    crew = Crew(bench.bus(COMPONENT))
    crew.runner = Fragile(crew.service)
    crew.commandable = Commandable(
        bench.bus(COMPONENT),
        crew.runner,
        Presence(component=COMPONENT),
        clock=SystemClock(),
    )
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(RemoteCommandError, match=r"FAILED: Failed: 'bug'"):
            await observer(bench).issue(COMPONENT, "start")
        with pytest.raises(RemoteCommandError, match=r"cannot be set from here"):
            await observer(bench).issue(COMPONENT, "setLogLevel", {"level": 10})
        assert (await observer(bench).issue(COMPONENT, "exitControl")).code is AckCode.COMPLETE


async def test_configuration_override_is_refused_with_the_reason(bench: MemoryBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with crew.at_work():
        await introduced(bench)
        with pytest.raises(RemoteCommandError, match=r"configurationOverride must be empty"):
            await observer(bench).issue(COMPONENT, "start", {"configurationOverride": "x.yaml"})


async def test_commands_that_come_together_are_carried_out_in_their_order(
    bench: MemoryBench,
) -> None:
    crew = Crew(bench.bus(COMPONENT))
    sender = bench.bus("observer@summit")
    async with crew.at_work(), bench.bus().subscribe([topic("ackcmd")]) as acks:
        await introduced(bench)
        for number, name in enumerate(["start", "enable", "disable", "standby"], start=1):
            await sender.publish(topic(f"command_{name}"), {}, sequence=number)
        answers = await take(acks, 4)
    assert [(a.sequence, a.fields["ack"]) for a in answers] == [(n, 303) for n in range(1, 5)]


async def test_warnings_of_the_log_are_published_while_it_serves(bench: MemoryBench) -> None:
    relay = LogRelay(SystemClock())
    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[structlog.processors.add_log_level, relay, structlog.processors.JSONRenderer()],
    )
    crew = Crew(bench.bus(COMPONENT), relay=relay)
    async with bench.bus().subscribe([topic("logevent_logMessage")]) as messages:
        async with crew.at_work():
            await introduced(bench)
            log.warning("disk_almost_full", free_bytes=5)
            (message,) = await take(messages, 1)
        log.warning("after_the_end")
        assert await nothing_more(messages)
    assert message.fields["message"] == "disk_almost_full free_bytes=5"
    assert message.fields["level"] == 30


async def test_service_in_fault_at_start_says_why(bench: MemoryBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    await crew.runner.fault(104, "no camera")
    async with bench.bus().subscribe([topic("logevent_errorCode")]) as told, crew.at_work():
        (message,) = await take(told, 1)
        assert (message.fields["errorCode"], message.fields["errorReport"]) == (104, "no camera")
        await observer(bench).issue(COMPONENT, "standby")
        assert [m.fields["errorCode"] for m in await take(told, 1)] == [0]
