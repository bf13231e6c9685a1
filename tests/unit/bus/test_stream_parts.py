"""The small parts of the event stream: back-off, report, figures, dead letters, subscription."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from daemons.bus import BusError, BusUnavailableError, PoisonMessage
from daemons.bus.metrics import bus_metrics
from daemons.bus.report import ConnectionReport
from daemons.bus.stream.dead_letters import DeadLetters, wrapped
from daemons.bus.stream.subscription import EventSubscription, RawMessage
from daemons.events import ImageQuarantined, encode, new_event
from daemons.runtime.health import HealthBoard

POISON = PoisonMessage(where="events[0]@1", payload=b"\xff\xfe", reason="not JSON")


def make_report() -> ConnectionReport:
    return ConnectionReport(
        HealthBoard(), "event_stream.publish", bus_metrics(None), "event_stream"
    )


def test_a_change_of_a_connection_is_logged_once() -> None:
    report = make_report()
    with capture_logs() as logs:
        for _ in range(3):
            report.down("cannot reach Kafka")
        report.down("no rights")
        report.up("connected")
        report.up("connected")
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("broker_away", "cannot reach Kafka"),
        ("broker_away", "no rights"),
        ("broker_connected", "connected"),
    ]
    assert report.health.ready


def test_a_client_that_is_given_up_is_counted_by_cause() -> None:
    report = make_report()
    report.given_up("stuck", "it stays at 5 of 7")
    restarts = report.metrics.client_restarts.labels(bus="event_stream", cause="stuck")
    assert restarts._value.get() == 1
    assert not report.health.ready


def test_a_registry_has_one_set_of_figures_however_many_streams_there_are() -> None:
    registry = CollectorRegistry()
    assert bus_metrics(registry) is bus_metrics(registry)
    assert bus_metrics(None) is not bus_metrics(None)
    names = {metric.name for metric in registry.collect()}
    assert {"arriero_bus_published", "arriero_bus_poison_messages"} <= names


async def test_dead_letters_are_acknowledged_once_they_are_taken() -> None:
    answers = [BusUnavailableError("away"), BusUnavailableError("away"), None]
    buried: list[PoisonMessage] = []
    acknowledged = asyncio.Event()

    async def bury(poison: PoisonMessage) -> None:
        answer = answers.pop(0)
        if answer is not None:
            assert not acknowledged.is_set()
            raise answer
        buried.append(poison)

    metrics = bus_metrics(None)
    async with running(DeadLetters(bury, metrics), lambda letters: put(letters, acknowledged)):
        async with asyncio.timeout(10):
            await acknowledged.wait()
    assert buried == [POISON]
    assert metrics.poison.labels(bus="event_stream")._value.get() == 1


async def test_what_the_dead_letter_topic_will_never_take_is_kept_in_the_log() -> None:
    acknowledged = asyncio.Event()

    async def bury(_poison: PoisonMessage) -> None:
        raise BusError("too large")

    with capture_logs() as logs:
        async with running(
            DeadLetters(bury, bus_metrics(None)), lambda letters: put(letters, acknowledged)
        ):
            async with asyncio.timeout(10):
                await acknowledged.wait()
    [entry] = [entry for entry in logs if entry["event"] == "dead_letter_refused"]
    assert entry["payload_base64"] == "//4="


async def test_poison_never_waits_for_the_dead_letter_topic() -> None:
    async def bury(_poison: PoisonMessage) -> None:
        await asyncio.Event().wait()

    letters = DeadLetters(bury, bus_metrics(None))
    acknowledged = 0

    def acknowledge() -> None:
        nonlocal acknowledged
        acknowledged += 1

    with capture_logs() as logs:
        for _ in range(150):
            letters.put(POISON, acknowledge)
    assert acknowledged == 50  # those for which there was no room; their bytes are in the log
    assert sum(entry["event"] == "dead_letter_refused" for entry in logs) == 50


def test_a_wrapped_poison_message_is_json() -> None:
    letter = json.loads(json.dumps(wrapped(POISON)))
    assert letter["payload_base64"] == "//4="
    assert letter["where"] == "events[0]@1"


def put(letters: DeadLetters, acknowledged: asyncio.Event) -> None:
    letters.put(POISON, acknowledged.set)


class running:  # noqa: N801 - reads as a word in `async with`
    """Runs dead letters while the block lasts."""

    def __init__(self, letters: DeadLetters, begin: Callable[[DeadLetters], None]) -> None:
        self._letters = letters
        self._begin = begin

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._letters.run())
        self._begin(self._letters)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


class Source:
    """Raw messages from a queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[RawMessage] = asyncio.Queue()
        self.is_ready = asyncio.Event()

    async def ready(self) -> None:
        await self.is_ready.wait()

    async def next(self) -> RawMessage:
        return await self.queue.get()

    def send(self, number: int) -> None:
        fact = ImageQuarantined(
            host="h",
            path="/drop/a.fits",
            quarantine_path="/quarantine/a.fits",
            file_name="a.fits",
            size_bytes=number,
            codes=("fits.truncated",),
            reason="short",
            quarantined_at="2026-11-20T03:12:00Z",  # type: ignore[arg-type]
        )
        event = new_event(fact, source="/test", key=str(number))
        self.queue.put_nowait(RawMessage(encode(event), "test", lambda: None, lambda: True))


def subscribed(source: Source) -> EventSubscription:
    async def bury(_poison: PoisonMessage) -> None:
        raise AssertionError("nothing here is poison")

    metrics = bus_metrics(None)
    return EventSubscription(
        source, group="g", types=None, dead_letters=DeadLetters(bury, metrics), metrics=metrics
    )


@given(st.lists(st.sampled_from(["send", "give up", "take"]), max_size=30))
def test_no_message_is_lost_when_its_reader_gives_up_waiting(steps: list[str]) -> None:
    async def play() -> None:
        source = Source()
        subscription = subscribed(source)
        sent, seen = 0, []
        for step in steps:
            if step == "send":
                source.send(sent)
                sent += 1
            elif step == "give up":
                waiting = asyncio.ensure_future(anext(subscription))
                for _ in range(sent % 5):
                    await asyncio.sleep(0)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait({waiting})
                if not waiting.cancelled():
                    seen.append(waiting.result().message.data["size_bytes"])
            elif sent > len(seen):
                seen.append((await anext(subscription)).message.data["size_bytes"])
        while sent > len(seen):
            seen.append((await anext(subscription)).message.data["size_bytes"])
        await subscription.close()
        assert seen == list(range(sent))

    asyncio.run(within(play()))


async def within(work: Awaitable[None]) -> None:
    async with asyncio.timeout(20):
        await work


async def test_closing_wakes_who_waits_to_be_ready() -> None:
    source = Source()
    subscription = subscribed(source)
    waiting = asyncio.ensure_future(subscription.ready())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await subscription.close()
    await within(waiting)
