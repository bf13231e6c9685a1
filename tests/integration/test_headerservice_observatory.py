"""The header service and the simulated observatory: whole nights, true values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import HeaderAvailable
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard
from daemons.simulators.clock import Pace, SimulatedClock
from daemons.simulators.header_source import HttpHeaderSource
from daemons.simulators.night import Exposure, Night, NightSpec, plan_night
from daemons.simulators.observatory import Observatory
from daemons.simulators.pointing import Track
from daemons.storage.directory import DirectoryStore
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings
from translators.translate import translate

SETTLED_S = 30.0
SIDEREAL_DEG_PER_S = 15.0 / 3600


class SimulatedSummit:
    """A header service, and an observatory that plays a night to it."""

    def __init__(self, folder: Path, night: Night) -> None:
        self.folder = folder
        self.night = night
        self.events: dict[str, list[HeaderAvailable]] = {}
        self.news = asyncio.Event()
        broker, stream_broker = MemoryControlBroker(retention=200_000), MemoryBroker()
        clock = SystemClock()
        self.listener = MemoryEventStream(stream_broker)
        self.service = HeaderService(
            HeaderServiceSettings(state_directory=folder / "state", grace_s=5.0),
            host="summit-1",
            bus=MemoryControlBus(broker, identity="MTHeaderService", clock=clock),
            stream=MemoryEventStream(stream_broker),
            store=DirectoryStore("facility", folder / "store"),
            health=HealthBoard(),
            registry=CollectorRegistry(),
            clock=clock,
        )
        simulated = SimulatedClock(TaiSeconds(night.spec.start), Pace.FAST)
        self.observatory = Observatory(
            MemoryControlBus(broker, identity="Observatory", clock=simulated),
            night,
            clock=simulated,
            admission=self.admit,
        )

    async def admit(self, exposure: Exposure) -> None:
        """Let the header of the exposure before be made first, as in real time."""
        before = [each for each in self.night.exposures if each.seq_num < exposure.seq_num]
        await self.final(*(each.obs_id for each in before[-1:]))

    async def final(self, *obs_ids: str) -> None:
        async with asyncio.timeout(SETTLED_S):
            while not all(self.finals(obs_id) for obs_id in obs_ids):
                self.news.clear()
                await self.news.wait()

    def finals(self, obs_id: str) -> list[HeaderAvailable]:
        return [each for each in self.events.get(obs_id, []) if each.status != "early"]

    async def listen(self) -> None:
        async with self.listener.subscribe("test") as subscription:
            async for delivery in subscription:
                event = delivery.message.read(HeaderAvailable)
                self.events.setdefault(event.obs_id, []).append(event)
                self.news.set()
                await delivery.ack()

    async def play(self) -> dict[str, dict[str, Any]]:
        """Play the night; return keyword and value of each exposure, as the camera fetches them."""
        await self.service.open()
        tasks = [
            asyncio.create_task(self.service.work()),
            asyncio.create_task(self.listen()),
        ]
        try:
            await self.service.ready()
            await self.observatory.run()
            await self.final(*(each.obs_id for each in self.night.exposures))
            headers = {}
            async with HttpHeaderSource(str(self.service.base_url)) as source:
                for exposure in self.night.exposures:
                    document = await source.fetch(exposure.obs_id)
                    assert document is not None
                    assert len(document.sensors) == 205
                    headers[exposure.obs_id] = {
                        keyword: card.value for keyword, card in document.of("R22S11").items()
                    }
            return headers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.service.close()


@pytest.fixture
def summit(tmp_path: Path) -> Callable[..., SimulatedSummit]:
    def make(**spec: Any) -> SimulatedSummit:
        start = TaiSeconds(float(SystemClock().tai()))
        return SimulatedSummit(tmp_path, plan_night(NightSpec(start=start, **spec)))

    return make


@pytest.mark.slow
async def test_a_simulated_night_ends_in_one_complete_header_for_every_exposure(
    summit: Callable[..., SimulatedSummit],
) -> None:
    rig = summit(day_obs=20251121, exposures=6, seed=7)
    headers = await rig.play()
    assert {obs_id: [each.status for each in rig.finals(obs_id)] for obs_id in headers} == {
        each.obs_id: ["complete"] for each in rig.night.exposures
    }
    on_sky = [each for each in rig.night.exposures if each.on_sky]
    assert on_sky
    for exposure in on_sky:
        header = headers[exposure.obs_id]
        assert header["SEQNUM"] == exposure.seq_num
        assert header["GROUPID"] == exposure.group_id
        assert header["FILTER"] == exposure.filter.name
        assert header["SHUTTIME"] == pytest.approx(exposure.shutter_open_s)
        translation = translate(header, file_name=f"{exposure.obs_id}_R22_S11.fits")
        assert translation.findings == ()
        assert translation.identity.detector_name == "R22_S11"
        assert translation.identity.obs_id == exposure.obs_id
        check_pointing(rig.night, header, exposure.start_integration, "START")
        check_pointing(rig.night, header, exposure.start_readout, "END")


def check_pointing(night: Night, header: dict[str, Any], instant: float, suffix: str) -> None:
    """Compare what a header says with where the simulated telescope was: within 20 ms."""
    track, at = Track(night), np.array([instant])
    true, rates = track.at(at), track.rates(at)
    for keyword, value, rate in (
        ("AZ", true.azimuth_deg, rates[0]),
        ("EL", true.elevation_deg, rates[1]),
        ("ROT", true.rotator_deg, rates[2]),
        ("RA", true.ra_deg, 0.0),
        ("DEC", true.dec_deg, 0.0),
        ("HA", 15.0 * true.hour_angle_h, 0.0),
    ):
        said = header[f"{keyword}{suffix}"] * (15.0 if keyword == "HA" else 1.0)
        away = (said - float(value[0]) + 180.0) % 360.0 - 180.0
        limit = max(abs(float(np.ravel(rate)[0])), SIDEREAL_DEG_PER_S) * 0.020
        assert abs(away) <= limit, (keyword + suffix, away, limit)
