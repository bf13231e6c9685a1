"""A service on the control bus, as SAL's commandable components are.

It answers the generic commands with SAL's codes; what it says of itself, and in which
order, is in `daemons.bus.presence`.

On Kafka commands that were sent while the service was away are never carried out.
On MQTT, with a durable subscription, they come late or twice: an old one is refused,
and one that was carried out already, even by a process that was killed since, is only
acknowledged again.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from daemons.bus.audit import CommandAudit, CommandId, NoAudit, Outcome
from daemons.bus.commands import AckCode, Acknowledgement
from daemons.bus.control.announcer import Announcer
from daemons.bus.control.log_relay import LogRelay
from daemons.bus.interface import ControlBus, ControlMessage, Delivery
from daemons.bus.presence import CommandTarget, Configuration, Fault, Presence, Voice
from daemons.runtime.clock import Clock
from daemons.runtime.errors import ArrieroError
from daemons.runtime.state import Command, State

__all__ = [
    "CommandPolicy",
    "CommandTarget",
    "Commandable",
    "Configuration",
    "Fault",
    "Presence",
    "SetLogLevel",
]

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

SetLogLevel = Callable[[int, str], None]
"""Takes a level (the numbers of `logging`) and the subsystem that it is for; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPolicy:
    """Whom a service obeys, and its patience."""

    allowed: tuple[str, ...] = ("*",)
    """Who may command, as shell patterns of the identity, such as `*@summit-*`, or of
    `identity#origin`, such as `Watcher#*`."""
    heartbeat_s: float = 1.0
    """Seconds between heartbeats; observers expect one each second."""
    progress_s: float = 2.0
    """A command that takes longer is acknowledged as in progress, again and again."""
    limit_s: float = 600.0
    """A command that takes longer is given up."""
    stale_after_s: float = 30.0
    """With a durable subscription, a command sent longer ago is refused."""

    def allows(self, identity: str, origin: int) -> bool:
        """Return whether commands of an identity and process are obeyed."""
        return any(
            fnmatch.fnmatchcase(f"{identity}#{origin}" if "#" in who else identity, who)
            for who in self.allowed
        )


@dataclass(slots=True)
class _InHand:
    deliveries: list[Delivery[ControlMessage]]
    answer: Acknowledgement | None = None


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
    audit
        Where commands and what came of them are kept, besides the log.
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
        audit: CommandAudit | None = None,
    ) -> None:
        self._bus = bus
        self._target = target
        self._presence = presence
        self._clock = clock
        self._policy = policy or CommandPolicy()
        self._set_log_level = set_log_level
        self._relay = relay
        self._audit = audit or NoAudit()
        self._announcer = Announcer(bus)
        self._voice = Voice(bus, self._announcer, presence, target, clock=clock)
        self._handled: OrderedDict[CommandId, _InHand] = OrderedDict()
        self._before: Mapping[CommandId, Outcome] = {}
        self._in_turn = asyncio.Lock()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve commands; returns after `exitControl`, else when cancelled."""
        if self._relay is not None:
            self._relay.attach(lambda payload: self._voice.say("logevent_logMessage", payload))
        forget = self._target.on_state(self._voice.changed)
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
        if durable is not None:
            self._before = await self._audit.recall(self._presence.component, self._presence.index)
        async with (
            self._bus.subscribe(topics, history=False, durable=durable) as subscription,
            asyncio.TaskGroup() as group,
        ):
            await subscription.ready()  # who sees us may command us
            level = self._presence.log_level if self._relay is None else self._relay.level
            self._voice.introduce(log_level=level)
            beat = self._voice.beat(self._policy.heartbeat_s)
            group.create_task(beat, name="control-heartbeat")
            in_hand: set[asyncio.Task[None]] = set()
            async for delivery in subscription:
                name = f"control-{delivery.message.topic.name}"
                task = group.create_task(self._handle(delivery), name=name)
                in_hand.add(task)
                task.add_done_callback(in_hand.discard)
                if len(in_hand) >= _IN_HAND_MAX:
                    await asyncio.wait(in_hand, return_when=asyncio.FIRST_COMPLETED)

    # ---- what it is told

    async def _handle(self, delivery: Delivery[ControlMessage]) -> None:
        """Carry out a command once, acknowledge it each time that it comes."""
        command = delivery.message
        if command.topic.index != self._presence.index:
            await delivery.ack()
            return
        key = CommandId.of(command)
        known = self._handled.get(key)
        if known is None:
            known = self._handled[key] = _InHand([delivery])
            while len(self._handled) > _REMEMBERED:
                self._handled.popitem(last=False)
            answer = known.answer = await self._outcome(key, command)
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

    async def _outcome(self, key: CommandId, command: ControlMessage) -> Acknowledgement:
        """Return what comes of a command, or came of it before this process was started."""
        before = self._before.get(key)
        if before is not None and before.sent == float(command.sent):
            return before.answer
        answer = await self._carry_out(command)
        await self._audit.record(command, answer)
        return answer

    def _answer(self, command: ControlMessage, answer: Acknowledgement) -> asyncio.Event:
        _log.info(
            "command_acknowledged",
            component=str(command.topic).partition(".")[0],
            command=command.topic.name,
            identity=command.identity,
            origin=command.origin,
            sequence=command.sequence,
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
        if not self._policy.allows(command.identity, command.origin):
            text = (
                f"{command.identity or 'nobody'} may not command {self._presence.component}: "
                "ask for its identity to be added to the service's `commanders`"
            )
            return Acknowledgement(AckCode.NOPERM, text, error=_FAILED)
        age_s = self._clock.tai() - command.sent
        if self._presence.durable is not None and not age_s <= self._policy.stale_after_s:
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
            aborted = Acknowledgement(AckCode.ABORTED, "the service is ending")
            self._answer(command, aborted)
            await self._audit.record(command, aborted)
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
        if self._relay is not None:
            self._relay.set_level(level, subsystem)
        self._voice.say("logevent_logLevel", {"level": level, "subsystem": subsystem})
        return _DONE


def _failed(reason: str) -> Acknowledgement:
    return Acknowledgement(AckCode.FAILED, f"Failed: {reason}", error=_FAILED)
