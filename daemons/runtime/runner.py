"""Runs one service: its commandable state, its work as a supervised task, its end.

Commands come one at a time and are carried through even when whoever asked goes
away. What goes wrong ends in FAULT with a report; the other services of the
process notice nothing.
"""

from __future__ import annotations

import asyncio
import traceback as traceback_module
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import structlog

from daemons.runtime.errors import CommandFailedError, CommandRefusedError
from daemons.runtime.health import HealthBoard
from daemons.runtime.service import Service
from daemons.runtime.state import Command, State, path_to, transition

_log = structlog.get_logger(__name__)

StateListener = Callable[[State], None]
"""Called after each change of state, on the event loop; must not block."""


class FaultCode(IntEnum):
    """`errorCode` of the faults that the runtime itself finds; services use codes from 100."""

    WORK_FAILED = 1
    """`work` raised."""
    WORK_ENDED = 2
    """`work` returned, which it never should."""
    OPEN_FAILED = 3
    """`open` raised or took too long."""
    CLOSE_FAILED = 4
    """`close` raised or took too long."""
    DRAIN_FAILED = 5
    """`drain` raised."""
    WORK_STUCK = 6
    """`work` did not end when it was cancelled; only a new process helps."""


@dataclass(frozen=True, slots=True)
class FaultReport:
    """Why a service is in FAULT."""

    code: int
    """See `FaultCode`."""
    report: str
    """What happened and what to do."""
    traceback: str
    """Where, for those who mend the program; may be empty."""
    at: datetime
    """When, UTC."""


class ServiceRunner:
    """Gives a service its life cycle.

    Parameters
    ----------
    service
        The service; it starts in STANDBY, and nothing of it is called before a command.
    health
        Where the service reports what it depends on; None: a board of its own.
    drain_timeout_s
        How long work in hand may take to finish before it is cut off.
    step_timeout_s
        How long `open` and `close` may take.
    cancel_timeout_s
        How long `work` may take to end once it is cancelled.
    """

    def __init__(
        self,
        service: Service,
        *,
        health: HealthBoard | None = None,
        drain_timeout_s: float = 30.0,
        step_timeout_s: float = 30.0,
        cancel_timeout_s: float = 5.0,
    ) -> None:
        self.service = service
        self.health = HealthBoard() if health is None else health
        self.drain_timeout_s = drain_timeout_s
        self.drains_cut_off = 0
        self._step_timeout_s = step_timeout_s
        self._cancel_timeout_s = cancel_timeout_s
        self._state = State.STANDBY
        self._since = datetime.now(tz=UTC)
        self._error: FaultReport | None = None
        self._listeners: list[StateListener] = []
        self._lock = asyncio.Lock()
        self._in_command: asyncio.Task[Any] | None = None
        self._work: asyncio.Task[None] | None = None
        self._draining = False
        self._faults: set[asyncio.Task[None]] = set()
        self._commands: set[asyncio.Task[State]] = set()

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.service.name

    @property
    def state(self) -> State:
        """Present state."""
        return self._state

    @property
    def since(self) -> datetime:
        """When the present state began, UTC."""
        return self._since

    @property
    def draining(self) -> bool:
        """True while work in hand is being finished."""
        return self._draining

    @property
    def error(self) -> FaultReport | None:
        """Why the service is in FAULT; None in every other state."""
        return self._error

    @property
    def ready(self) -> bool:
        """True when the service works and everything that it depends on is there."""
        return self._state is State.ENABLED and not self._draining and self.health.ready

    def on_state(self, listener: StateListener) -> Callable[[], None]:
        """Call `listener` after each change of state; returns what takes it off again."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    async def wait_for(self, *states: State) -> State:
        """Wait until the service is in one of some states."""
        if self._state in states:
            return self._state
        reached: asyncio.Future[State] = asyncio.get_running_loop().create_future()

        def listen(state: State) -> None:
            if state in states and not reached.done():
                reached.set_result(state)

        remove = self.on_state(listen)
        try:
            return await reached
        finally:
            remove()

    async def command(self, command: Command, **fields: Any) -> State:
        """Carry out a command and return the state after it.

        Cancelling the caller does not stop a command that has begun.

        Parameters
        ----------
        command
            What to do.
        **fields
            The command's fields on the control bus. A `configurationOverride` is
            refused, for the configuration is the host's file.

        Raises
        ------
        CommandRefusedError
            The state does not allow it; nothing has changed.
        CommandFailedError
            It went wrong; the service is in FAULT.
        """
        override = fields.get("configurationOverride")
        if override:
            raise CommandRefusedError(
                f"{self.name} is configured by its file alone: configurationOverride must be "
                f"empty, not {override!r}"
            )
        return await self._serialised(lambda: self._carry_out(command))

    async def go_to(self, target: State) -> State:
        """Give the commands that lead from the present state to another.

        Raises
        ------
        CommandRefusedError
            No command leads there.
        CommandFailedError
            One of the commands went wrong; the service is in FAULT.
        """
        for command in path_to(self._state, target):
            await self.command(command)
        return self._state

    async def fault(self, code: int, report: str, traceback: str = "") -> None:
        """Put the service into FAULT and stop its work at once.

        From inside a command or the work itself this returns before the state has changed, for
        the one must end and the other be cancelled first.
        """
        what = FaultReport(code, report, traceback, datetime.now(tz=UTC))
        task = asyncio.create_task(self._enter_fault(what), name=f"{self.name}.fault")
        self._faults.add(task)
        task.add_done_callback(self._faults.discard)
        if asyncio.current_task() not in (self._in_command, self._work):
            await asyncio.shield(task)

    async def stop(self) -> bool:
        """Bring the service to OFFLINE from any state, finishing what is in hand if time allows.

        Returns whether everything ended in order.
        """
        failures = 0
        cut_off = self.drains_cut_off
        while self._state is not State.OFFLINE:
            command = path_to(self._state, State.OFFLINE)[0]
            try:
                await self.command(command)
            except CommandFailedError:
                failures += 1
                if command is Command.STANDBY:
                    await self._serialised(self._abandon)
            except CommandRefusedError:
                continue  # a fault came between; the next look at the state finds the way
        return failures == 0 and self.drains_cut_off == cut_off

    async def _serialised(self, step: Callable[[], Coroutine[Any, Any, State]]) -> State:
        """Run a step alone, in a task of its own that outlives a caller who is cancelled."""
        task = asyncio.create_task(self._alone(step), name=f"{self.name}.command")
        self._commands.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[State]) -> None:
        self._commands.discard(task)
        if not task.cancelled():
            task.exception()  # fetched, for whoever asked may have gone away

    async def _alone(self, step: Callable[[], Coroutine[Any, Any, State]]) -> State:
        structlog.contextvars.bind_contextvars(service=self.name)
        async with self._lock:
            self._in_command = asyncio.current_task()
            try:
                return await step()
            finally:
                self._in_command = None

    async def _carry_out(self, command: Command) -> State:
        after = transition(self._state, command)
        if command is Command.START:
            await self._open()
        elif command is Command.ENABLE:
            self._start_work()
        elif command is Command.DISABLE:
            await self._finish_work()
        elif command is Command.STANDBY:
            await self._close()
        self._set_state(after)
        return after

    async def _open(self) -> None:
        self._refuse_stuck_work()
        await self._step(FaultCode.OPEN_FAILED, "open", self.service.open())

    async def _close(self) -> None:
        await self._step(FaultCode.CLOSE_FAILED, "close", self.service.close())

    def _start_work(self) -> None:
        self._refuse_stuck_work()
        self._work = asyncio.create_task(self._supervise(), name=f"{self.name}.work")

    async def _finish_work(self) -> None:
        """Drain within the time allowed, then cancel the work."""
        self._draining = True
        failure: CommandFailedError | None = None
        bound = asyncio.timeout(self.drain_timeout_s)
        try:
            async with bound:
                await self.service.drain()
        except Exception as error:  # noqa: BLE001 - a service's drain ends here
            if bound.expired():
                self._drain_timed_out()
            else:
                failure = self._fail(FaultCode.DRAIN_FAILED, "drain", error)
        finally:
            await self._cancel_work()
            self._draining = False
        if failure is not None:
            raise failure

    def _drain_timed_out(self) -> None:
        self.drains_cut_off += 1
        _log.warning(
            "drain_timed_out",
            service=self.name,
            timeout_s=self.drain_timeout_s,
            hint="what was in hand is taken up again at the next start",
        )

    async def _cancel_work(self) -> None:
        work = self._work
        if work is None:
            return
        work.cancel()
        await asyncio.wait([work], timeout=self._cancel_timeout_s)
        if not work.done():
            raise self._fail(FaultCode.WORK_STUCK, "work", TimeoutError("does not end"))
        self._work = None

    def _refuse_stuck_work(self) -> None:
        if self._work is not None and not self._work.done():
            raise CommandRefusedError(
                f"earlier work of {self.name} has not ended; start the process anew"
            )

    async def _step(self, code: FaultCode, what: str, awaitable: Coroutine[Any, Any, None]) -> None:
        bound = asyncio.timeout(self._step_timeout_s)
        try:
            async with bound:
                await awaitable
        except Exception as error:
            late = TimeoutError(f"it took longer than {self._step_timeout_s:g} s")
            raise self._fail(code, what, late if bound.expired() else error) from error

    def _fail(self, code: FaultCode, what: str, error: BaseException) -> CommandFailedError:
        """Enter FAULT from inside a command, and return what the command raises."""
        report = f"{what} of {self.name} failed: {_sentence(error)}"
        trace = "".join(traceback_module.format_exception(error))
        self._set_fault(FaultReport(code, report, trace, datetime.now(tz=UTC)))
        return CommandFailedError(report)

    async def _supervise(self) -> None:
        structlog.contextvars.bind_contextvars(service=self.name)
        try:
            await self.service.work()
        except Exception as error:  # noqa: BLE001 - the work of a service ends here
            report = f"work of {self.name} failed: {_sentence(error)}"
            await self.fault(FaultCode.WORK_FAILED, report, traceback_module.format_exc())
        else:
            if not self._draining:
                await self.fault(
                    FaultCode.WORK_ENDED, f"work of {self.name} ended without being told to"
                )

    async def _enter_fault(self, what: FaultReport) -> None:
        async with self._lock:
            if self._state in (State.OFFLINE, State.FAULT):
                return
            self._in_command = asyncio.current_task()
            try:
                self._set_fault(what)
                await self._cancel_work()
            except CommandFailedError:
                pass  # the report now says that the work does not end
            finally:
                self._in_command = None

    async def _abandon(self) -> State:
        """Go OFFLINE although the service could not be closed."""
        self._set_state(State.OFFLINE)
        return self._state

    def _set_fault(self, what: FaultReport) -> None:
        self._error = what
        _log.error(
            "service_fault",
            service=self.name,
            code=int(what.code),
            report=what.report,
            traceback=what.traceback or None,
        )
        self._set_state(State.FAULT)

    def _set_state(self, state: State) -> None:
        before, self._state = self._state, state
        self._since = datetime.now(tz=UTC)
        if state is not State.FAULT:
            self._error = None
        _log.info("service_state", service=self.name, state=state.name, before=before.name)
        for listener in tuple(self._listeners):
            try:
                listener(state)
            except Exception:  # noqa: BLE001 - one listener's mistake is not the others'
                _log.exception("state_listener_failed", service=self.name, state=state.name)


def _sentence(error: BaseException) -> str:
    """Return what an exception says, or its type where it says nothing."""
    return str(error) or type(error).__name__
