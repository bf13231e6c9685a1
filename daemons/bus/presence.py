"""What a commandable service says of itself on the control bus: state, heart, faults.

In SAL's order::

    at start        logLevel, simulationMode, softwareVersions, summaryState, errorCode 0,
                    then configurationsAvailable, and configurationApplied once it is open
    transition      summaryState, then the acknowledgement
    start           configurationApplied before the summaryState
    into FAULT      errorCode, logMessage (level 50), summaryState
    out of FAULT    summaryState, errorCode 0, then the acknowledgement
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from daemons.bus.control.announcer import Announcer
from daemons.bus.interface import BusError, ControlBus, Topic
from daemons.runtime.clock import Clock
from daemons.runtime.state import Command, State

_CLOSED = frozenset({State.OFFLINE, State.STANDBY})
"""States in which a service has not taken up its configuration."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration that a service runs with, as it is told on the bus."""

    name: str
    """Name of the file."""
    version: str
    """Digest of its content."""
    url: str = ""
    """Where it is, for those who look it up."""
    schema_version: str = "1"
    """Version of its form."""


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
    configuration: Configuration | None = None
    """Told as configurationsAvailable and configurationApplied; None: neither is sent."""

    def topic(self, name: str) -> Topic:
        """Return one of the component's topics."""
        return Topic(self.component, name, self.index)


class Voice:
    """Tells how a service is.

    Parameters
    ----------
    bus
        Where heartbeats go; one that the broker does not take is no news.
    announcer
        Takes everything else, in order.
    presence
        Who speaks.
    target
        Whose state it is.
    clock
        Dates the message of a fault.
    """

    def __init__(
        self,
        bus: ControlBus,
        announcer: Announcer,
        presence: Presence,
        target: CommandTarget,
        *,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._announcer = announcer
        self._presence = presence
        self._target = target
        self._clock = clock
        self._state: State | None = None

    def say(self, topic: str, fields: Mapping[str, Any]) -> None:
        """Send an event, as soon as the broker takes it."""
        self._announcer.put(self._presence.topic(topic), fields)

    def introduce(self, *, log_level: int) -> None:
        """Tell everything that a late joiner expects to find."""
        presence = self._presence
        state = self._state = self._target.state
        self.say("logevent_logLevel", {"level": log_level, "subsystem": ""})
        self.say("logevent_simulationMode", {"mode": presence.simulation_mode})
        self.say("logevent_softwareVersions", {"cscVersion": presence.version})
        self.say("logevent_summaryState", {"summaryState": int(state)})
        self.say("logevent_errorCode", self._error())
        self._say_available()
        if state not in _CLOSED:
            self._say_applied()

    def changed(self, state: State) -> None:
        """Tell of a new state."""
        before, self._state = self._state, state
        summary = {"summaryState": int(state)}
        if state is State.FAULT:
            error = self._error()
            self.say("logevent_errorCode", error)
            self.say("logevent_logMessage", self._fault_message(error))
            self.say("logevent_summaryState", summary)
            return
        if before in _CLOSED and state not in _CLOSED:
            self._say_applied()
        self.say("logevent_summaryState", summary)
        if before is State.FAULT:
            self.say("logevent_errorCode", self._error())

    async def beat(self, every_s: float) -> None:
        """Send heartbeats until cancelled."""
        topic = self._presence.topic("logevent_heartbeat")
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self._bus.publish(topic, {"heartbeat": False})
            except BusError as error:
                _log.debug("heartbeat_not_sent", error=str(error))
            due = max(due + every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _error(self) -> dict[str, Any]:
        fault = self._target.error
        if fault is None:
            return {"errorCode": 0, "errorReport": "", "traceback": ""}
        return {
            "errorCode": int(fault.code),
            "errorReport": fault.report,
            "traceback": fault.traceback,
        }

    def _fault_message(self, error: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": self._presence.component,
            "level": logging.CRITICAL,
            "message": f"fault {error['errorCode']}: {error['errorReport']}",
            "traceback": error["traceback"],
            "process": os.getpid(),
            "timestamp": float(self._clock.tai()),
        }

    def _say_available(self) -> None:
        told = self._presence.configuration
        if told is not None:
            self.say(
                "logevent_configurationsAvailable",
                {
                    "overrides": "",
                    "version": told.version,
                    "url": told.url,
                    "schemaVersion": told.schema_version,
                },
            )

    def _say_applied(self) -> None:
        told = self._presence.configuration
        if told is not None:
            self.say(
                "logevent_configurationApplied",
                {
                    "configurations": told.name,
                    "version": told.version,
                    "url": told.url,
                    "schemaVersion": told.schema_version,
                    "otherInfo": "",
                },
            )
