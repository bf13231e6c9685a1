"""A commandable service for tests: a real runner around a service that does nothing but obey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from daemons.bus import ControlBus, Topic
from daemons.bus.audit import CommandAudit
from daemons.bus.commandable import Commandable, CommandPolicy, Configuration, Presence
from daemons.bus.control.log_relay import LogRelay
from daemons.runtime.clock import SystemClock
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.service import JsonObject

COMPONENT = "MTHeaderService"
QUICK = CommandPolicy(heartbeat_s=0.2, progress_s=0.3)


class IdleService:
    """Works until it is cancelled; counts what is asked of it."""

    name = "idle"

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.breaks = asyncio.Event()

    async def open(self) -> None:
        self.opened += 1
        await self.may_open.wait()

    async def work(self) -> None:
        await self.breaks.wait()
        raise RuntimeError("the sensor is on fire")

    async def drain(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1

    def status(self) -> JsonObject:
        return {}

    def reload(self, settings: Any) -> tuple[str, ...]:
        return (str(settings),)


class Crew:
    """A service, its runner, and its attachment to a control bus."""

    def __init__(
        self,
        bus: ControlBus,
        *,
        component: str = COMPONENT,
        index: int = 0,
        durable: str | None = None,
        policy: CommandPolicy = QUICK,
        relay: LogRelay | None = None,
        audit: CommandAudit | None = None,
        configuration: Configuration | None = None,
    ) -> None:
        self.service = IdleService()
        self.runner = ServiceRunner(self.service)
        self.levels: list[tuple[int, str]] = []
        self.commandable = Commandable(
            bus,
            self.runner,
            Presence(
                component=component,
                index=index,
                version="1.2.3",
                durable=durable,
                configuration=configuration,
            ),
            clock=SystemClock(),
            policy=policy,
            set_log_level=lambda level, subsystem: self.levels.append((level, subsystem)),
            relay=relay,
            audit=audit,
        )
        self.task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Serve commands; at the end, end like a process that is told to."""
        self.task = asyncio.create_task(self.commandable.run())
        try:
            yield
        finally:
            self.task.cancel()
            await asyncio.wait({self.task})
            await self.runner.stop()


def topic(name: str, index: int = 0, component: str = COMPONENT) -> Topic:
    return Topic(component, name, index)
