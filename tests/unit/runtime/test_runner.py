"""The life cycle of one service under its runner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemons.runtime.errors import CommandFailedError, CommandRefusedError
from daemons.runtime.runner import FaultCode, ServiceRunner
from daemons.runtime.service import JsonObject
from daemons.runtime.state import Command, State, allowed, transition


class Recorder:
    """A service that writes down what is asked of it, and fails where it is told to."""

    name = "recorder"

    def __init__(self, **raises: Exception) -> None:
        self.calls: list[str] = []
        self.raises: dict[str, Exception] = raises
        self.end_work = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.stubborn = asyncio.Event()
        self.stubborn.set()

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.raises:
            raise self.raises[what]

    async def open(self) -> None:
        await self.may_open.wait()
        self._called("open")

    async def work(self) -> None:
        self._called("work")
        try:
            await self.end_work.wait()
            self._called("work_end")
        except asyncio.CancelledError:
            self.calls.append("cancelled")
            await self.stubborn.wait()
            raise

    async def drain(self) -> None:
        self._called("drain")
        await self.drained.wait()

    async def close(self) -> None:
        self._called("close")

    def status(self) -> JsonObject:
        return {"calls": len(self.calls)}

    def reload(self, settings: Any) -> tuple[str, ...]:
        del settings
        return ()


async def settle(runner: ServiceRunner, state: State) -> None:
    async with asyncio.timeout(5):
        await runner.wait_for(state)


async def test_a_whole_life_calls_the_service_in_order() -> None:
    service = Recorder()
    runner = ServiceRunner(service)
    states: list[State] = []
    runner.on_state(states.append)
    await runner.go_to(State.ENABLED)
    await asyncio.sleep(0)
    await runner.go_to(State.OFFLINE)
    assert service.calls == ["open", "work", "drain", "cancelled", "close"]
    assert states == [
        State.DISABLED,
        State.ENABLED,
        State.DISABLED,
        State.STANDBY,
        State.OFFLINE,
    ]


async def test_a_command_that_the_state_does_not_allow_changes_nothing() -> None:
    service = Recorder()
    runner = ServiceRunner(service)
    with pytest.raises(CommandRefusedError, match="enable not allowed in state STANDBY"):
        await runner.command(Command.ENABLE)
    assert runner.state is State.STANDBY
    assert service.calls == []


async def test_a_configuration_override_is_refused() -> None:
    runner = ServiceRunner(Recorder())
    with pytest.raises(CommandRefusedError, match="configurationOverride must be empty"):
        await runner.command(Command.START, configurationOverride="night.yaml")
    assert await runner.command(Command.START, configurationOverride="") is State.DISABLED


@pytest.mark.parametrize(
    ("what", "code", "report"),
    [
        ("work", FaultCode.WORK_FAILED, "work of recorder failed: no journal"),
        ("work_end", FaultCode.WORK_FAILED, "work of recorder failed: no journal"),
    ],
)
async def test_work_that_fails_is_a_fault_with_a_traceback(
    what: str, code: FaultCode, report: str
) -> None:
    service = Recorder(**{what: RuntimeError("no journal")})
    service.end_work.set()
    runner = ServiceRunner(service)
    with capture_logs() as logs:
        await runner.go_to(State.ENABLED)
        await settle(runner, State.FAULT)
    assert runner.error is not None
    assert (runner.error.code, runner.error.report) == (code, report)
    assert "RuntimeError: no journal" in runner.error.traceback
    (line,) = [line for line in logs if line["event"] == "service_fault"]
    assert line["log_level"] == "error"
    assert not runner.ready


async def test_work_that_returns_is_a_fault() -> None:
    service = Recorder()
    service.end_work.set()
    runner = ServiceRunner(service)
    await runner.go_to(State.ENABLED)
    await settle(runner, State.FAULT)
    assert runner.error is not None
    assert runner.error.code == FaultCode.WORK_ENDED


async def test_after_a_fault_standby_closes_and_the_service_starts_anew() -> None:
    service = Recorder(work=RuntimeError("once"))
    runner = ServiceRunner(service)
    await runner.go_to(State.ENABLED)
    await settle(runner, State.FAULT)
    service.raises.clear()
    await runner.go_to(State.ENABLED)
    assert runner.error is None
    assert service.calls[:4] == ["open", "work", "close", "open"]
    assert runner.state is State.ENABLED
    await runner.stop()


async def test_a_fault_from_outside_stops_the_work_at_once_without_draining() -> None:
    service = Recorder()
    runner = ServiceRunner(service)
    await runner.go_to(State.ENABLED)
    await asyncio.sleep(0)
    await runner.fault(101, "the dome fell on us", "trace")
    assert runner.state is State.FAULT
    assert service.calls[-1] == "cancelled"
    assert runner.error is not None
    assert (runner.error.code, runner.error.traceback) == (101, "trace")


async def test_a_fault_in_offline_or_fault_is_ignored() -> None:
    runner = ServiceRunner(Recorder())
    await runner.fault(101, "first")
    await runner.fault(102, "second")
    assert runner.error is not None
    assert runner.error.code == 101
    await runner.stop()
    await runner.fault(103, "too late")
    assert runner.state is State.OFFLINE


async def test_a_fault_that_the_work_itself_asks_for_does_not_wait_for_itself() -> None:
    class SelfFaulting(Recorder):
        async def work(self) -> None:
            await runner.fault(150, "from inside")
            await super().work()

    runner = ServiceRunner(SelfFaulting())
    await runner.go_to(State.ENABLED)
    await settle(runner, State.FAULT)
    assert runner.error is not None
    assert runner.error.code == 150


async def test_a_fault_asked_for_while_draining_comes_after_the_command() -> None:
    class SelfFaulting(Recorder):
        async def drain(self) -> None:
            await runner.fault(150, "from the drain")

    runner = ServiceRunner(SelfFaulting())
    await runner.go_to(State.ENABLED)
    assert await runner.command(Command.DISABLE) is State.DISABLED
    await settle(runner, State.FAULT)


@pytest.mark.parametrize(
    ("what", "path", "code"),
    [
        ("open", (Command.START,), FaultCode.OPEN_FAILED),
        ("drain", (Command.START, Command.ENABLE, Command.DISABLE), FaultCode.DRAIN_FAILED),
        ("close", (Command.START, Command.STANDBY), FaultCode.CLOSE_FAILED),
    ],
)
async def test_a_step_that_fails_is_a_fault_and_the_command_says_so(
    what: str, path: tuple[Command, ...], code: FaultCode
) -> None:
    runner = ServiceRunner(Recorder(**{what: OSError("disk on fire")}))
    for command in path[:-1]:
        await runner.command(command)
    with pytest.raises(CommandFailedError, match=f"{what} of recorder failed: disk on fire"):
        await runner.command(path[-1])
    assert runner.state is State.FAULT
    assert runner.error is not None
    assert runner.error.code == code


async def test_an_open_that_hangs_is_a_fault_after_its_time() -> None:
    service = Recorder()
    service.may_open.clear()
    runner = ServiceRunner(service, step_timeout_s=0.02)
    with pytest.raises(CommandFailedError, match=r"it took longer than 0\.02 s"):
        await runner.command(Command.START)
    assert runner.state is State.FAULT


async def test_a_time_out_of_the_service_itself_keeps_its_own_words() -> None:
    runner = ServiceRunner(Recorder(open=TimeoutError("journal locked")))
    with pytest.raises(CommandFailedError, match="journal locked"):
        await runner.command(Command.START)


async def test_a_drain_that_hangs_is_cut_off_and_the_service_is_disabled() -> None:
    service = Recorder()
    service.drained.clear()
    runner = ServiceRunner(service, drain_timeout_s=0.02)
    await runner.go_to(State.ENABLED)
    await asyncio.sleep(0)
    with capture_logs() as logs:
        assert await runner.command(Command.DISABLE) is State.DISABLED
    assert [line["event"] for line in logs] == ["drain_timed_out", "service_state"]
    assert runner.drains_cut_off == 1
    assert service.calls[-1] == "cancelled"


async def test_a_service_that_drains_is_not_ready() -> None:
    service = Recorder()
    service.drained.clear()
    runner = ServiceRunner(service)
    await runner.go_to(State.ENABLED)
    assert runner.ready
    disable = asyncio.create_task(runner.command(Command.DISABLE))
    await asyncio.sleep(0.01)
    assert runner.draining
    assert runner.state is State.ENABLED
    assert not runner.ready
    service.drained.set()
    await disable
    assert not runner.draining


async def test_work_that_ends_because_it_is_drained_is_no_fault() -> None:
    class Finite(Recorder):
        async def drain(self) -> None:
            self.end_work.set()
            await asyncio.sleep(0.01)

    runner = ServiceRunner(Finite())
    await runner.go_to(State.ENABLED)
    await asyncio.sleep(0)
    assert await runner.command(Command.DISABLE) is State.DISABLED
    await asyncio.sleep(0.01)
    assert runner.state is State.DISABLED


async def test_work_that_does_not_end_is_a_fault_and_is_never_run_twice() -> None:
    service = Recorder()
    service.stubborn.clear()
    runner = ServiceRunner(service, cancel_timeout_s=0.02)
    await runner.go_to(State.ENABLED)
    await asyncio.sleep(0)
    with pytest.raises(CommandFailedError, match="does not end"):
        await runner.command(Command.DISABLE)
    assert runner.error is not None
    assert runner.error.code == FaultCode.WORK_STUCK
    await runner.command(Command.STANDBY)
    with pytest.raises(CommandRefusedError, match="start the process anew"):
        await runner.command(Command.START)
    service.stubborn.set()
    await asyncio.sleep(0.01)
    assert await runner.command(Command.START) is State.DISABLED


async def test_commands_come_one_at_a_time_in_the_order_given() -> None:
    service = Recorder()
    service.may_open.clear()
    runner = ServiceRunner(service)
    start = asyncio.create_task(runner.command(Command.START))
    enable = asyncio.create_task(runner.command(Command.ENABLE))
    await asyncio.sleep(0.01)
    assert runner.state is State.STANDBY
    service.may_open.set()
    assert await start is State.DISABLED
    assert await enable is State.ENABLED
    await runner.stop()


async def test_a_command_goes_on_when_its_caller_is_cancelled() -> None:
    service = Recorder()
    service.may_open.clear()
    runner = ServiceRunner(service)
    start = asyncio.create_task(runner.command(Command.START))
    await asyncio.sleep(0.01)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    service.may_open.set()
    await settle(runner, State.DISABLED)


async def test_a_listener_that_fails_is_logged_and_stops_nobody() -> None:
    runner = ServiceRunner(Recorder())
    heard: list[State] = []

    def broken(_state: State) -> None:
        raise ValueError("listener")

    runner.on_state(broken)
    remove = runner.on_state(heard.append)
    with capture_logs() as logs:
        await runner.command(Command.START)
    assert heard == [State.DISABLED]
    assert "state_listener_failed" in [line["event"] for line in logs]
    remove()
    remove()
    await runner.command(Command.ENABLE)
    assert heard == [State.DISABLED]
    await runner.stop()


async def test_ready_needs_every_dependency() -> None:
    runner = ServiceRunner(Recorder())
    runner.health.expect("store")
    await runner.go_to(State.ENABLED)
    assert not runner.ready
    runner.health.report("store", ok=True, reason="")
    assert runner.ready
    await runner.stop()


@pytest.mark.parametrize("start", [State.STANDBY, State.DISABLED, State.ENABLED])
async def test_stop_ends_in_order_from_any_state(start: State) -> None:
    runner = ServiceRunner(Recorder())
    await runner.go_to(start)
    assert await runner.stop() is True
    assert runner.state is State.OFFLINE


@pytest.mark.parametrize("what", ["drain", "close"])
async def test_stop_ends_even_where_a_step_fails_and_says_so(what: str) -> None:
    runner = ServiceRunner(Recorder(**{what: OSError("disk on fire")}))
    await runner.go_to(State.ENABLED)
    assert await runner.stop() is False
    assert runner.state is State.OFFLINE


async def test_stop_after_a_drain_that_was_cut_off_says_so() -> None:
    service = Recorder()
    service.drained.clear()
    runner = ServiceRunner(service, drain_timeout_s=0.01)
    await runner.go_to(State.ENABLED)
    assert await runner.stop() is False


async def test_there_is_no_way_to_fault_by_command() -> None:
    runner = ServiceRunner(Recorder())
    with pytest.raises(CommandRefusedError, match="no command leads from STANDBY to FAULT"):
        await runner.go_to(State.FAULT)


async def test_an_exception_without_words_is_named_by_its_type() -> None:
    runner = ServiceRunner(Recorder(open=RuntimeError()))
    with pytest.raises(CommandFailedError, match="open of recorder failed: RuntimeError"):
        await runner.command(Command.START)


ACTIONS = st.lists(st.sampled_from([*Command, "fault", "break_work"]), max_size=25)


async def _follow(actions: list[Command | str]) -> None:
    service = Recorder()
    runner = ServiceRunner(service)
    expected = State.STANDBY
    for action in actions:
        if isinstance(action, Command):
            if action in allowed(expected):
                expected = transition(expected, action)
                assert await runner.command(action) is expected
                if expected is State.DISABLED:
                    service.end_work.clear()
            else:
                with pytest.raises(CommandRefusedError):
                    await runner.command(action)
        elif action == "fault" and expected is not State.OFFLINE:
            expected = State.FAULT
            await runner.fault(100, "asked for")
        elif action == "break_work" and expected is State.ENABLED:
            expected = State.FAULT
            service.end_work.set()
            await settle(runner, State.FAULT)
        assert runner.state is expected
        assert (runner.error is not None) is (expected is State.FAULT)
        working = runner._work is not None and not runner._work.done()
        assert working is (expected is State.ENABLED)
    await runner.stop()
    opened = sum(call == "open" for call in service.calls)
    assert not opened or service.calls.count("close") >= 1


@settings(max_examples=60)
@given(ACTIONS)
def test_the_runner_follows_the_state_machine(actions: list[Command | str]) -> None:
    asyncio.run(_follow(actions))


def test_the_recorder_is_a_service() -> None:
    statuses: Mapping[str, Any] = ServiceRunner(Recorder()).service.status()
    assert statuses == {"calls": 0}
