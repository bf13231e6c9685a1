"""Where messages go that nobody can read."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from daemons.bus.interface import BusError, BusUnavailableError, PoisonMessage
from daemons.bus.metrics import BusMetrics
from daemons.runtime.retry import Backoff

_log = structlog.get_logger(__name__)

_WAITING = 100
"""Poison messages that may wait for a dead-letter topic that is out of reach."""
_LOGGED_BYTES = 4096
"""How much of a message is logged where the dead-letter topic does not take it."""

Bury = Callable[[PoisonMessage], Awaitable[None]]
"""Sends a message to the dead-letter topic; raises `BusError`."""


class DeadLetters:
    """Sets poison messages aside without holding up the others.

    A message is acknowledged once the dead-letter topic has it, so that a crash
    loses none. Where that topic is out of reach for long, and more wait than
    there is room for, the log has to do.

    Parameters
    ----------
    bury
        Sends one message to the dead-letter topic.
    metrics
        Counts them.
    """

    def __init__(self, bury: Bury, metrics: BusMetrics) -> None:
        self._bury = bury
        self._count = metrics.poison.labels(bus="event_stream")
        self._waiting: asyncio.Queue[tuple[PoisonMessage, Callable[[], None]]] = asyncio.Queue(
            _WAITING
        )

    def put(self, poison: PoisonMessage, acknowledge: Callable[[], None]) -> None:
        """Take over a poison message; never waits."""
        self._count.inc()
        _log.error(
            "poison_message",
            where=poison.where,
            size_bytes=len(poison.payload),
            reason=poison.reason,
        )
        try:
            self._waiting.put_nowait((poison, acknowledge))
        except asyncio.QueueFull:
            _log_payload(poison, "too many wait for the dead-letter topic")
            acknowledge()

    async def run(self) -> None:
        """Send what was taken over, until cancelled."""
        while True:
            poison, acknowledge = await self._waiting.get()
            await self._send(poison)
            acknowledge()

    async def _send(self, poison: PoisonMessage) -> None:
        backoff = Backoff(base_s=0.25, cap_s=15.0, floor_s=0.0)
        while True:
            try:
                await self._bury(poison)
            except BusUnavailableError as error:
                _log.warning("dead_letter_waits", where=poison.where, reason=str(error))
                await asyncio.sleep(backoff.next_s())
            except BusError as error:
                _log_payload(poison, str(error))
                return
            else:
                return


def _log_payload(poison: PoisonMessage, why: str) -> None:
    _log.error(
        "dead_letter_refused",
        where=poison.where,
        why=why,
        payload_base64=base64.b64encode(poison.payload[:_LOGGED_BYTES]).decode(),
        size_bytes=len(poison.payload),
    )


def wrapped(poison: PoisonMessage) -> Mapping[str, Any]:
    """Return a poison message as JSON, for a transport without headers."""
    return {
        "where": poison.where,
        "reason": poison.reason,
        "time": datetime.now(tz=UTC).isoformat(),
        "payload_base64": base64.b64encode(poison.payload).decode(),
    }
