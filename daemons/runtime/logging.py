"""Logs: structlog for ours, the standard library's for others', one line each.

Off a terminal each line is a JSON object (`log_schema` 1)::

    {"ts": "2026-11-21T03:04:05.678901Z", "level": "warning", "event": "broker_unreachable",
     "service": "forwarder", "host": "comcam-fp01", "logger": "daemons.bus...", ...}

`event` is a stable name; everything else is a key. `obs_id`, where something is
about an exposure, and `service` come from `structlog.contextvars`. In a unit of
systemd each line begins with `<N>`, its priority for the journal.

A log call never raises. A line that cannot be written is replaced by a poorer
one; a line that repeats is counted (`daemons.runtime.repeats`) and told as
`log_repeated`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, NamedTuple, TextIO

import structlog

from daemons.runtime.errors import UsageError
from daemons.runtime.repeats import Repeated, RepeatLimiter

Format = Literal["auto", "json", "console"]
"""`auto`: `console` on a terminal, `json` elsewhere."""

LOG_SCHEMA = 1
"""Version of the keys that every line has."""


class Kind(NamedTuple):
    """What makes a line a repetition of another."""

    logger: str
    level: int
    event: str
    about: tuple[tuple[str, str | int], ...]
    """The keys that tell what it is about."""


_QUIET = (
    "aiokafka",
    "aiohttp",
    "asyncio",
    "boto3",
    "botocore",
    "s3transfer",
    "urllib3",
    "watchdog",
)
"""Libraries whose chatter is not for operators; `set_level` with their name lets them speak."""

_FIRST = ("ts", "level", "event", "obs_id", "service", "host", "logger")
_VARYING = frozenset(
    {"ts", "level", "event", "logger", "error", "reason", "exception", "traceback", "hint"}
)
"""Texts that differ between repetitions of one thing."""
_IDENTIFYING = frozenset({"day_obs", "seq_num", "visit", "exposure", "detector", "exposure_id"})
"""Numbers that tell one thing from another."""
_JOURNAL = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_INFO_PRIORITY = 6


def configure_logging(
    *,
    level: str | int = "INFO",
    format: Format = "auto",  # noqa: A002 - the word of the configuration file
    host: str,
    service: str,
    stream: TextIO | None = None,
    repeats: RepeatLimiter[Kind] | None = None,
) -> None:
    """Set up the logs of this process; may be called again to change them.

    Parameters
    ----------
    level
        Least level that is written: a name or a number of `logging`.
    format
        How a line looks.
    host, service
        Bound to every line; the context may name another service.
    stream
        Where lines go; None: standard error.
    repeats
        What holds repeated lines back; None: 20 of a kind in a minute.

    Raises
    ------
    UsageError
        There is no such level.
    """
    number = _number(level)
    target = sys.stderr if stream is None else stream
    handler = _Handler(target, repeats or RepeatLimiter())
    handler.setFormatter(_formatter(_renderer(format, target), host, service))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_stamps(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=_SafeLogger,
        cache_logger_on_first_use=False,  # so that tests, and a second call, take effect everywhere
    )


def set_level(level: str | int, logger: str | None = None) -> None:
    """Change the least level that is written, now: of everything, or of one logger and below it.

    Raises
    ------
    UsageError
        There is no such level.
    """
    logging.getLogger(logger).setLevel(_number(level))


def current_level(logger: str | None = None) -> int:
    """Return the least level that is written, as a number of `logging`."""
    return logging.getLogger(logger).getEffectiveLevel()


def _number(level: str | int) -> int:
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(
            f"there is no log level {level!r}; use DEBUG, INFO, WARNING, ERROR or CRITICAL"
        )
    return number


def _stamps() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(format_: Format, stream: TextIO) -> list[structlog.typing.Processor]:
    pretty = format_ == "console" or (format_ == "auto" and _is_terminal(stream))
    if pretty:
        colors = _is_terminal(stream) and "NO_COLOR" not in os.environ
        return [structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="ts", sort_keys=False)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_to_json),
    ]


def _formatter(
    renderer: list[structlog.typing.Processor], host: str, service: str
) -> structlog.stdlib.ProcessorFormatter:
    def bind_place(_logger: Any, _method: str, event_dict: Any) -> Any:
        event_dict.setdefault("service", service)
        event_dict.setdefault("host", host)
        event_dict["log_schema"] = LOG_SCHEMA
        first = {key: event_dict.pop(key) for key in _FIRST if key in event_dict}
        return {**first, **event_dict}

    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            bind_place,
            *renderer,
        ],
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            *_stamps(),
            structlog.stdlib.ExtraAdder(),
        ],
    )


class _SafeLogger(structlog.stdlib.BoundLogger):
    """A logger whose calls never raise."""

    def _proxy_to_logger(
        self, method_name: str, event: str | None = None, *event_args: Any, **event_kw: Any
    ) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *event_args, **event_kw)
        except Exception as error:  # noqa: BLE001 - a log call must not end what it tells about
            _write_poorer(sys.stderr, method_name, event, error)
            return None


class _Handler(logging.Handler):
    """Writes lines to a stream, with the journal's priority where systemd reads it."""

    def __init__(self, stream: TextIO, repeats: RepeatLimiter[Kind]) -> None:
        super().__init__()
        self._stream = stream
        self._repeats = repeats
        self._to_journal = _is_journal(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        try:
            now = time.monotonic()
            for repeated in self._repeats.over(now):
                self._tell(repeated)
            if self._repeats.passes(_kind(record), now):
                self._write(record.levelname, self.format(record))
        except Exception as error:  # noqa: BLE001 - as the module says, no log call raises
            _write_poorer(self._stream, record.levelname, record.msg, error)

    def close(self) -> None:
        """Tell what was held back, and end."""
        with contextlib.suppress(Exception), self.lock or contextlib.nullcontext():
            for repeated in self._repeats.drain():
                self._tell(repeated)
        super().close()

    def _tell(self, repeated: Repeated[Kind]) -> None:
        kind = repeated.key
        record = logging.LogRecord(kind.logger, kind.level, "", 0, "log_repeated", None, None)
        told: dict[str, Any] = {**dict(kind.about), "of": kind.event, "count": repeated.count}
        told["window_s"] = self._repeats.window_s
        for key in told.keys() - record.__dict__.keys():
            setattr(record, key, told[key])
        self._write(record.levelname, self.format(record))

    def _write(self, level: str, line: str) -> None:
        if self._to_journal:
            prefix = f"<{_JOURNAL.get(level.lower(), _INFO_PRIORITY)}>"
            line = "\n".join(prefix + part for part in line.split("\n"))
        self._stream.write(line + "\n")
        self._stream.flush()


def _kind(record: logging.LogRecord) -> Kind:
    if not isinstance(record.msg, Mapping):
        return Kind(record.name, record.levelno, str(record.msg), ())
    about = tuple(
        (key, value)
        for key, value in sorted(record.msg.items())
        if (isinstance(value, str) and key not in _VARYING)
        or (isinstance(value, int) and key in _IDENTIFYING)
    )
    return Kind(record.name, record.levelno, str(record.msg.get("event")), about)


def _to_json(value: MutableMapping[str, Any], **_: Any) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({str(key): _flat(item) for key, item in value.items()})


def _plain(value: Any) -> Any:
    """Return something that JSON has for a value that it has not."""
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return _shown(value)


def _flat(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _shown(value)


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value whose __str__ raises is still logged
        return f"<{type(value).__name__} that cannot be shown>"


def _write_poorer(stream: TextIO, level: str, event: Any, error: Exception) -> None:
    """Write that a line could not be written; where even that fails, nothing can be done."""
    poorer = {
        "level": level.lower(),
        "event": "log_line_lost",
        "of": _shown(event),
        "error": _shown(error),
    }
    with contextlib.suppress(Exception):
        stream.write(json.dumps(poorer) + "\n")


def _is_terminal(stream: TextIO) -> bool:
    with contextlib.suppress(Exception):
        return stream.isatty()
    return False


def _is_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal reads the stream (systemd.exec(5), `$JOURNAL_STREAM`)."""
    with contextlib.suppress(Exception):
        status = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False
