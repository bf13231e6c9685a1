"""Hands warnings and errors of the log to the control bus, at a bounded rate.

Nothing that the way to the bus itself logs is handed over, so that a broker that is
away does not make messages about messages.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
import traceback
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
    | {"pathname", "func_name", "lineno", "ts", "service", "host", "log_schema"}
)
OWN_WAY = (
    "daemons.bus.control.announcer",
    "daemons.bus.kafka_client",
    "daemons.bus.kafka_producer",
    "daemons.bus.mqtt_client",
    "daemons.bus.mqtt_link",
    "daemons.bus.report",
    "daemons.bus.sal.registry",
    "aiokafka",
    "aiomqtt",
)
"""Loggers of what carries the messages: they are not handed over."""
_WRAPPERS = (__name__, "logging", "structlog", "daemons.runtime.logging")
"""Modules between whoever logs and the handler."""
_LONGEST = 4000
"""Characters of a message or traceback that are sent; a log line has no limit."""


class LogRelay:
    """A structlog processor that copies entries from a level on as `logMessage` payloads.

    Put it behind the processors that add level, logger name and exception text. It
    passes every entry on unchanged, may be called from any thread, and does nothing
    until it is attached.

    With `service` it also listens to the root logger of the standard library while it is
    attached, where everything of this process comes together.

    Parameters
    ----------
    clock
        Where the time stamps and the measure of the rate come from.
    level
        Entries below it are not copied; the numbers are those of `logging`.
    service
        Name of the service: entries that name another one are not its own.
    """

    def __init__(
        self, clock: Clock, *, level: int = logging.WARNING, service: str | None = None
    ) -> None:
        self.level = level
        self._levels: dict[str, int] = {}
        self._clock = clock
        self._sink: Callable[[dict[str, Any]], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tokens = float(BURST)
        self._refilled = clock.monotonic()
        self._withheld = 0
        self._service = service
        self._listener = None if service is None else _Listener(self)

    def set_level(self, level: int, subsystem: str = "") -> None:
        """Copy entries from a level on: all, or those of one logger and below it."""
        if subsystem:
            self._levels[subsystem] = level
        else:
            self.level = level
            self._levels.clear()

    def attach(self, sink: Callable[[dict[str, Any]], None]) -> None:
        """Send payloads to `sink`, in the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        if self._listener is not None:
            logging.getLogger().addHandler(self._listener)

    def detach(self) -> None:
        """Send nothing any more."""
        self._sink = None
        self._loop = None
        if self._listener is not None:
            logging.getLogger().removeHandler(self._listener)

    def __call__(
        self, _logger: Any, method: str, entry: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Copy an entry and pass it on."""
        number = _LEVELS.get(str(entry.get("level", method)).lower(), logging.INFO)
        self.copy(entry, number)
        return entry

    def copy(self, entry: Mapping[str, Any], level: int) -> None:
        """Hand an entry over, from whatever thread, if it is one of ours and severe enough."""
        loop, sink, name = self._loop, self._sink, str(entry.get("logger", ""))
        if (
            loop is None
            or sink is None
            or level < self._threshold(name)
            or _is_below(name, OWN_WAY)
        ):
            return
        if self._service is not None and entry.get("service", self._service) != self._service:
            return
        try:
            loop.call_soon_threadsafe(self._send, sink, self._payload(entry, level))
        except RuntimeError:
            self._withheld += 1  # the loop has ended

    def _threshold(self, name: str) -> int:
        found = [part for part in self._levels if _is_below(name, (part,))]
        return self._levels[max(found, key=len)] if found else self.level

    def _payload(self, entry: Mapping[str, Any], level: int) -> dict[str, Any]:
        details = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _NOT_TEXT)
        return {
            "name": str(entry.get("logger", "")),
            "level": level,
            "message": f"{entry.get('event', '')} {details}".strip()[:_LONGEST],
            "traceback": str(entry.get("exception", ""))[-_LONGEST:],
            "filePath": str(entry.get("pathname", "")),
            "functionName": str(entry.get("func_name", "")),
            "lineNumber": int(entry.get("lineno", 0)),
            "process": os.getpid(),
            "timestamp": float(self._clock.tai()),
        }

    def _send(self, sink: Callable[[dict[str, Any]], None], payload: dict[str, Any]) -> None:
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
        sink(payload)


class _Listener(logging.Handler):
    """Copies what reaches the root logger, of structlog (the message is the entry) or of others."""

    def __init__(self, relay: LogRelay) -> None:
        super().__init__()
        self._relay = relay

    def emit(self, record: logging.LogRecord) -> None:
        """Copy a record; a record that cannot be copied is left to the other handlers."""
        try:
            if isinstance(record.msg, Mapping):
                entry = dict(record.msg)
            else:
                entry = {"event": record.getMessage()}
            entry.setdefault("logger", record.name)
            entry.setdefault("exception", _traceback(entry.get("exc_info") or record.exc_info))
            entry |= _place(record)
            self._relay.copy(entry, record.levelno)
        except Exception:  # noqa: BLE001 - no log call raises, and none may log about itself
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Let it be: the entry is in the log all the same."""


def _place(record: logging.LogRecord) -> dict[str, Any]:
    """Return where a record was made: for structlog's, the first frame above the wrappers."""
    place = {"pathname": record.pathname, "func_name": record.funcName, "lineno": record.lineno}
    if not isinstance(record.msg, Mapping):
        return place
    frame = inspect.currentframe()
    while frame is not None and _is_below(frame.f_globals.get("__name__", ""), _WRAPPERS):
        frame = frame.f_back
    if frame is None:
        return place
    code = frame.f_code
    return {"pathname": code.co_filename, "func_name": code.co_name, "lineno": frame.f_lineno}


def _traceback(said: Any) -> str:
    """Return the traceback of what `exc_info` may be: true, an exception, or a triple."""
    error = said
    if isinstance(said, tuple):
        error = said[1]
    elif said is True:
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error))


def _is_below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)
