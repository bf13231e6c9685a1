"""A header service with everything around it, in memory, and a bus that says what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from daemons.bus import ControlBus, ControlMessage, EventStream, Topic
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import HeaderAvailable
from daemons.runtime.clock import SystemClock, TaiSeconds, UtcSeconds, tai_to_utc
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectStore
from daemons.storage.directory import DirectoryStore
from headerservice.definitions import parse_topic
from headerservice.loading import definitions_path, load_definitions
from headerservice.registry_check import RegisteredSchemas
from headerservice.rules import Definitions
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings

CAMERA = "MTCamera"
OBS_ID = "MC_O_20251121_000156"
SENSORS = ("R22S11", "R00SG0", "R44SW1")


def topic(text: str) -> Topic:
    """Return `Component[:index].topic` as a topic."""
    parsed: Topic = parse_topic(text)
    return parsed


@cache
def lsstcam() -> Definitions:
    """Return the shipped definitions, read once."""
    return load_definitions(definitions_path("LSSTCam"), load_dictionary())


def message(
    name: str,
    fields: Mapping[str, Any],
    sent: float,
    *,
    sequence: int = 1,
    origin: int = 7,
    historical: bool = False,
) -> ControlMessage:
    """Return a message as a bus delivers it."""
    at = topic(name)
    return ControlMessage(
        topic=at,
        fields=MappingProxyType(dict(fields)),
        sent=TaiSeconds(sent),
        sequence=sequence,
        identity=at.component,
        origin=origin,
        historical=historical,
    )


class HandClock:
    """A clock whose date is set by hand, for the senders on the bus."""

    def __init__(self, tai: float) -> None:
        self.at = tai

    def utc(self) -> UtcSeconds:
        return tai_to_utc(self.tai())

    def tai(self) -> TaiSeconds:
        return TaiSeconds(self.at)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Sky:
    """What the telescope does: linear in time, so that a test knows every value."""

    t0: float
    ra: float = 150.0
    ra_rate: float = 15.0 / 3600
    elevation: float = 60.0
    elevation_rate: float = 0.01
    azimuth: float = 359.99
    azimuth_rate: float = 0.01
    airmass: float = 1.15

    def telemetry(self, at: float) -> dict[str, dict[str, Any]]:
        dt = at - self.t0
        return {
            "MTPtg.mountPosition": {
                "timestamp": at,
                "ra": (self.ra + self.ra_rate * dt) % 360,
                "declination": -30.0,
                "skyAngle": (359.999 + 0.001 * dt) % 360,
            },
            "MTPtg.currentTargetStatus": {
                "timestamp": at,
                "ha": -1.0 + dt / 3600,
                "airmass": self.airmass,
            },
            "MTMount.elevation": {
                "actualPosition": self.elevation + self.elevation_rate * dt,
                "actualPositionTimestamp": at,
                "timestamp": at,
            },
            "MTMount.azimuth": {
                "actualPosition": (self.azimuth + self.azimuth_rate * dt) % 360,
                "actualPositionTimestamp": at,
                "timestamp": at,
            },
            "MTRotator.rotation": {"timestamp": at, "actualPosition": 12.0 + 0.002 * dt},
        }

    def slow(self, at: float) -> dict[str, dict[str, Any]]:
        nan = [float("nan")] * 15
        return {
            "MTHexapod:1.application": {"demand": [0.0, 0.0, -650.0, 0.0, 0.0, 0.0]},
            "ESS:301.temperature": {"timestamp": at, "temperatureItem": [8.25, *nan]},
            "ESS:301.pressure": {"timestamp": at, "pressureItem": [74300.0] + [0.0] * 7},
            "ESS:301.relativeHumidity": {"timestamp": at, "relativeHumidityItem": 30.0},
            "ESS:301.airFlow": {"timestamp": at, "speed": 5.0, "direction": 10.0},
        }


def state_events(at: float) -> dict[str, dict[str, Any]]:
    """Return the events of the observatory's state that LSSTCam headers need."""
    names = ":".join(SENSORS)
    return {
        "MTPtg.logevent_currentTarget": {
            "timestamp": at,
            "targetType": 1,
            "targetName": "GW_1",
            "ra": 2.6179938779914944,
            "declination": -0.5235987755982988,
            "frame": 2,
        },
        "MTCamera.logevent_endSetFilter": {
            "filterName": "i_39",
            "filterType": "i",
            "filterSlot": 3,
            "filterPosition": 0.1,
        },
        "MTDomeTrajectory.logevent_telescopeVignetted": {"vignetted": 1},
        "DIMM:1.logevent_dimmMeasurement": {
            "timestamp": at - 37.0,
            "expiresAt": at - 37.0 + 600,
            "fwhm": 0.8,
        },
        "MTCamera.logevent_focalPlaneSummaryInfo": {
            "ccdLocation": names,
            "raftBay": "R22:R00:R44",
            "ccdSlot": "S11:SG0:SW1",
            "rebSerialNumber": "a:b:c",
            "rebLSSTName": "a:b:c",
            "ccdLSSTName": "E2V-1:ITL-2:ITL-3",
            "raftLSSTName": "x:y:z",
            "ccdManSerNum": "1:2:3",
            "ccdManufacturer": "E2V:ITL:ITL",
            "ccdType": [0, 1, 1] + [0] * 209,
            "ccdTempSetPoint": [-100.0] * 212,
            "sequencerKey": "f:g:h",
            "sequencerChecksum": "1:2:3",
        },
        "MTMount.logevent_simulationMode": {"mode": 0},
    }


def image_fields(obs_id: str, start: float, exposure_time: float) -> dict[str, Any]:
    """Return what the events of an image share."""
    source, controller, day, number = obs_id.split("_")
    return {
        "additionalKeys": "imageType:groupId:testType:reason:program",
        "additionalValues": r"OBJECT:2025-11-21T23\:59\:01.000:OBJECT:x_gap:BLOCK-1",
        "imagesInSequence": 1,
        "imageName": obs_id,
        "imageIndex": 1,
        "imageSource": source,
        "imageController": controller,
        "imageDate": day,
        "imageNumber": int(number),
        "timestampAcquisitionStart": start,
        "exposureTime": exposure_time,
    }


@dataclass
class Image:
    """One exposure of the hand-made observatory."""

    obs_id: str
    start: float
    exposure_time: float = 15.0
    kind: str = "OBJECT"

    @property
    def readout(self) -> float:
        return self.start + self.exposure_time + 0.3

    @property
    def end(self) -> float:
        return self.readout + 2.6

    def fields(self) -> dict[str, Any]:
        shared = image_fields(self.obs_id, self.start, self.exposure_time)
        values = shared["additionalValues"].replace("OBJECT", self.kind, 1)
        return {**shared, "additionalValues": values}

    def start_fields(self, timeout: float = 20.0) -> dict[str, Any]:
        return {**self.fields(), "mode": "", "timeout": timeout}

    def readout_fields(self) -> dict[str, Any]:
        return {**self.fields(), "timestampStartOfReadout": self.readout}

    def end_fields(self) -> dict[str, Any]:
        return {
            **self.fields(),
            "imageTag": "0c49a8e591103edc",
            "timestampDateObs": self.start + 0.1,
            "timestampDateEnd": self.readout - 0.05,
            "measuredShutterOpenTime": self.exposure_time,
            "darkTime": self.exposure_time + 0.4,
            "emulatedImage": "",
        }


def settings_for(folder: Path, **changes: Any) -> HeaderServiceSettings:
    """Return settings with waiting times short enough for a test."""
    values: dict[str, Any] = {
        "state_directory": folder / "state",
        "settle_s": 0.2,
        "grace_s": 0.3,
        "catch_up_grace_s": 0.3,
        "deadline_margin_s": 30.0,
        "late_data_s": 5.0,
        "revise_after_s": 0.1,
        "retry_cap_s": 0.5,
        "test_stand": "TMAMCv1_SUM",
    }
    return HeaderServiceSettings(**{**values, **changes})


class Stage:
    """An observatory whose every message a test says, on any bus.

    `voice` is the bus; it stamps what is sent with `hand`.
    """

    def __init__(self, voice: ControlBus, hand: HandClock) -> None:
        self.voice = voice
        self.hand = hand
        self.t0 = hand.at
        self.sky = Sky(self.t0)

    async def say(self, name: str, fields: Mapping[str, Any], *, at: float | None = None) -> None:
        """Send a message, dated by hand."""
        if at is not None:
            self.hand.at = at
        await self.voice.publish(topic(name), fields)

    async def say_all(self, messages: Mapping[str, Mapping[str, Any]], *, at: float) -> None:
        for name, fields in messages.items():
            await self.say(name, fields, at=at)

    async def set_the_scene(self, at: float) -> None:
        """Send the events of the observatory's state, and slow telemetry."""
        await self.say_all(state_events(at), at=at)
        await self.say_all(self.sky.slow(at), at=at)

    async def point(self, begin: float, end: float, step: float = 0.5) -> None:
        """Send telemetry for a while."""
        at = begin
        while at <= end:
            await self.say_all(self.sky.telemetry(at), at=at)
            at += step

    async def start(self, image: Image) -> None:
        await self.say(f"{CAMERA}.logevent_startIntegration", image.start_fields(), at=image.start)

    async def readout(self, image: Image) -> None:
        fields = image.readout_fields()
        await self.say(f"{CAMERA}.logevent_startReadout", fields, at=image.readout)

    async def annotation(self, image: Image) -> None:
        fields = {"imageName": image.obs_id, "daqAnnotation": "note"}
        await self.say(f"{CAMERA}.logevent_imageReadoutParameters", fields)

    async def end(self, image: Image) -> None:
        fields = image.end_fields()
        await self.say(f"{CAMERA}.logevent_endOfImageTelemetry", fields, at=image.end)

    async def expose(self, image: Image) -> None:
        """Tell the whole life of an exposure, with telemetry around it."""
        await self.say_all(self.sky.slow(image.start - 2), at=image.start - 2)
        await self.point(image.start - 2, image.start)
        await self.start(image)
        await self.point(image.start + 0.1, image.readout)
        await self.readout(image)
        await self.annotation(image)
        await self.point(image.readout + 0.1, image.end)
        await self.end(image)


@dataclass
class Rig(Stage):
    """The service, and what it talks to."""

    folder: Path
    settings: HeaderServiceSettings
    control_broker: MemoryControlBroker = field(default_factory=MemoryControlBroker)
    event_broker: MemoryBroker = field(default_factory=MemoryBroker)
    store: ObjectStore | None = None
    stream: EventStream | None = None
    schemas: RegisteredSchemas | None = None

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        hand = HandClock(float(self.clock.tai()))
        voice = MemoryControlBus(self.control_broker, identity=CAMERA, clock=hand)
        super().__init__(voice, hand)
        self.health = HealthBoard()
        self.registry = CollectorRegistry()
        self.bus = MemoryControlBus(
            self.control_broker, identity="MTHeaderService", clock=self.clock
        )
        self.stream = self.stream or MemoryEventStream(self.event_broker)
        self.store = self.store or DirectoryStore("facility", self.folder / "store")
        self.events: list[HeaderAvailable] = []
        self.event_ids: list[str] = []
        self.announced: list[Mapping[str, Any]] = []
        self._news = asyncio.Event()
        self.service = HeaderService(
            self.settings,
            host="summit-1",
            bus=self.bus,
            stream=self.stream,
            store=self.store,
            health=self.health,
            registry=self.registry,
            clock=self.clock,
            schemas=self.schemas,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        """Run the service, and listen to what it announces."""
        await self.service.open()
        listeners = [
            asyncio.create_task(self._listen_to_stream()),
            asyncio.create_task(self._listen_to_bus()),
        ]
        work = asyncio.create_task(self.service.work())
        ready = asyncio.create_task(self.service.ready())
        await asyncio.wait({ready, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        try:
            yield self
            assert not work.done(), work.exception()
        finally:
            for task in (work, ready, *listeners):
                task.cancel()
            await asyncio.gather(work, ready, *listeners, return_exceptions=True)
            await self.service.close()

    async def _listen_to_stream(self) -> None:
        own = MemoryEventStream(self.event_broker)
        async with own.subscribe("test") as subscription:
            async for delivery in subscription:
                self.events.append(delivery.message.read(HeaderAvailable))
                self.event_ids.append(delivery.message.id)
                await delivery.ack()
                self._news.set()

    async def _listen_to_bus(self) -> None:
        large = Topic(
            self.settings.component,
            "logevent_largeFileObjectAvailable",
            self.settings.index,
        )
        async with self.voice.subscribe([large], history=False, since=TaiSeconds(0)) as messages:
            async for delivery in messages:
                self.announced.append(delivery.message.fields)
                self._news.set()

    # Listening.

    def final(self, obs_id: str = OBS_ID) -> list[HeaderAvailable]:
        """Return the final headers that were announced on the event stream."""
        return [each for each in self.events if each.obs_id == obs_id and each.status != "early"]

    def on_bus(self, obs_id: str = OBS_ID) -> list[Mapping[str, Any]]:
        return [each for each in self.announced if each["id"] == obs_id]

    async def until(self, condition: Any, within_s: float = 10.0) -> None:
        """Wait until something was announced that makes a condition true."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def eventually(self, condition: Any, within_s: float = 10.0) -> None:
        """Wait until something is so that nothing announces."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - there is nothing else to wait for
                await asyncio.sleep(0.01)

    async def integrating(self, obs_id: str = OBS_ID) -> None:
        """Wait until the service has taken note of an exposure that began."""
        await self.eventually(lambda: self.service._phase_of(obs_id) == "integrating")

    async def header_of(self, obs_id: str = OBS_ID, revision: int = 1) -> dict[str, Any]:
        """Wait for the final header of an exposure, and return keyword and value of PRIMARY."""
        await self.until(
            lambda: (
                any(each.revision == revision for each in self.final(obs_id))
                and any(each["version"] == revision for each in self.on_bus(obs_id))
            )
        )
        return cards(self.stored(obs_id, revision))

    def stored(self, obs_id: str = OBS_ID, revision: int = 1) -> dict[str, Any]:
        suffix = "" if revision == 1 else f"_r{revision}"
        day = obs_id.split("_")[2]
        path = (
            self.folder
            / f"store/{self._named()}/header"
            / day[:4]
            / day[4:6]
            / day[6:]
            / f"{self._named()}_header_{obs_id}{suffix}.yaml"
        )
        return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)

    def _named(self) -> str:
        index = f":{self.settings.index}" if self.settings.index else ""
        return f"{self.settings.component}{index}"

    def counter(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def cards(document: Mapping[str, Any], hdu: str = "PRIMARY") -> dict[str, Any]:
    """Return keyword and value of one header."""
    return {
        card["keyword"]: card["value"] for card in document[hdu] if card["keyword"] != "COMMENT"
    }
