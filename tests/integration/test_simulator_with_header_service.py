"""Observatory, header service and camera together: the files say what was true."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.simulators.camera import expected_files
from daemons.simulators.night import Exposure, ImageType
from daemons.simulators.pointing import Pointing, Track
from daemons.simulators.runner import SimulatedNight
from daemons.simulators.settings import SimulatorSettings
from daemons.simulators.sky import wrap_180
from daemons.simulators.weather import Weather
from daemons.storage.directory import DirectoryStore
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings, HttpSettings
from tests.support.servers.ports import free_port
from translators.inspect import inspect_file
from translators.inspection import CardValue
from translators.translate import translate


@contextlib.asynccontextmanager
async def _header_service(
    folder: Path, broker: MemoryControlBroker, port: int
) -> AsyncIterator[None]:
    service = HeaderService(
        HeaderServiceSettings(state_directory=folder / "headers", http=HttpSettings(port=port)),
        host="test",
        bus=MemoryControlBus(broker, identity="MTHeaderService"),
        stream=MemoryEventStream(MemoryBroker()),
        store=DirectoryStore("facility", folder / "store"),
        health=HealthBoard(),
        registry=CollectorRegistry(),
        clock=SystemClock(),
    )
    await service.open()
    working = asyncio.create_task(service.work())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait([working])
        await service.close()


def _number(header: dict[str, CardValue], keyword: str) -> float:
    value = header[keyword]
    assert isinstance(value, float), keyword
    return value


def _check_pointing(header: dict[str, CardValue], here: Pointing, end: str) -> None:
    """The header has the pointing of one instant."""
    arcsec = 1 / 3600
    for keyword, true, tolerance in (
        (f"RA{end}", here.ra_deg, 2 * arcsec),
        (f"DEC{end}", here.dec_deg, 2 * arcsec),
        (f"EL{end}", here.elevation_deg, 2 * arcsec),
        (f"AZ{end}", here.azimuth_deg, 10 * arcsec),
        (f"ROT{end}", here.rotator_deg, 10 * arcsec),
        (f"HA{end}", here.hour_angle_h, arcsec),
        (f"AM{end}", here.airmass, 1e-4),
    ):
        assert abs(wrap_180(_number(header, keyword) - float(true[0]))) < tolerance, keyword


@pytest.mark.server
async def test_headers_hold_what_was_true_at_the_instant(tmp_path: Path) -> None:
    port = free_port()
    settings = SimulatorSettings(
        header_url=f"http://127.0.0.1:{port}",
        drop_directory=tmp_path / "drop",
        manifest=tmp_path / "manifest.jsonl",
        exposures=5,
        calibrations=3,
        detectors=("R22_S11",),
        day_obs=20261103,
        amplifier_shape=(20, 70),
    )
    night = SimulatedNight(settings)
    broker = MemoryControlBroker()
    bus = MemoryControlBus(broker, identity="simulator", clock=night.clock)
    async with _header_service(tmp_path, broker, port):
        summary = await night.run(bus)
    night.close()
    assert summary.over
    track, weather = Track(night.night), Weather(settings.seed)
    for exposure in night.night.exposures:
        *_, file = expected_files(exposure, night.sensors)
        found = inspect_file(settings.drop_directory / file)
        assert found.findings == ()
        assert translate(found.primary, file_name=Path(file).name).findings == ()
        header = dict(found.primary)
        assert header["HDRSTAT"] == "complete"
        _check_pointing(header, track.at(np.array([exposure.start_integration])), "START")
        _check_pointing(header, track.at(np.array([exposure.start_readout])), "END")
        _check_rest(header, exposure, weather)


def _check_rest(header: dict[str, CardValue], exposure: Exposure, weather: Weather) -> None:
    now = weather.at(exposure.start_integration)
    assert _number(header, "AIRTEMP") == pytest.approx(now.temperature_c, abs=0.02)
    assert _number(header, "PRESSURE") == pytest.approx(now.pressure_pa, abs=1.0)
    assert header["VIGN_MIN"] == header["VIGNETTE"] == ("NO" if exposure.on_sky else "FULLY")
    assert header["OBJECT"] == exposure.aim.name
    assert header["TRACKSYS"] == ("RADEC" if exposure.on_sky else "AZEL")
    assert (header["RA"] is None) == (exposure.image_type is not ImageType.OBJECT)
    assert header["SIMULATE MTMOUNT"] == 1
    assert header["ROTSTART"] is not None
