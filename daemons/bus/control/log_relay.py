"""Hands warnings and errors of the log to the control bus, at a bounded rate."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from daemons.runtime.clock import Clock

BURST = 20
"""Messages that may go out at once."""
PER_SECOND = 2.0
"""Messages per second after that."""

_LEVELS: Mapping[str, int] = {
    **{name.lower(): number for name, number in logging.getLevelNamesMapping().items()},
    "exception": logging.ERROR,
}
_NOT_TEXT = frozenset(
    {"event", "level", "logger", "timestamp", "exception", "exc_info", "stack_info", "stack"}
    | {"pathname", "func_name", "lineno"}
)


class LogRelay:
    """A structlog processor that copies entries from a level on as `logMessage` payloads.

    Put it behind the processors that add level, logger name and exception text. It
    passes every entry on unchanged, may be called from any thread, and does nothing
    until it is attached.

    Parameters
    ----------
    clock
        Where the time stamps and the measure of the rate come from.
    level
        Entries below it are not copied; the numbers are those of `logging`.
    """

    def __init__(self, clock: Clock, *, level: int = logging.WARNING) -> None:
        self.level = level
        self._clock = clock
        self._sink: Callable[[dict[str, Any]], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tokens = float(BURST)
        self._refilled = clock.monotonic()
        self._withheld = 0

    def attach(self, sink: Callable[[dict[str, Any]], None]) -> None:
        """Send payloads to `sink`, in the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._sink = sink

    def detach(self) -> None:
        """Send nothing any more."""
        self._sink = None
        self._loop = None

    def __call__(
        self, _logger: Any, method: str, entry: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Copy an entry and pass it on."""
        loop = self._loop
        number = _LEVELS.get(str(entry.get("level", method)).lower(), logging.INFO)
        if loop is not None and number >= self.level and not loop.is_closed():
            loop.call_soon_threadsafe(self._send, self._payload(entry, number))
        return entry

    def _payload(self, entry: Mapping[str, Any], level: int) -> dict[str, Any]:
        details = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _NOT_TEXT)
        return {
            "name": str(entry.get("logger", "")),
            "level": level,
            "message": f"{entry.get('event', '')} {details}".strip(),
            "traceback": str(entry.get("exception", "")),
            "filePath": str(entry.get("pathname", "")),
            "functionName": str(entry.get("func_name", "")),
            "lineNumber": int(entry.get("lineno", 0)),
            "process": os.getpid(),
            "timestamp": float(self._clock.tai()),
        }

    def _send(self, payload: dict[str, Any]) -> None:
        if self._sink is None:
            return
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._refilled) * PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            self._withheld += 1
            return
        self._tokens -= 1
        if self._withheld:
            payload["message"] += f" ({self._withheld} messages before this one were not sent)"
            self._withheld = 0
        self._sink(payload)
