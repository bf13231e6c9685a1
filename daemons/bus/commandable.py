"""A service on the control bus, as SAL's commandable components are.

It answers the generic commands with SAL's codes, and publishes state, heartbeat,
error code, log level and log messages, in SAL's order::

    at start        logLevel, simulationMode, softwareVersions, summaryState, errorCode 0
    transition      summaryState, then the acknowledgement
    into FAULT      errorCode, logMessage (level 50), summaryState
    out of FAULT    summaryState, errorCode 0, then the acknowledgement

On Kafka commands that were sent while the service was away are never carried out.
On MQTT, with a durable subscription, they come late or twice: an old one is refused,
and one that was carried out already is only acknowledged again.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from daemons.bus.commands import AckCode, Acknowledgement
from daemons.bus.control.announcer import Announcer
from daemons.bus.control.log_relay import LogRelay
from daemons.bus.interface import (
    BusError,
    ControlBus,
    ControlMessage,
    Delivery,
    Topic,
)
from daemons.runtime.clock import Clock
from daemons.runtime.errors import ArrieroError
from daemons.runtime.state import Command, State

_SET_LOG_LEVEL = "setLogLevel"
_COMMANDS = tuple(sorted([*Command, _SET_LOG_LEVEL]))
_TYPES: Mapping[str, int] = {
    name: number
    for number, name in enumerate(["ackcmd", *(f"command_{name}" for name in _COMMANDS)])
}
_DONE = Acknowledgement(AckCode.COMPLETE, "Done")
_FAILED = 1
_IN_HAND_MAX = 32
_REMEMBERED = 1000
_FLUSH_S = 2.0

_log = structlog.get_logger(__name__)


class Fault(Protocol):
    """Why a service is in FAULT."""

    @property
    def code(self) -> int:
        """Number of the kind of fault; not 0."""
        ...

    @property
    def report(self) -> str:
        """What happened and what to do."""
        ...

    @property
    def traceback(self) -> str:
        """Where, for those who mend the program; may be empty."""
        ...


class CommandTarget(Protocol):
    """What is commanded: `daemons.runtime.runner.ServiceRunner`."""

    @property
    def state(self) -> State:
        """The present state."""
        ...

    @property
    def error(self) -> Fault | None:
        """Why the state is FAULT; None in any other."""
        ...

    async def command(self, command: Command, **fields: Any) -> State:
        """Carry out a transition; `CommandRefusedError` when the state does not allow it."""
        ...

    def on_state(self, listener: Callable[[State], None]) -> Callable[[], None]:
        """Call `listener` after each change of state; returns what takes it off again."""
        ...


SetLogLevel = Callable[[int, str], None]
"""Takes a level (the numbers of `logging`) and the subsystem that it is for; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPolicy:
    """Whom a service obeys, and its patience."""

    allowed: tuple[str, ...] = ("*",)
    """Identities that may command, as shell patterns such as `*@summit-*`."""
    heartbeat_s: float = 1.0
    """Seconds between heartbeats; observers expect one each second."""
    progress_s: float = 2.0
    """A command that takes longer is acknowledged as in progress, again and again."""
    limit_s: float = 600.0
    """A command that takes longer is given up."""
    stale_after_s: float = 30.0
    """With a durable subscription, a command sent longer ago is refused."""


@dataclass(slots=True)
class _InHand:
    deliveries: list[Delivery[ControlMessage]]
    answer: Acknowledgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Who a service is on the control bus."""

    component: str
    """Name of the component, such as `MTForwarder`."""
    index: int = 0
    """Which one, where several share the name."""
    version: str = ""
    """Its software version."""
    log_level: int = logging.INFO
    """Level at start."""
    simulation_mode: int = 0
    """0: real."""
    durable: str | None = None
    """Name of the subscription to commands on MQTT; nothing on Kafka."""

    def topic(self, name: str) -> Topic:
        """Return one of the component's topics."""
        return Topic(self.component, name, self.index)


class Commandable:
    """Attaches a service to the control bus.

    Parameters
    ----------
    bus
        Its identity should be the component's name, with `:index` if it has one.
    target
        What the commands act on.
    presence
        Component, index and what is published at start.
    clock
        Tells the age of a command.
    policy
        Whom to obey, and how long to wait.
    set_log_level
        Carries out `setLogLevel`; without it the command fails.
    relay
        Whose log entries are published as `logMessage`; none without one.
    """

    def __init__(
        self,
        bus: ControlBus,
        target: CommandTarget,
        presence: Presence,
        *,
        clock: Clock,
        policy: CommandPolicy | None = None,
        set_log_level: SetLogLevel | None = None,
        relay: LogRelay | None = None,
    ) -> None:
        self._bus = bus
        self._target = target
        self._presence = presence
        self._clock = clock
        self._policy = policy or CommandPolicy()
        self._set_log_level = set_log_level
        self._relay = relay
        self._announcer = Announcer(bus)
        self._handled: OrderedDict[tuple[str, int, int, str], _InHand] = OrderedDict()
        self._in_turn = asyncio.Lock()
        self._ended = asyncio.Event()
        self._in_fault = False

    async def run(self) -> None:
        """Serve commands; returns after `exitControl`, else when cancelled."""
        if self._relay is not None:
            self._relay.attach(lambda payload: self._say("logevent_logMessage", payload))
        forget = self._target.on_state(self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._announcer.run(), name="control-announcer"),
                    group.create_task(self._serve(), name="control-commands"),
                ]
                await self._ended.wait()
                for task in tasks:
                    task.cancel()
        finally:
            forget()
            if self._relay is not None:
                self._relay.detach()
            await self._announcer.flush(_FLUSH_S)

    async def _serve(self) -> None:
        topics = [self._presence.topic(f"command_{name}") for name in _COMMANDS]
        durable = self._presence.durable
        async with (
            self._bus.subscribe(topics, history=False, durable=durable) as subscription,
            asyncio.TaskGroup() as group,
        ):
            await subscription.ready()  # who sees us may command us
            self._introduce()
            group.create_task(self._beat(), name="control-heartbeat")
            in_hand: set[asyncio.Task[None]] = set()
            async for delivery in subscription:
                name = f"control-{delivery.message.topic.name}"
                task = group.create_task(self._handle(delivery), name=name)
                in_hand.add(task)
                task.add_done_callback(in_hand.discard)
                if len(in_hand) >= _IN_HAND_MAX:
                    await asyncio.wait(in_hand, return_when=asyncio.FIRST_COMPLETED)

    # ---- what it says

    def _say(self, topic: str, fields: Mapping[str, Any]) -> None:
        self._announcer.put(self._presence.topic(topic), fields)

    def _introduce(self) -> None:
        presence = self._presence
        state = self._target.state
        self._say("logevent_logLevel", {"level": presence.log_level, "subsystem": ""})
        self._say("logevent_simulationMode", {"mode": presence.simulation_mode})
        self._say("logevent_softwareVersions", {"cscVersion": presence.version})
        self._say("logevent_summaryState", {"summaryState": int(state)})
        self._in_fault = state is State.FAULT
        self._say("logevent_errorCode", self._error())

    def _error(self) -> dict[str, Any]:
        fault = self._target.error
        if fault is None:
            return {"errorCode": 0, "errorReport": "", "traceback": ""}
        return {
            "errorCode": int(fault.code),
            "errorReport": fault.report,
            "traceback": fault.traceback,
        }

    def _changed(self, state: State) -> None:
        """Tell of a new state, in SAL's order."""
        summary = {"summaryState": int(state)}
        if state is State.FAULT:
            error = self._error()
            self._say("logevent_errorCode", error)
            self._say("logevent_logMessage", self._fault_message(error))
            self._say("logevent_summaryState", summary)
        else:
            self._say("logevent_summaryState", summary)
            if self._in_fault:
                self._say("logevent_errorCode", self._error())
        self._in_fault = state is State.FAULT

    def _fault_message(self, error: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": self._presence.component,
            "level": logging.CRITICAL,
            "message": f"fault {error['errorCode']}: {error['errorReport']}",
            "traceback": error["traceback"],
            "process": os.getpid(),
            "timestamp": float(self._clock.tai()),
        }

    async def _beat(self) -> None:
        """Send a heartbeat each second; one that the broker does not take is no news."""
        topic = self._presence.topic("logevent_heartbeat")
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self._bus.publish(topic, {"heartbeat": False})
            except BusError as error:
                _log.debug("heartbeat_not_sent", error=str(error))
            due = max(due + self._policy.heartbeat_s, loop.time())
            await asyncio.sleep(due - loop.time())

    # ---- what it is told

    async def _handle(self, delivery: Delivery[ControlMessage]) -> None:
        """Carry out a command once, acknowledge it each time that it comes."""
        command = delivery.message
        if command.topic.index != self._presence.index:
            await delivery.ack()
            return
        key = (command.identity, command.origin, command.sequence, command.topic.name)
        known = self._handled.get(key)
        if known is None:
            known = self._handled[key] = _InHand([delivery])
            while len(self._handled) > _REMEMBERED:
                self._handled.popitem(last=False)
            answer = known.answer = await self._carry_out(command)
        else:
            known.deliveries.append(delivery)
            if known.answer is None:
                return  # answered when it is done
            answer = known.answer
        await self._answer(command, answer).wait()
        deliveries, known.deliveries = known.deliveries, []
        for each in deliveries:
            await each.ack()
        if self._target.state is State.OFFLINE:
            self._ended.set()

    def _answer(self, command: ControlMessage, answer: Acknowledgement) -> asyncio.Event:
        _log.info(
            "command_acknowledged",
            command=command.topic.name,
            identity=command.identity,
            ack=answer.code.name,
            result=answer.result,
        )
        return self._announcer.put(
            self._presence.topic("ackcmd"),
            answer.fields(command, command_type=_TYPES[command.topic.name]),
            sequence=command.sequence,
        )

    def _refusal(self, command: ControlMessage) -> Acknowledgement | None:
        """Return why a command is not even tried."""
        if command.sequence <= 0:
            return _failed("private_seqNum must be positive")
        if not any(fnmatch.fnmatchcase(command.identity, who) for who in self._policy.allowed):
            text = f"{command.identity or 'nobody'} may not command {self._presence.component}"
            return Acknowledgement(AckCode.NOPERM, text)
        age_s = self._clock.tai() - command.sent
        if self._presence.durable is not None and age_s > self._policy.stale_after_s:
            text = f"sent {age_s:.0f} s ago, so it was not carried out: send it again"
            return Acknowledgement(AckCode.TIMEOUT, text)
        return None

    async def _carry_out(self, command: ControlMessage) -> Acknowledgement:
        """Do what a command says; tell its issuer to wait while that takes long."""
        refusal = self._refusal(command)
        if refusal is not None:
            return refusal
        work = asyncio.create_task(self._perform(command), name=f"control-do {command.topic}")
        patience = Acknowledgement(
            AckCode.INPROGRESS, "in progress", timeout_s=2 * self._policy.progress_s
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._policy.progress_s)
                if not work.done():
                    self._answer(command, patience)
            return work.result()
        except asyncio.CancelledError:
            self._answer(command, Acknowledgement(AckCode.ABORTED, "the service is ending"))
            raise
        finally:
            work.cancel()

    async def _perform(self, command: ControlMessage) -> Acknowledgement:
        name = command.topic.name.removeprefix("command_")
        try:
            async with asyncio.timeout(self._policy.limit_s):
                if name == _SET_LOG_LEVEL:
                    return self._change_log_level(command.fields)
                async with self._in_turn:
                    await self._target.command(Command(name), **command.fields)
        except TimeoutError:
            return Acknowledgement(AckCode.TIMEOUT, f"not done within {self._policy.limit_s:g} s")
        except ArrieroError as error:
            return _failed(str(error))
        except Exception as error:  # noqa: BLE001 - a command ends here, whatever ended it
            _log.exception("command_failed", command=command.topic.name)
            return _failed(str(error) or type(error).__name__)
        return _DONE

    def _change_log_level(self, fields: Mapping[str, Any]) -> Acknowledgement:
        level, subsystem = int(fields.get("level", 0)), str(fields.get("subsystem", ""))
        if self._set_log_level is None:
            return _failed("the log level of this service cannot be set from here")
        self._set_log_level(level, subsystem)
        self._say("logevent_logLevel", {"level": level, "subsystem": subsystem})
        return _DONE


def _failed(reason: str) -> Acknowledgement:
    return Acknowledgement(AckCode.FAILED, f"Failed: {reason}", error=_FAILED)
