"""Sends what a commandable service has to say, in order, and waits out an absent broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemons.bus.interface import BusError, BusUnavailableError, ControlBus, Topic

CAPACITY = 1000
"""Messages that wait for an absent broker; the oldest give way."""

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    topic: Topic
    fields: Mapping[str, Any]
    sequence: int | None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Announcer:
    """An ordered queue in front of a control bus.

    Parameters
    ----------
    bus
        Where the messages go.
    capacity
        How many wait at most.
    """

    def __init__(self, bus: ControlBus, *, capacity: int = CAPACITY) -> None:
        self._bus = bus
        self._capacity = capacity
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._wait_s = _FIRST_WAIT_S

    def put(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> asyncio.Event:
        """Queue a message; return what is set when it was sent or given up."""
        if len(self._waiting) >= self._capacity:
            given_up = self._waiting.popleft()
            given_up.done.set()
            _log.warning("control_bus_announcement_given_up", topic=str(given_up.topic))
        message = _Waiting(topic, fields, sequence)
        self._waiting.append(message)
        self._wake.set()
        return message.done

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            if not await self._send_first():
                await asyncio.sleep(self._wait_s)
                self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()

    async def flush(self, timeout_s: float) -> None:
        """Send what still waits, as far as that goes within a bound; `run` must have ended."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting and await self._send_first():
                    pass
        except TimeoutError:
            pass
        if self._waiting:
            _log.warning("control_bus_announcements_not_sent", count=len(self._waiting))

    async def _send_first(self) -> bool:
        """Send the first of the queue; return False when the broker is away."""
        if not self._waiting:
            return True
        first = self._waiting[0]
        try:
            await self._bus.publish(first.topic, first.fields, sequence=first.sequence)
        except BusUnavailableError:
            return False
        except BusError as error:
            _log.exception("control_bus_announcement_refused", topic=str(first.topic), error=error)
        self._wait_s = _FIRST_WAIT_S
        if self._waiting and self._waiting[0] is first:
            self._waiting.popleft()
        first.done.set()
        return True
