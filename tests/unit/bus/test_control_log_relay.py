from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from daemons.bus.control.log_relay import BURST, OWN_WAY, PER_SECOND, LogRelay
from daemons.runtime.clock import SystemClock, TaiSeconds, UtcSeconds
from daemons.runtime.logging import configure_logging
from tests.support.logs import restored_logging


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def utc(self) -> UtcSeconds:
        return UtcSeconds(1795272989.0)

    def tai(self) -> TaiSeconds:
        return TaiSeconds(1795273026.0)

    def monotonic(self) -> float:
        return self.now


def logger(relay: LogRelay) -> Any:
    return structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            relay,
            structlog.processors.KeyValueRenderer(),
        ],
    )


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_warnings_and_above_are_copied_with_their_details() -> None:
    relay, sent = LogRelay(HandClock()), list[dict[str, Any]]()
    relay.attach(sent.append)
    log = logger(relay)
    log.info("image_stored", obs_id="x")
    log.warning("store_slow", store="usdf", seconds=3.5, logger="daemons.forwarder")
    log.error("journal_failed", path="/var/lib/x", exc_info=OSError("disk full"))
    await settled()
    assert [(p["level"], p["message"]) for p in sent] == [
        (30, "store_slow store=usdf seconds=3.5"),
        (40, "journal_failed path=/var/lib/x"),
    ]
    assert sent[0]["name"] == "daemons.forwarder"
    assert sent[0]["process"] == os.getpid()
    assert sent[0]["timestamp"] == 1795273026.0
    assert "OSError: disk full" in sent[1]["traceback"]


async def test_entries_go_on_unchanged() -> None:
    relay = LogRelay(HandClock())
    relay.attach(lambda _: None)
    entry = {"event": "a", "level": "warning", "b": 1}
    assert relay(None, "warning", entry) == {"event": "a", "level": "warning", "b": 1}


async def test_flood_is_bounded_and_what_was_withheld_is_counted() -> None:
    clock = HandClock()
    relay, sent = LogRelay(clock), list[dict[str, Any]]()
    relay.attach(sent.append)
    log = logger(relay)
    for number in range(BURST + 7):
        log.warning("flood", number=number)
    await settled()
    assert len(sent) == BURST
    clock.now += 1 / PER_SECOND
    log.warning("calm")
    log.warning("too soon")
    await settled()
    assert [p["message"] for p in sent[BURST:]] == [
        "calm (7 messages before this one were not sent)"
    ]


async def test_entry_of_another_thread_is_handed_over_to_the_loop() -> None:
    relay, sent = LogRelay(SystemClock()), list[int]()
    relay.attach(lambda _: sent.append(threading.get_ident()))
    await asyncio.to_thread(logger(relay).error, "from a thread")
    await settled()
    assert sent == [threading.get_ident()]


async def test_nothing_is_sent_unless_attached() -> None:
    relay, sent = LogRelay(SystemClock()), list[Any]()
    log = logger(relay)
    log.error("before")
    relay.attach(sent.append)
    relay.detach()
    log.error("after")
    await settled()
    assert sent == []


async def test_level_can_be_changed() -> None:
    relay, sent = LogRelay(HandClock()), list[dict[str, Any]]()
    relay.attach(sent.append)
    relay.level = 10
    logger(relay).debug("detail")
    await settled()
    assert [p["level"] for p in sent] == [10]


@pytest.fixture
def heard() -> Iterator[tuple[LogRelay, list[dict[str, Any]]]]:
    """A relay of the forwarder that listens to the logs of the process."""
    with restored_logging():
        configure_logging(level="DEBUG", format="json", host="h", service="x", stream=StringIO())
        yield LogRelay(HandClock(), service="forwarder"), []


Heard = tuple[LogRelay, list[dict[str, Any]]]


async def test_entry_of_the_process_is_told_with_its_place_and_traceback(heard: Heard) -> None:
    relay, sent = heard
    relay.attach(sent.append)
    structlog.get_logger("daemons.x").error("journal_failed", exc_info=OSError("disk full"))
    logging.getLogger("elsewhere").warning("careful %s", "now")
    relay.detach()
    structlog.get_logger("daemons.x").error("after")
    await settled()
    ours, theirs = sent
    assert (ours["name"], ours["message"], ours["level"]) == ("daemons.x", "journal_failed", 40)
    assert "OSError: disk full" in ours["traceback"]
    assert ours["filePath"] == __file__
    assert ours["functionName"].startswith("test_entry_of_the_process")
    assert ours["lineNumber"] > 0
    assert (theirs["name"], theirs["message"]) == ("elsewhere", "careful now")


async def test_way_to_the_bus_is_not_told_about_on_the_bus(heard: Heard) -> None:
    relay, sent = heard
    relay.attach(sent.append)
    for name in (*OWN_WAY, "aiokafka.consumer.fetcher"):
        logging.getLogger(name).error("away")
    logging.getLogger("daemons.bus.reporting").error("poison")
    relay.detach()
    await settled()
    assert [payload["message"] for payload in sent] == ["poison"]


async def test_entry_of_another_service_of_the_process_is_not_its_own(heard: Heard) -> None:
    relay, sent = heard
    relay.attach(sent.append)
    for service in ("forwarder", "registrar"):
        with structlog.contextvars.bound_contextvars(service=service):
            structlog.get_logger("daemons.x").warning(f"of_{service}")
    structlog.get_logger("daemons.x").warning("of_nobody")
    relay.detach()
    await settled()
    assert [payload["message"] for payload in sent] == ["of_forwarder", "of_nobody"]


async def test_level_of_one_subsystem_is_its_own(heard: Heard) -> None:
    relay, sent = heard
    relay.attach(sent.append)
    relay.set_level(logging.DEBUG, "daemons.x")
    structlog.get_logger("daemons.x.part").debug("told")
    structlog.get_logger("daemons.y").info("not_told")
    relay.set_level(logging.ERROR)
    structlog.get_logger("daemons.x.part").warning("not_told_any_more")
    relay.detach()
    await settled()
    assert [payload["message"] for payload in sent] == ["told"]
