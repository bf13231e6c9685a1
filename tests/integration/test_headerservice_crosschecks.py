"""A simulated night: every value fits every other, and what is made wrong is noticed and told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from daemons.bus import ControlMessage, Topic
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import HeaderAvailable
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard
from daemons.simulators.clock import Pace, SimulatedClock
from daemons.simulators.night import Exposure, NightSpec, plan_night
from daemons.simulators.observatory import Observatory
from daemons.storage.directory import DirectoryStore
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings

SETTLED_S = 60.0


class CorruptedBus(MemoryControlBus):
    """Sends what an observatory with a fault would send."""

    changes: Mapping[str, Mapping[str, float]] = {}

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        added = self.changes.get(str(topic), {})
        wrong = {name: fields[name] + more for name, more in added.items()}
        return await super().publish(topic, {**fields, **wrong}, sequence=sequence)


class Summit:
    """A header service, and an observatory that plays some exposures on the sky to it."""

    def __init__(self, folder: Path, changes: Mapping[str, Mapping[str, float]]) -> None:
        self.folder = folder
        control, events = MemoryControlBroker(retention=200_000), MemoryBroker()
        start = TaiSeconds(float(SystemClock().tai()))
        self.night = plan_night(
            NightSpec(day_obs=20251121, exposures=2, seed=3, start=start, calibrations=0)
        )
        self.registry = CollectorRegistry()
        self.service = HeaderService(
            HeaderServiceSettings(state_directory=folder / "state", grace_s=20.0, wcs=True),
            host="summit-1",
            bus=MemoryControlBus(control, identity="MTHeaderService"),
            stream=MemoryEventStream(events),
            store=DirectoryStore("facility", folder / "store"),
            health=HealthBoard(),
            registry=self.registry,
            clock=SystemClock(),
        )
        clock = SimulatedClock(start, Pace.FAST)
        voice = CorruptedBus(control, identity="Observatory", clock=clock)
        voice.changes = changes
        self.observatory = Observatory(voice, self.night, clock=clock, admission=self.admit)
        self.listener = MemoryEventStream(events)
        self.final: dict[str, HeaderAvailable] = {}
        self.news = asyncio.Event()

    async def admit(self, exposure: Exposure) -> None:
        """Let the header of the exposure before be made first, as in real time."""
        await self.have([each for each in self.night.exposures if each.seq_num < exposure.seq_num])

    async def have(self, exposures: list[Exposure]) -> None:
        async with asyncio.timeout(SETTLED_S):
            while not {each.obs_id for each in exposures} <= self.final.keys():
                self.news.clear()
                await self.news.wait()

    async def listen(self) -> None:
        async with self.listener.subscribe("test") as subscription:
            async for delivery in subscription:
                event = delivery.message.read(HeaderAvailable)
                if event.status != "early":
                    self.final[event.obs_id] = event
                await delivery.ack()
                self.news.set()

    async def play(self) -> list[dict[str, Any]]:
        """Play the night; return the documents of its headers."""
        await self.service.open()
        tasks = [asyncio.create_task(each) for each in (self.service.work(), self.listen())]
        try:
            await self.service.ready()
            await self.observatory.run()
            await self.have(list(self.night.exposures))
            await self.service.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.service.close()
        return [_document(event.uri) for event in self.final.values()]

    def counted(self, check: str) -> float:
        name = "arriero_header_findings_total"
        return self.registry.get_sample_value(name, {"code": f"crosscheck.{check}"}) or 0.0


def _document(uri: str) -> dict[str, Any]:
    path = Path(uri.removeprefix("file://"))
    return dict(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader))


def cards(document: Mapping[str, Any], hdu: str) -> dict[str, Any]:
    return {card["keyword"]: card["value"] for card in document[hdu]}


@pytest.mark.slow
async def test_the_values_of_a_simulated_night_pass_all_checks_that_can_be_made(
    tmp_path: Path,
) -> None:
    summit = Summit(tmp_path, {})
    documents = await summit.play()
    assert len(documents) == 2
    for document, event in zip(documents, summit.final.values(), strict=True):
        primary = cards(document, "PRIMARY")
        assert (primary["HDRNFAIL"], primary["HDRFAIL"]) == (0, "none")
        # The simulated observatory has no dome, and does not say which filters are loaded.
        assert primary["HDRNOCHK"] <= 2
        assert [each.code for each in event.findings if "crosscheck" in each.code] == []
        assert len(document) == 206
        for name in list(document)[1:]:
            sensor = cards(document, name)
            assert (sensor["CTYPE1"], sensor["CRVAL1"]) == ("RA---TAN", primary["RA"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"MTPtg.currentTargetStatus": {"ha": 37 / 3600}}, {"hour_angle"}),
        ({"MTMount.elevation": {"actualPosition": 0.5}}, {"horizontal"}),
        ({"MTPtg.mountPosition": {"skyAngle": -90.0}}, {"rotator"}),
        ({"MTPtg.logevent_currentTarget": {"ra": 0.01}}, {"target"}),
        ({"MTCamera.logevent_endOfImageTelemetry": {"darkTime": 0.0}}, set()),
        ({"MTCamera.logevent_endOfImageTelemetry": {"timestampDateEnd": 9.0}}, {"shutter_time"}),
    ],
)
async def test_a_fault_of_the_observatory_is_noticed_and_told_everywhere(
    tmp_path: Path, changes: Mapping[str, Mapping[str, float]], failing: set[str]
) -> None:
    summit = Summit(tmp_path, changes)
    documents = await summit.play()
    for document, event in zip(documents, summit.final.values(), strict=True):
        primary = cards(document, "PRIMARY")
        named = set() if primary["HDRFAIL"] == "none" else set(primary["HDRFAIL"].split(","))
        assert named == failing
        codes = {each.code for each in event.findings if each.code.startswith("crosscheck.")}
        assert codes == {f"crosscheck.{each}" for each in failing}
        assert event.status == "complete"
    assert all(summit.counted(check) >= 2 for check in failing)
