"""A recorded simulated night gives the same headers, however often it is replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.recording.file import RecordingWriter, read_recording
from daemons.bus.recording.record import record
from daemons.bus.recording.replay import ReplayPlan, replay
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.simulators.runner import SimulatedNight
from daemons.simulators.settings import SimulatorSettings
from daemons.storage.directory import DirectoryStore
from headerservice.assemble import Site
from headerservice.compare import compare, read_header
from headerservice.loading import definitions_path, load_definitions
from headerservice.rebuild import from_recording
from headerservice.rules import Definitions
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings
from tests.support.waiting import until

EXPOSURES = 3


async def recorded_night(folder: Path, definitions: Definitions) -> tuple[Path, list[str]]:
    """Record a simulated night; return the file and the names of its exposures."""
    settings = SimulatorSettings(
        drop_directory=folder / "drop",
        manifest=folder / "manifest.jsonl",
        exposures=EXPOSURES,
        calibrations=0,
        detectors=("R22_S11",),
        day_obs=20261103,
        amplifier_shape=(20, 70),
    )
    night = SimulatedNight(settings)
    broker = MemoryControlBroker()
    file = folder / "night.jsonl.gz"
    stop, ready = asyncio.Event(), asyncio.Event()
    recording = asyncio.create_task(
        record(
            MemoryControlBus(broker, identity="recorder"),
            definitions.event_topics
            | definitions.telemetry_topics
            | definitions.events.roles.keys(),
            RecordingWriter(file, about={}),
            clock=SystemClock(),
            ready=ready.set,
            stop=stop,
        )
    )
    await ready.wait()
    bus = MemoryControlBus(broker, identity="simulator", clock=night.clock)
    await night.run(bus)
    night.close()
    names = [exposure.obs_id for exposure in night.night.exposures]
    ends = "logevent_endOfImageTelemetry"
    await until(
        lambda: sum(each.message.topic.name == ends for each in read_recording(file)) == len(names)
    )
    stop.set()
    await recording
    return file, names


async def headers_of_replay(
    folder: Path, file: Path, names: list[str]
) -> Mapping[str, Mapping[str, Any]]:
    """Replay a recording into a new header service; return the headers that it stores."""
    broker = MemoryControlBroker(retention=500_000)
    store = DirectoryStore("facility", folder / "store")
    service = HeaderService(
        HeaderServiceSettings(
            state_directory=folder / "headers", settle_s=0.5, grace_s=5.0, revise_after_s=0.2
        ),
        host="test",
        bus=MemoryControlBus(broker, identity="MTHeaderService"),
        stream=MemoryEventStream(MemoryBroker()),
        store=store,
        health=HealthBoard(),
        registry=CollectorRegistry(),
        clock=SystemClock(),
    )
    await service.open()
    working = asyncio.create_task(service.work())
    await service.ready()
    plan = ReplayPlan(speed=None)
    report = await replay(
        file, MemoryControlBus(broker, identity="replay"), plan, clock=SystemClock()
    )
    assert report.refused == {}

    def stored(name: str) -> list[Path]:
        return sorted((folder / "store").rglob(f"MTHeaderService_header_{name}*.yaml"))

    await until(lambda: all(stored(name) for name in names), timeout_s=60)
    working.cancel()
    await asyncio.wait({working})
    await service.close()
    return {name: read_header(stored(name)[-1].read_bytes(), name) for name in names}


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_replays_of_one_recording_give_one_set_of_headers(tmp_path: Path) -> None:
    definitions = load_definitions(definitions_path("LSSTCam"), load_dictionary())
    file, names = await recorded_night(tmp_path, definitions)
    assert len(names) == EXPOSURES
    first = await headers_of_replay(tmp_path / "first", file, names)
    second = await headers_of_replay(tmp_path / "second", file, names)
    for name in names:
        assert list(compare(first[name], second[name], tolerance=0)) == [], name
        rebuilt = [
            from_recording(
                lambda: (each.message for each in read_recording(file)),
                name,
                definitions,
                site=Site("x", ""),
            ).made.stored
            for _ in range(2)
        ]
        assert rebuilt[0].body == rebuilt[1].body
        made = read_header(rebuilt[0].body, name)
        assert list(compare(first[name], made)) == [], name
