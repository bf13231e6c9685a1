"""Observatory and camera together, on the control bus in memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemons.bus import ControlMessage, Topic
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.simulators.camera import Camera, CameraOptions, expected_files
from daemons.simulators.camera_events import (
    END_OF_IMAGE_TELEMETRY,
    END_SET_FILTER,
    START_INTEGRATION,
)
from daemons.simulators.clock import Pace, SimulatedClock
from daemons.simulators.drop import Drop
from daemons.simulators.errors import HeaderDocumentError
from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.focal_plane import choose_sensors
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.manifest import Manifest
from daemons.simulators.night import ImageType, Night, NightSpec, night_start, plan_night
from daemons.simulators.observatory import Observatory
from daemons.simulators.runner import SimulatedNight
from daemons.simulators.script import NEXT_VISIT
from daemons.simulators.settings import SimulatorSettings
from daemons.simulators.telemetry import AZIMUTH, ELEVATION, MOUNT_POSITION
from translators.inspect import inspect_file
from translators.sidecar import header_from_sidecar

DAY = 20261103


class Headers:
    """A header service: knows a header for every exposure but some."""

    def __init__(self, *, lost: Collection[str] = (), broken: Collection[str] = ()) -> None:
        self.lost = set(lost)
        self.broken = set(broken)
        self.asked: list[str] = []

    async def fetch(self, obs_id: str) -> HeaderDocument | None:
        self.asked.append(obs_id)
        await asyncio.sleep(0)
        if obs_id in self.broken:
            raise HeaderDocumentError("the header is no YAML")
        if obs_id in self.lost:
            return None
        return HeaderDocument(
            {"OBJECT": HeaderCard(f"target of {obs_id}", "target"), "RA": HeaderCard(10.5, "")}
        )


def _settings(folder: Path, **changes: Any) -> SimulatorSettings:
    values: dict[str, Any] = {
        "drop_directory": folder / "drop",
        "manifest": folder / "manifest.jsonl",
        "exposures": 6,
        "detectors": ("R22_S11", "R01_S00"),
        "day_obs": DAY,
        "amplifier_shape": (20, 70),
        "telemetry_rate_scale": 0.1,
    }
    return SimulatorSettings(**(values | changes))


async def _collect(
    broker: MemoryControlBroker, topics: Iterable[Topic], into: list[ControlMessage]
) -> None:
    bus = MemoryControlBus(broker, identity="listener")
    async with bus.subscribe(list(topics)) as subscription:
        async for delivery in subscription:
            into.append(delivery.message)  # noqa: PERF401 - it never ends, and is read meanwhile


async def _run(
    settings: SimulatorSettings,
    headers: Headers,
    *,
    heard: list[ControlMessage] | None = None,
    topics: Iterable[Topic] = (),
) -> SimulatedNight:
    night = SimulatedNight(settings)
    broker = MemoryControlBroker(retention=1_000_000)
    listener = asyncio.create_task(_collect(broker, topics, [] if heard is None else heard))
    await asyncio.sleep(0)
    bus = MemoryControlBus(broker, identity="simulator", clock=night.clock)
    summary = await night.run(bus, headers)
    await asyncio.sleep(0)
    listener.cancel()
    night.close()
    assert summary.over == (not summary.incomplete)
    return night


def _listed(settings: SimulatorSettings) -> dict[str, str]:
    return {file: entry.sha256 for file, entry in Manifest.read(settings.manifest).items()}


def _there(settings: SimulatorSettings) -> dict[str, str]:
    root = settings.drop_directory
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_a_night_writes_every_file_of_every_exposure(tmp_path: Path) -> None:
    settings = _settings(tmp_path, guiders=True, guider_stamps=3)
    night = await _run(settings, Headers())
    expected = {
        file
        for exposure in night.night.exposures
        for file in expected_files(exposure, night.sensors)
    }
    assert _there(settings).keys() == expected
    assert _there(settings) == _listed(settings)
    assert night.over
    guided = [file for file in expected if file.endswith("_guider.fits")]
    science = [e for e in night.night.exposures if e.image_type is ImageType.OBJECT]
    assert len(guided) == 8 * len(science)
    for file in expected:
        if file.endswith(".fits"):
            found = inspect_file(settings.drop_directory / file)
            assert found.findings == ()
            assert found.primary["OBJECT"] == f"target of {found.primary['OBSID']}"


async def test_the_camera_knows_the_filter_of_each_exposure(tmp_path: Path) -> None:
    settings = _settings(tmp_path, exposures=16, detectors=1, calibrations=1)
    night = await _run(settings, Headers())
    assert len({each.filter for each in night.night.exposures}) > 1
    for exposure in night.night.exposures:
        sidecar = next(
            file for file in expected_files(exposure, night.sensors) if file.endswith("S00.json")
        )
        header = header_from_sidecar((settings.drop_directory / sidecar).read_bytes())
        assert header["FILTER"] == exposure.filter.name
        assert header["FILTSLOT"] == exposure.filter.slot


async def test_a_header_that_is_lost_or_broken_gives_files_all_the_same(tmp_path: Path) -> None:
    lost, broken = f"MC_O_{DAY}_000002", f"MC_O_{DAY}_000004"
    settings = _settings(tmp_path)
    night = await _run(settings, Headers(lost=[lost], broken=[broken]))
    assert night.over
    for exposure in night.night.exposures:
        for file in expected_files(exposure, night.sensors):
            if file.endswith(".fits"):
                primary = inspect_file(settings.drop_directory / file).primary
                without = exposure.obs_id in (lost, broken)
                assert (primary["OBJECT"] is None) == without
                assert primary["OBSID"] == exposure.obs_id


async def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (_settings(tmp_path / name) for name in ("first", "second"))
    await _run(first, Headers())
    await _run(second, Headers())
    assert _there(first) == _there(second)
    third = _settings(tmp_path / "third", seed=2)
    await _run(third, Headers())
    assert _there(first) != _there(third)


async def test_a_sidecar_is_there_before_its_file(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    await _run(settings, Headers())
    order = list(Manifest.read(settings.manifest))
    for place, file in enumerate(order):
        if file.endswith(".fits"):
            assert order.index(file.replace(".fits", ".json")) < place


async def test_the_bus_is_stamped_with_the_time_of_the_night(tmp_path: Path) -> None:
    heard: list[ControlMessage] = []
    topics = (AZIMUTH, MOUNT_POSITION, START_INTEGRATION)
    night = await _run(_settings(tmp_path), Headers(), heard=heard, topics=topics)
    assert len(heard) > 100
    for message in heard:
        if message.topic == START_INTEGRATION:
            instant = message.fields["timestampAcquisitionStart"]
            assert 0.0 < message.sent - instant < 0.01
        else:
            assert message.sent == message.fields["timestamp"]
    begun = [m.fields["imageName"] for m in heard if m.topic == START_INTEGRATION]
    assert begun == [exposure.obs_id for exposure in night.night.exposures]


async def test_telemetry_surrounds_every_exposure(tmp_path: Path) -> None:
    heard: list[ControlMessage] = []
    night = await _run(_settings(tmp_path), Headers(), heard=heard, topics=(ELEVATION,))
    times = [message.fields["actualPositionTimestamp"] for message in heard]
    for exposure in night.night.exposures:
        for instant in (exposure.start_integration, exposure.start_readout):
            assert any(instant - 0.6 <= time <= instant for time in times)
            assert any(instant <= time <= instant + 0.6 for time in times)
    assert max(later - earlier for earlier, later in pairwise(times)) <= 0.5001


async def test_the_fast_pace_waits_for_the_camera(tmp_path: Path) -> None:
    heard: list[ControlMessage] = []
    settings = _settings(tmp_path, calibrations=0)
    ended: dict[str, int] = {}

    class Counting(Headers):
        async def fetch(self, obs_id: str) -> HeaderDocument | None:
            await asyncio.sleep(0.05)
            ended[obs_id] = sum(message.topic == START_INTEGRATION for message in heard)
            return await super().fetch(obs_id)

    await _run(settings, Counting(), heard=heard, topics=(START_INTEGRATION,))
    assert list(ended.values()) == [1, 2, 3, 4, 5, 6]


async def test_visits_are_announced_ahead_on_the_bus(tmp_path: Path) -> None:
    heard: list[ControlMessage] = []
    topics = (NEXT_VISIT, START_INTEGRATION)
    night = await _run(_settings(tmp_path), Headers(), heard=heard, topics=topics)
    announced = {m.fields["groupId"]: m.sent for m in heard if m.topic == NEXT_VISIT}
    begun = {m.fields["imageName"]: m.sent for m in heard if m.topic == START_INTEGRATION}
    for exposure in night.night.exposures:
        if exposure.next_visit is not None:
            assert begun[exposure.obs_id] - announced[exposure.group_id] >= 20.0


async def test_a_bus_that_goes_away_delays_the_night(tmp_path: Path) -> None:
    night = SimulatedNight(_settings(tmp_path))
    broker = MemoryControlBroker(retention=1_000_000)
    bus = MemoryControlBus(broker, identity="simulator", clock=night.clock)
    running = asyncio.create_task(night.run(bus, Headers()))
    for _ in range(400):  # the memory bus lets others run at each message
        await asyncio.sleep(0)
    assert broker.end > 50
    broker.stop()
    stood = broker.end
    await asyncio.sleep(0.05)
    assert broker.end == stood
    broker.start()
    assert (await running).over
    night.close()


async def test_metrics_count_what_was_done(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    settings = _settings(tmp_path)
    night = SimulatedNight(settings, registry=registry)
    bus = MemoryControlBus(MemoryControlBroker(), identity="simulator", clock=night.clock)
    await night.run(bus, Headers(lost=[f"MC_O_{DAY}_000001"]))
    night.close()
    assert registry.get_sample_value("arriero_simulator_files_total", {"kind": "fits"}) == 12
    assert registry.get_sample_value("arriero_simulator_files_total", {"kind": "json"}) == 18
    found = registry.get_sample_value("arriero_simulator_headers_total", {"outcome": "found"})
    missing = registry.get_sample_value("arriero_simulator_headers_total", {"outcome": "missing"})
    assert (found, missing) == (5, 1)


async def test_one_sensor_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    obs_id = f"MC_O_{DAY}_000003"
    # A folder stands where the file should be.
    blocked = settings.drop_directory / f"{DAY}/{obs_id}/.{obs_id}_R22_S11.fits.writing"
    blocked.mkdir(parents=True)
    night = SimulatedNight(settings.model_copy(update={"resume": True}))
    bus = MemoryControlBus(MemoryControlBroker(), identity="simulator", clock=night.clock)
    summary = await night.run(bus, Headers())
    night.close()
    assert summary.incomplete == (obs_id,)
    assert f"{DAY}/{obs_id}/{obs_id}_R01_S00.fits" in _listed(settings)
    blocked.rmdir()
    again = await _run(settings, Headers())
    assert again.over


async def test_a_half_written_exposure_is_completed_and_nothing_is_rewritten(
    tmp_path: Path,
) -> None:
    whole, torn = _settings(tmp_path / "whole"), _settings(tmp_path / "torn")
    await _run(whole, Headers())
    await _run(torn, Headers())
    lines = torn.manifest.read_bytes().splitlines(keepends=True)
    gone = [line for line in lines if b"000005_R01_S00" in line]
    assert len(gone) == 2
    torn.manifest.write_bytes(b"".join(line for line in lines if line not in gone))
    for line in gone:
        (torn.drop_directory / json.loads(line)["file"]).unlink()
    kept = {file: (torn.drop_directory / file).stat().st_mtime_ns for file in _there(torn)}
    headers = Headers()
    await _run(torn, headers)
    assert headers.asked == [f"MC_O_{DAY}_000005"]
    assert _there(torn) == _there(whole)
    assert all(
        (torn.drop_directory / file).stat().st_mtime_ns == time for file, time in kept.items()
    )


async def test_a_sidecar_follows_the_header_until_its_file_is_there(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    await _run(settings, Headers(lost=[f"MC_O_{DAY}_000006"]))
    file = f"{DAY}/MC_O_{DAY}_000006/MC_O_{DAY}_000006_R22_S11.fits"
    lines = settings.manifest.read_bytes().splitlines(keepends=True)
    settings.manifest.write_bytes(b"".join(each for each in lines if file.encode() not in each))
    (settings.drop_directory / file).unlink()
    await _run(settings, Headers())
    sidecar = settings.drop_directory / file.replace(".fits", ".json")
    primary = inspect_file(settings.drop_directory / file).primary
    assert primary["OBJECT"] is not None
    assert header_from_sidecar(sidecar.read_bytes()) == primary


class _Site:
    """Camera and observatory on buses of their own, as separate processes have them."""

    def __init__(self, folder: Path, night: Night) -> None:
        self.night = night
        self.broker = MemoryControlBroker(retention=1_000_000)
        self.manifest = Manifest(folder / "manifest.jsonl")
        self.drop = Drop(folder / "drop", self.manifest)
        self.sensors = choose_sensors(["R22_S11"], guiders=False)

    def camera(self, durable: str | None = None) -> Camera:
        return Camera(
            MemoryControlBus(self.broker, identity="camera"),
            Headers(),
            self.drop,
            self.sensors,
            bodies=BodyLibrary((20, 70)),
            options=CameraOptions(durable=durable),
        )

    def observatory(self) -> Observatory:
        clock = SimulatedClock(self.night.spec.start, Pace.FAST)
        bus = MemoryControlBus(self.broker, identity="observatory", clock=clock)
        return Observatory(bus, self.night, clock=clock, rate_scale=0.05)

    def complete(self) -> list[bool]:
        return [
            all(self.drop.has(file) for file in expected_files(exposure, self.sensors))
            for exposure in self.night.exposures
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterable[_Site]:
    site = _Site(tmp_path, plan_night(NightSpec(DAY, 4, seed=1, start=night_start(DAY))))
    yield site
    site.manifest.close()


async def test_the_clock_skips_what_was_taken_before(site: _Site) -> None:
    first, _, _, last = site.night.exposures
    heard: list[ControlMessage] = []
    listener = asyncio.create_task(
        _collect(site.broker, (START_INTEGRATION, ELEVATION, END_SET_FILTER), heard)
    )
    await asyncio.sleep(0)
    await site.observatory().run([first, last])
    await asyncio.sleep(0)
    listener.cancel()
    begun = [m.fields["imageName"] for m in heard if m.topic == START_INTEGRATION]
    assert begun == [first.obs_id, last.obs_id]
    silent = (first.end_of_image_telemetry + 6.0, last.start_integration - 26.0)
    assert silent[0] < silent[1]
    assert not [message for message in heard if silent[0] < message.sent < silent[1]]
    assert sum(message.topic == END_SET_FILTER for message in heard) == 2


async def test_a_durable_camera_writes_what_ended_while_it_was_away(site: _Site) -> None:
    first = asyncio.create_task(site.camera("camera").run())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    await site.observatory().run()
    assert site.complete() == [False] * 4
    camera = site.camera("camera")
    second = asyncio.create_task(camera.run())
    for exposure in site.night.exposures:
        await camera.finished(exposure.obs_id)
    second.cancel()
    await asyncio.wait([second])
    assert site.complete() == [True] * 4


async def test_a_camera_leaves_the_images_of_another_night_alone(site: _Site) -> None:
    await site.observatory().run()
    camera = site.camera()
    running = asyncio.create_task(camera.run())
    await camera.ready()
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait([running])
    assert site.complete() == [False] * 4


async def test_an_event_that_makes_no_sense_is_passed_over(site: _Site) -> None:
    bus = MemoryControlBus(site.broker, identity="observatory")
    camera = site.camera()
    running = asyncio.create_task(camera.run())
    await camera.ready()
    await bus.publish(END_SET_FILTER, {"filterName": "g_6"})
    await bus.publish(END_OF_IMAGE_TELEMETRY, {"imageName": "nonsense"})
    await site.observatory().run()
    for exposure in site.night.exposures:
        await camera.finished(exposure.obs_id)
    running.cancel()
    await asyncio.wait([running])
    assert site.complete() == [True] * 4


@pytest.mark.parametrize("mode", ["in_place_slow", "fpack_in_place"])
async def test_other_ways_of_writing_end_with_the_same_files(tmp_path: Path, mode: str) -> None:
    plain, other = (
        _settings(tmp_path / "plain", exposures=2),
        _settings(tmp_path / "other", exposures=2, write_mode=mode, write_pause_s=0.01),
    )
    await _run(plain, Headers())
    await _run(other, Headers())
    assert _there(plain) == _there(other)
    assert _listed(other) == _there(other)


async def test_the_real_pace_takes_its_time() -> None:
    night = plan_night(
        NightSpec(DAY, 1, seed=1, start=night_start(DAY), calibrations=1, exposure_time_s=0.1)
    )
    clock = SimulatedClock(night.exposures[0].start_integration, Pace.REAL)
    broker = MemoryControlBroker()
    bus = MemoryControlBus(broker, identity="observatory", clock=clock)
    before = asyncio.get_running_loop().time()
    running = asyncio.create_task(Observatory(bus, night, clock=clock, rate_scale=0.1).run())
    listener = MemoryControlBus(broker, identity="listener")
    async with listener.subscribe((END_OF_IMAGE_TELEMETRY,)) as subscription:
        await anext(aiter(subscription))
    assert asyncio.get_running_loop().time() - before >= 2.3
    assert clock.tai() >= night.exposures[0].end_of_image_telemetry
    running.cancel()
    await asyncio.wait([running])
