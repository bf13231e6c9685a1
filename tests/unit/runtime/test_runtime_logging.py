"""What a log line looks like, and that logging never raises."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from daemons.runtime.errors import UsageError
from daemons.runtime.logging import configure_logging, current_level, set_level
from daemons.runtime.repeats import RepeatLimiter

pytestmark = pytest.mark.usefixtures("logging_restored")

_log = structlog.get_logger("daemons.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def configured(stream: io.StringIO | None = None, **options: Any) -> io.StringIO:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)  # it formats, and raises, in a way of its own
    stream = io.StringIO() if stream is None else stream
    configure_logging(**{"host": "fp01", "service": "forwarder", "stream": stream, **options})
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_the_keys_of_the_schema() -> None:
    stream = configured()
    with structlog.contextvars.bound_contextvars(obs_id="MC_C_20240918_000013"):
        _log.warning("store_slow", seconds=3.5, path=Path("/d"), ids={1})
    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert list(line) == [
        "level",
        "event",
        "obs_id",
        "service",
        "host",
        "logger",
        "seconds",
        "path",
        "ids",
        "log_schema",
    ]
    assert line["level"] == "warning"
    assert line["event"] == "store_slow"
    assert line["service"] == "forwarder"
    assert line["path"] == "/d"
    assert line["ids"] == [1]


def test_the_context_may_name_another_service() -> None:
    stream = configured()
    with structlog.contextvars.bound_contextvars(service="registrar"):
        _log.info("x")
    assert lines(stream)[0]["service"] == "registrar"


def test_lines_of_libraries_come_the_same_way() -> None:
    stream = configured()
    logging.getLogger("somelibrary").warning("lost %d of %d", 1, 2, extra={"node": "a"})
    (line,) = lines(stream)
    assert line["event"] == "lost 1 of 2"
    assert line["node"] == "a"
    assert line["logger"] == "somelibrary"
    assert line["host"] == "fp01"


def test_an_exception_stays_on_one_line() -> None:
    stream = configured()
    try:
        int("broken\nin two")
    except ValueError:
        _log.exception("step_failed")
    (line,) = lines(stream)
    assert "ValueError: invalid literal" in line["exception"]


def test_a_terminal_gets_pretty_lines_and_no_json() -> None:
    stream = configured(Terminal())
    _log.info("store_slow", seconds=3.5)
    assert "store_slow" in stream.getvalue()
    assert "seconds" in stream.getvalue()
    with pytest.raises(ValueError, match="line 1"):
        lines(stream)


def test_the_format_may_be_forced() -> None:
    terminal = configured(Terminal(), format="json")
    _log.info("x")
    assert lines(terminal)[0]["event"] == "x"
    plain = configured(format="console")
    _log.info("store_slow")
    assert "\x1b[" not in plain.getvalue()
    assert "store_slow" in plain.getvalue()


def test_the_level_can_be_changed_while_running() -> None:
    stream = configured(level="WARNING")
    _log.info("hidden")
    set_level("DEBUG")
    _log.debug("seen")
    set_level("ERROR", "daemons.test")
    _log.warning("hidden_too")
    assert [line["event"] for line in lines(stream)] == ["seen"]
    assert current_level() == logging.DEBUG
    assert current_level("daemons.test") == logging.ERROR


def test_libraries_are_quiet_until_they_are_named() -> None:
    stream = configured(level="DEBUG")
    logging.getLogger("botocore.endpoint").debug("chatter")
    set_level("DEBUG", "botocore")
    logging.getLogger("botocore.endpoint").debug("asked for")
    assert [line["event"] for line in lines(stream)] == ["asked for"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no log level 'LOUD'; use DEBUG"):
        set_level("LOUD")


def test_configuring_again_replaces_and_does_not_double() -> None:
    first = configured()
    second = configured(service="other")
    _log.info("once")
    assert first.getvalue() == ""
    assert [line["service"] for line in lines(second)] == ["other"]


def test_repetitions_are_counted_and_told() -> None:
    stream = configured(repeats=RepeatLimiter(burst=2, window_s=3600))
    for attempt in range(5):
        _log.warning("broker_away", address="kafka://b", attempt=attempt, error=f"try {attempt}")
    for name in ("a.fits", "b.fits", "c.fits"):
        _log.info("image_stored", file=name)
    for handler in list(logging.getLogger().handlers):
        handler.close()
    found = lines(stream)
    assert [line["event"] for line in found] == [
        "broker_away",
        "broker_away",
        "image_stored",
        "image_stored",
        "image_stored",
        "log_repeated",
    ]
    told = found[-1]
    assert (told["of"], told["count"], told["address"], told["level"]) == (
        "broker_away",
        3,
        "kafka://b",
        "warning",
    )
    assert told["logger"] == "daemons.test"


def test_keys_that_logging_keeps_for_itself_do_not_break_the_summary() -> None:
    stream = configured(repeats=RepeatLimiter(burst=1, window_s=3600))
    for _ in range(2):
        _log.info("x", name="n", msg="m", args="a", module="o")
    configured()
    assert [line["event"] for line in lines(stream)] == ["x", "log_repeated"]


@pytest.mark.parametrize(
    "value",
    [
        Unprintable(),
        float("nan"),
        {("a", 1): 2},
        {1: Unprintable()},
        "\udcff",
        b"\xff",
        type("Looped", (dict,), {})(),
    ],
)
def test_a_value_that_json_has_not_is_logged_all_the_same(value: object) -> None:
    stream = configured()
    _log.info("odd", value=value, good=1)
    (line,) = lines(stream)
    assert line["event"] == "odd"
    assert line["good"] == 1


def test_a_wrong_format_string_of_a_library_loses_no_event() -> None:
    stream = configured()
    logging.getLogger("somelibrary").warning("%d", "no number")
    (line,) = lines(stream)
    assert line["event"] == "log_line_lost"
    assert line["of"] == "%d"


def test_a_stream_that_is_gone_does_not_raise() -> None:
    stream = configured()
    stream.close()
    _log.error("x")
    logging.getLogger("somelibrary").error("y")


def test_a_processor_that_fails_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    configured()

    def broken(_logger: Any, _method: str, _event: Any) -> Any:
        raise RuntimeError("processor")

    structlog.configure(processors=[broken])
    _log.error("important")
    assert json.loads(capsys.readouterr().err)["of"] == "important"


def test_the_journal_gets_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure_logging(level="DEBUG", host="h", service="s", stream=stream)
        _log.debug("d")
        _log.info("i")
        _log.warning("w")
        _log.error("e")
        _log.critical("c")
        stream.seek(0)
        assert [line[:3] for line in stream] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    with (tmp_path / "other").open("w+") as other:
        configure_logging(host="h", service="s", stream=other)
        _log.info("i")
        other.seek(0)
        assert other.read().startswith("{")
