"""A header service that is killed at any step ends every exposure in one header all the same."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemons.bus.control.factory import open_control_bus
from daemons.bus.settings_control import ControlBusSettings
from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import open_event_stream
from daemons.events import HeaderAvailable
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard
from tests.support.servers import Kafka, Mosquitto, SmallRegistry
from tests.unit.headerservice.rig import (
    OBS_ID,
    SENSORS,
    HandClock,
    Image,
    Stage,
    cards,
    lsstcam,
    topic,
)

CHILD = Path(__file__).with_name("headerservice_child.py")
LARGE_FILE = topic("MTHeaderService.logevent_largeFileObjectAvailable")
PATIENCE_S = 60.0

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]


class Night:
    """The observatory, the header service's process, and somebody who listens to it."""

    def __init__(self, folder: Path, control: dict[str, Any], stream: dict[str, Any]) -> None:
        self.folder = folder
        self.control = control
        self.stream = stream
        self.health = HealthBoard()
        hand = HandClock(float(SystemClock().tai()))
        self.bus = open_control_bus(
            ControlBusSettings(**self.control), identity="MTCamera", clock=hand, health=self.health
        )
        self.events_in = open_event_stream(
            EventStreamSettings(**self.stream), client_id="listener", health=self.health
        )
        self.stage = Stage(self.bus, hand)
        self.image = Image(OBS_ID, hand.at + 3.0)
        self.child: asyncio.subprocess.Process | None = None
        self.events: list[HeaderAvailable] = []
        self.event_ids: list[str] = []
        self.announced: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    async def start_child(self, die: str | None = None) -> None:
        told = {
            "folder": str(self.folder),
            "control_bus": self.control,
            "event_stream": self.stream,
            "die": die,
        }
        with (self.folder / "child.log").open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable,
                str(CHILD),
                json.dumps(told),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={"PYTHONPATH": str(CHILD.parents[2]), "PATH": "/usr/bin"},
            )
        assert self.child.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := await self.child.stdout.readline():
                if line.startswith(b"ready"):
                    return
        assert die is not None, (self.folder / "child.log").read_text()

    async def child_dies(self) -> None:
        assert self.child is not None
        async with asyncio.timeout(PATIENCE_S):
            await self.child.communicate()
        assert self.child.returncode == -signal.SIGKILL

    async def stop_child(self) -> None:
        if self.child is not None and self.child.returncode is None:
            self.child.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await self.child.communicate()
            assert self.child.returncode == 0, (self.folder / "child.log").read_text()

    async def listen_to_stream(self) -> None:
        async with self.events_in.subscribe("listener") as subscription:
            async for delivery in subscription:
                self.events.append(delivery.message.read(HeaderAvailable))
                self.event_ids.append(delivery.message.id)
                await delivery.ack()
                self.news.set()

    async def listen_to_bus(self) -> None:
        since = TaiSeconds(self.stage.t0 - 60)
        async with self.bus.subscribe([LARGE_FILE], history=False, since=since) as messages:
            async for delivery in messages:
                self.announced.append(dict(delivery.message.fields))
                self.news.set()

    async def told(self) -> None:
        """Wait until the final header is announced on both buses."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.finals() and self.announced):
                self.news.clear()
                await self.news.wait()

    def finals(self) -> list[tuple[str, HeaderAvailable]]:
        both = zip(self.event_ids, self.events, strict=True)
        return [(number, event) for number, event in both if event.status != "early"]

    async def begin(self) -> None:
        """Everything up to the readout."""
        stage, image = self.stage, self.image
        await stage.set_the_scene(image.start - 2)
        await stage.point(image.start - 1, image.start)
        await stage.start(image)
        await stage.point(image.start + 0.25, image.start + 1)

    async def finish(self) -> None:
        """The readout and what comes after it."""
        stage, image = self.stage, self.image
        await stage.point(image.readout - 1, image.readout)
        await stage.readout(image)
        await stage.point(image.readout + 0.25, image.readout + 1)
        await stage.end(image)


@asynccontextmanager
async def listened_to(night: Night) -> AsyncIterator[Night]:
    lsstcam()
    listeners = [
        asyncio.create_task(night.listen_to_stream()),
        asyncio.create_task(night.listen_to_bus()),
    ]
    yield night
    if night.child is not None and night.child.returncode is None:
        night.child.kill()
        await night.child.communicate()
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    await night.events_in.close()
    await night.bus.close()


@pytest.fixture
async def night(
    tmp_path: Path, kafka: Kafka, schema_registry: SmallRegistry
) -> AsyncIterator[Night]:
    """A night on Kafka."""
    name = uuid.uuid4().hex[:10]
    control = {
        "url": kafka.url,
        "registry_url": schema_registry.registry_url,
        "subname": f"t{name}",
    }
    stream = {"url": kafka.url, "topic": f"events-{name}", "partitions": 1}
    async with listened_to(Night(tmp_path, control, stream)) as night:
        yield night


@pytest.fixture
async def mqtt_night(tmp_path: Path, mosquitto: Mosquitto) -> AsyncIterator[Night]:
    """A night on MQTT, which keeps no telemetry."""
    name = uuid.uuid4().hex[:10]
    control = {"url": mosquitto.mqtt_url, "prefix": f"sal{name}"}
    stream = {"url": mosquitto.mqtt_url, "topic": f"events{name}"}
    async with listened_to(Night(tmp_path, control, stream)) as night:
        yield night


def check_one_whole_header(night: Night) -> None:
    objects = sorted((night.folder / "store/MTHeaderService/header").rglob("*.yaml"))
    (path,) = objects
    assert path.name == f"MTHeaderService_header_{OBS_ID}.yaml"
    document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    header = cards(document)
    assert (header["HDRSTAT"], header["HDRREV"]) == ("complete", 1)
    assert header["RASTART"] == pytest.approx(
        night.stage.sky.ra + night.stage.sky.ra_rate * (night.image.start - night.stage.t0),
        abs=1e-6,
    )
    assert len(document) == 1 + len(SENSORS)
    assert len({number for number, _event in night.finals()}) == 1
    assert {event.revision for _number, event in night.finals()} == {1}
    assert {each["id"] for each in night.announced} == {OBS_ID}
    assert len({each["checkSum"] for each in night.announced}) == 1


@pytest.mark.parametrize(
    "point", ["after_startIntegration", "after_startReadout", "after_early_event"]
)
async def test_killed_during_the_exposure_it_ends_in_one_whole_header(
    night: Night, point: str
) -> None:
    await night.start_child(die=point)
    await night.begin()
    if point == "after_startIntegration":
        await night.child_dies()
        await night.finish()  # while nobody listens
    else:
        await night.finish()
        await night.child_dies()
    await night.start_child()
    await night.told()
    await night.stop_child()
    check_one_whole_header(night)


@pytest.mark.parametrize(
    "point",
    [
        "after_endOfImageTelemetry",
        "after_header_recorded",
        "before_store",
        "after_store",
        "after_control_bus",
        "after_complete_event",
    ],
)
async def test_killed_while_publishing_it_ends_in_one_whole_header(
    night: Night, point: str
) -> None:
    await night.start_child(die=point)
    await night.begin()
    await night.finish()
    await night.child_dies()
    await night.start_child()
    await night.told()
    await night.stop_child()
    check_one_whole_header(night)


async def test_killed_on_a_bus_that_keeps_nothing_the_values_of_the_start_are_in_the_journal(
    mqtt_night: Night,
) -> None:
    await mqtt_night.start_child(die="after_startIntegration")
    await mqtt_night.begin()
    await mqtt_night.child_dies()
    await mqtt_night.start_child()
    await mqtt_night.finish()
    await mqtt_night.told()
    await mqtt_night.stop_child()
    check_one_whole_header(mqtt_night)
