from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemons.bus.control.memory import MemoryControlBroker
from daemons.runtime.errors import SettingsError
from daemons.runtime.runner import FaultCode, ServiceRunner
from daemons.runtime.state import Command, State
from daemons.storage.directory import DirectoryStore
from headerservice.resolve import Resolver
from headerservice.settings import HeaderServiceSettings
from headerservice.steady import SteadyClock
from tests.unit.headerservice.rig import (
    CAMERA,
    OBS_ID,
    SENSORS,
    HandClock,
    Image,
    Rig,
    cards,
    topic,
)

MakeRig = Callable[..., Rig]


def read(uri: str) -> bytes:
    return Path(uri.removeprefix("file://")).read_bytes()


async def test_an_exposure_ends_in_one_complete_header_told_on_both_buses(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(image)
        header = await rig.header_of()
    document = rig.stored()
    assert list(document) == ["PRIMARY", *(f"{name}_PRIMARY" for name in SENSORS)]
    assert cards(document, "R00SG0_PRIMARY")["LSST_NUM"] == "ITL-2"
    assert header["OBSID"] == OBS_ID
    assert (header["HDRSTAT"], header["HDRREV"], header["HDRNMISS"]) == ("complete", 1, 0)
    assert header["OBJECT"] == "GW_1"
    assert header["OBSANNOT"] == "note"
    assert header["TSTAND"] == "TMAMCv1_SUM"
    assert header["RASTART"] == pytest.approx(rig.sky.ra, abs=1e-6)
    (event,) = rig.final()
    (announced,) = rig.on_bus()
    body = read(event.uri)
    assert event.sha256 == hashlib.sha256(body).hexdigest()
    assert announced == {
        "url": event.uri,
        "generator": "MTHeaderService",
        "version": 1.0,
        "byteSize": len(body),
        "checkSum": hashlib.md5(body, usedforsecurity=False).hexdigest(),
        "mimeType": "text/yaml",
        "id": OBS_ID,
    }
    early = [each for each in rig.events if each.status == "early"]
    assert [each.revision for each in early] == [1]
    assert "DATE-END" in early[0].missing
    assert early[0].uri == early[0].url
    assert rig.counter("arriero_headers_total", status="complete") == 1
    assert rig.counter("arriero_header_latency_seconds_count") == 1


async def test_the_provenance_of_every_keyword_is_stored_beside_the_header(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        header = await rig.header_of()
        await rig.service.drain()
    (path,) = (tmp_path / "store/MTHeaderService/provenance").rglob(f"*{OBS_ID}.json")
    told = json.loads(path.read_text())
    assert told["obs_id"] == OBS_ID
    assert set(told["keywords"]) == set(header)
    assert told["keywords"]["RASTART"]["source"] == "MTPtg.mountPosition.ra"
    assert told["keywords"]["RASTART"]["method"] == "interpolated"
    assert abs(told["keywords"]["RASTART"]["age_s"]) <= 0.5
    assert told["keywords"]["SEEING"]["quality"] == "good"
    assert told["sensors"]["count"] == len(SENSORS)


async def test_an_exposure_without_end_gets_a_partial_header_and_a_revision_when_it_comes(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(deadline_margin_s=0.3)
    image = Image(OBS_ID, rig.t0, exposure_time=0.1)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.point(rig.t0 - 1, rig.t0 + 1)
        await rig.say(
            f"{CAMERA}.logevent_startIntegration", image.start_fields(timeout=0.1), at=rig.t0
        )
        await rig.readout(image)
        header = await rig.header_of()
        (event,) = rig.final()
        assert event.status == "partial"
        assert set(event.missing) == {"DATE-END", "MJD-END", "DARKTIME", "SHUTTIME"}
        assert header["HDRNMISS"] == 4
        assert header["DARKTIME"] is None
        assert header["RASTART"] is not None
        await rig.end(image)
        header = await rig.header_of(revision=2)
    assert header["HDRSTAT"] == "complete"
    assert header["DARKTIME"] == 0.5
    assert [each.revision for each in rig.final()] == [1, 2]
    assert [each["version"] for each in rig.on_bus()] == [1.0, 2.0]
    assert rig.counter("arriero_header_findings_total", code="exposure.deadline") == 1


async def test_telemetry_that_comes_late_makes_a_revision(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    late = "MTRotator.rotation"
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.start(image)
        for at in (rig.t0 - 0.5, rig.t0 + 0.5, image.readout - 0.5, image.readout + 0.5):
            telemetry = rig.sky.telemetry(at)
            del telemetry[late]
            await rig.say_all(telemetry, at=at)
        await rig.readout(image)
        await rig.end(image)
        await rig.header_of()
        assert rig.final()[0].missing == ("ROTSTART", "ROTEND")
        for at in (rig.t0 - 0.5, rig.t0 + 0.5, image.readout - 0.5, image.readout + 0.5):
            await rig.say(late, rig.sky.telemetry(at)[late], at=at)
        # How many revisions it takes depends on how the telemetry falls between them.
        await rig.until(lambda: rig.final()[-1].status == "complete")
        newest = rig.final()[-1].revision
        assert newest >= 2
        header = await rig.header_of(revision=newest)
    assert (header["HDRSTAT"], header["HDRREV"]) == ("complete", newest)
    assert header["ROTSTART"] == pytest.approx(12.0, abs=1e-6)


async def test_an_end_without_a_start_still_makes_a_header(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.point(rig.t0 - 1, image.end)
        await rig.end(image)
        header = await rig.header_of()
    assert header["HDRSTAT"] == "complete"
    assert header["EXPTIME"] == 15.0
    assert rig.counter("arriero_header_findings_total", code="exposure.no_start") == 1


async def test_repeated_events_make_no_second_header(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(image)
        await rig.header_of()
        for again in (rig.start, rig.readout, rig.end, rig.end):
            await again(image)
        second = Image("MC_O_20251121_000157", image.end + 1)
        await rig.expose(second)
        await rig.header_of(second.obs_id)
        await rig.service.drain()
    assert len(rig.final()) == 1
    assert len(rig.on_bus()) == 1
    assert rig.counter("arriero_header_findings_total", code="exposure.duplicate_event") >= 4


async def test_ten_exposures_in_a_second_each_get_their_own_header(make_rig: MakeRig) -> None:
    rig = make_rig()
    images = [
        Image(f"MC_O_20251121_{number:06d}", rig.t0 + number * 0.1, exposure_time=0.0, kind="BIAS")
        for number in range(10)
    ]
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        for image in images:
            await rig.start(image)
        for image in reversed(images):
            await rig.end(image)
        for image in images:
            await rig.readout(image)
        headers = [await rig.header_of(image.obs_id) for image in images]
    assert [header["SEQNUM"] for header in headers] == list(range(10))
    assert {header["HDRSTAT"] for header in headers} == {"complete"}
    assert all(len(rig.final(image.obs_id)) == 1 for image in images)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a b", "x" * 200])
async def test_a_name_that_cannot_be_one_is_told_and_the_next_exposure_goes_on(
    make_rig: MakeRig, name: str
) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        fields = {**image.start_fields(), "imageName": name}
        await rig.say(f"{CAMERA}.logevent_startIntegration", fields, at=rig.t0)
        await rig.expose(image)
        await rig.header_of()
    assert rig.counter("arriero_header_findings_total", code="exposure.no_name") == 1


async def test_impossible_values_are_not_written(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 5)
        bad: dict[str, dict[str, Any]] = {
            "MTPtg.logevent_currentTarget": {
                "timestamp": rig.t0 - 1,
                "targetType": 77,
                "targetName": "x",
                "ra": 6.92400871089033e-310,
                "declination": float("nan"),
                "frame": 2,
            },
            "ESS:301.pressure": {"timestamp": rig.t0 - 1, "pressureItem": [7.4] * 8},
        }
        await rig.say_all(bad, at=rig.t0 - 1)
        await rig.expose(image)
        header = await rig.header_of()
    assert (header["RA"], header["DEC"], header["TRACKSYS"], header["PRESSURE"]) == (None,) * 4
    assert header["HDRSTAT"] == "partial"
    assert rig.counter(
        "arriero_header_keyword_problems_total", keyword="TRACKSYS", quality="invalid"
    )


async def test_lost_messages_are_counted(make_rig: MakeRig, monkeypatch: Any) -> None:
    monkeypatch.setattr("headerservice.gaps.REORDER_S", 0.0)
    rig = make_rig()
    async with rig.running():
        fields = rig.sky.telemetry(rig.t0)["MTRotator.rotation"]
        for sequence in (1, 2, 5, 6, 7):
            await rig.voice.publish(topic("MTRotator.rotation"), fields, sequence=sequence)
        await rig.set_the_scene(rig.t0)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
    assert rig.counter("arriero_header_lost_messages_total", topic="MTRotator.rotation") == 2


async def test_a_service_that_starts_in_the_middle_of_an_exposure_takes_it_up(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    await rig.set_the_scene(rig.t0 - 1)
    await rig.point(rig.t0 - 1, rig.t0)
    await rig.start(image)
    async with rig.running():
        await rig.point(rig.t0 + 0.5, image.readout)
        await rig.readout(image)
        await rig.point(image.readout, image.end)
        await rig.end(image)
        header = await rig.header_of()
    assert header["HDRSTAT"] == "complete"
    assert header["RASTART"] == pytest.approx(rig.sky.ra, abs=1e-6)


async def test_an_old_exposure_kept_for_late_joiners_makes_no_header(make_rig: MakeRig) -> None:
    rig = make_rig()
    old = Image(OBS_ID, rig.t0 - 86400)
    await rig.start(old)
    await rig.end(old)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        new = Image("MC_O_20251121_000157", rig.t0)
        await rig.expose(new)
        await rig.header_of(new.obs_id)
    assert rig.final() == []


async def test_a_restart_in_the_middle_of_an_exposure_ends_in_one_whole_header(
    make_rig: MakeRig,
) -> None:
    broker = MemoryControlBroker()
    first = make_rig(control_broker=broker)
    image = Image(OBS_ID, first.t0)
    async with first.running():
        await first.set_the_scene(first.t0 - 1)
        await first.point(first.t0 - 1, first.t0 + 1)
        await first.start(image)
        await first.point(first.t0 + 1, first.t0 + 3)
        await first.integrating()
        await first.service.drain()
    # While the service is away the exposure goes on; nothing but the bus and the disk remember.
    await first.point(first.t0 + 3, image.readout)
    await first.readout(image)
    await first.point(image.readout, image.end)
    await first.end(image)
    second = make_rig(control_broker=broker)
    async with second.running():
        header = await second.header_of()
    assert header["HDRSTAT"] == "complete"
    assert header["RASTART"] == pytest.approx(first.sky.ra, abs=1e-6)
    assert len(second.final()) == 1
    assert len(second.on_bus()) == 1


async def test_a_restart_without_anything_kept_on_the_bus_has_the_values_of_the_start(
    make_rig: MakeRig,
) -> None:
    first = make_rig()
    image = Image(OBS_ID, first.t0)
    async with first.running():
        await first.set_the_scene(first.t0 - 1)
        await first.point(first.t0 - 1, first.t0 + 1)
        await first.start(image)
        await first.integrating()
        await first.service.drain()
    second = make_rig()  # a new broker, which has forgotten everything
    second.sky = first.sky
    async with second.running():
        await second.point(image.readout - 1, image.readout)
        await second.readout(image)
        await second.point(image.readout, image.end)
        await second.end(image)
        header = await second.header_of()
    assert header["HDRSTAT"] == "complete"
    assert header["RASTART"] == pytest.approx(first.sky.ra, abs=1e-4)
    assert header["FILTER"] == "i_39"
    assert len(second.stored()) == 1 + len(SENSORS)


async def test_disabled_and_enabled_again_it_goes_on_where_it_was(make_rig: MakeRig) -> None:
    rig = make_rig()
    runner = ServiceRunner(rig.service, health=rig.health)
    image = Image(OBS_ID, rig.t0)
    await runner.go_to(State.ENABLED)
    await rig.service.ready()
    listeners = [
        asyncio.create_task(rig._listen_to_bus()),
        asyncio.create_task(rig._listen_to_stream()),
    ]
    await rig.set_the_scene(rig.t0 - 1)
    await rig.point(rig.t0 - 1, rig.t0)
    await rig.start(image)
    await runner.command(Command.DISABLE)
    assert rig.service.base_url is None
    await rig.point(rig.t0, image.end)
    await rig.readout(image)
    await rig.end(image)
    await runner.command(Command.ENABLE)
    header = await rig.header_of()
    assert header["HDRSTAT"] == "complete"
    for listener in listeners:
        listener.cancel()
    assert await runner.stop()


async def test_unusable_definitions_are_a_fault_with_the_line(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    path = tmp_path / "keywords.yaml"
    path.write_text("version: 1\ninstrument: X\n")
    rig = make_rig(keywords=path)
    with pytest.raises(SettingsError, match=r"keywords\.yaml"):
        await rig.service.open()
    await rig.service.close()
    runner = ServiceRunner(make_rig(keywords=path).service)
    with pytest.raises(Exception, match="exposure"):
        await runner.command(Command.START)
    assert runner.error is not None
    assert runner.error.code == FaultCode.OPEN_FAILED


async def test_waiting_times_are_taken_over_and_the_rest_needs_a_restart(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    async with rig.running():
        new = rig.settings.model_copy(update={"grace_s": 2.5, "component": "CCHeaderService"})
        assert rig.service.reload(new) == ("component",)
        status = rig.service.status()
    assert status["instrument"] == "LSSTCam"
    assert status["url"].startswith("http://127.0.0.1:")
    assert isinstance(HeaderServiceSettings(state_directory=tmp_path), HeaderServiceSettings)


async def test_status_tells_what_is_open_and_how_old_each_topic_is(make_rig: MakeRig) -> None:
    rig = make_rig()
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.start(Image(OBS_ID, rig.t0))
        await rig.say_all(rig.sky.telemetry(rig.t0), at=rig.t0)
        await rig.integrating()
        status = rig.service.status()
    (exposure,) = status["exposures"]
    assert (exposure["obs_id"], exposure["phase"]) == (OBS_ID, "integrating")
    assert status["topic_age_s"]["MTMount.elevation"] < 60
    assert status["topic_age_s"]["TunableLaser.logevent_wavelengthChanged"] is None
    age = rig.counter("arriero_header_topic_age_seconds", topic="MTMount.elevation")
    assert age == pytest.approx(status["topic_age_s"]["MTMount.elevation"], abs=5)


async def test_a_store_that_holds_another_object_is_never_overwritten(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    store = DirectoryStore("facility", tmp_path / "store")
    key = f"MTHeaderService/header/2025/11/21/MTHeaderService_header_{OBS_ID}.yaml"
    await store.put(key, b"somebody else's")
    rig = make_rig(store=store)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.until(lambda: rig.final() and rig.on_bus())
    assert await store.get(key) == b"somebody else's"
    (event,) = rig.final()
    assert event.sha256[:12] in event.uri
    assert hashlib.sha256(read(event.uri)).hexdigest() == event.sha256


async def test_an_exposure_whose_work_fails_is_begun_anew_and_the_others_do_not_notice(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = []
    whole = Resolver.resolve

    def broken_once(self: Resolver, messages: Any, sampled: Any) -> Any:
        ended = any(each.name == "logevent_endOfImageTelemetry" for each in messages)
        if ended and len(failures) < 2:
            failures.append(True)
            raise RuntimeError("a fault of the program")
        return whole(self, messages, sampled)

    monkeypatch.setattr(Resolver, "resolve", broken_once)
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(image)
        other = Image("MC_O_20251121_000157", image.end + 1)
        await rig.expose(other)
        first = await rig.header_of()
        second = await rig.header_of(other.obs_id)
    assert (first["HDRSTAT"], second["HDRSTAT"]) == ("complete", "complete")
    assert rig.counter("arriero_header_crashes_total") == 2
    assert len(rig.final()) == len(rig.final(other.obs_id)) == 1


async def test_a_bus_that_is_closed_under_the_service_is_a_fault(make_rig: MakeRig) -> None:
    rig = make_rig()
    runner = ServiceRunner(rig.service, health=rig.health)
    await runner.go_to(State.ENABLED)
    await rig.service.ready()
    await rig.bus.close()
    await runner.wait_for(State.FAULT)
    assert runner.error is not None
    assert "closed" in runner.error.traceback
    await runner.stop()


def test_the_clock_of_deadlines_does_not_step() -> None:
    clock = HandClock(1_795_273_000.0)
    steady = SteadyClock(clock)
    before = steady.now()
    clock.at += 3600.0
    assert before <= steady.now() < before + 60.0


async def test_a_clock_that_jumps_in_the_middle_of_an_exposure_does_no_harm(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.point(rig.t0 - 1, rig.t0 + 1)
        await rig.start(image)
        # The mount's clock is an hour ahead for a while; its time of sending is not.
        for step in range(5):
            at = image.readout - 0.2 * step
            fields = rig.sky.telemetry(at)["MTMount.elevation"]
            await rig.say(
                "MTMount.elevation", {**fields, "actualPositionTimestamp": at + 3600}, at=at
            )
        await rig.point(image.readout - 0.1, image.readout + 1)
        await rig.readout(image)
        await rig.end(image)
        header = await rig.header_of()
    assert header["HDRSTAT"] == "complete"
    expected = rig.sky.elevation + rig.sky.elevation_rate * (image.readout - rig.t0)
    assert header["ELEND"] == pytest.approx(expected, abs=1e-3)
    # Told once: the clock was wrong without a break.
    assert rig.counter("arriero_header_findings_total", code="time.implausible") == 1


async def test_what_is_said_before_the_start_belongs_to_the_exposure(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 2)
        await rig.annotation(image)
        await rig.point(rig.t0 - 1, rig.t0 + 1)
        await rig.start(image)
        await rig.point(image.readout - 1, image.end)
        await rig.readout(image)
        await rig.end(image)
        header = await rig.header_of()
    assert header["OBSANNOT"] == "note"
    assert len(rig.final()) == 1


@pytest.mark.parametrize("late_data_s", [0.0, 5.0])
async def test_what_is_said_after_the_header_makes_a_revision(
    make_rig: MakeRig, late_data_s: float
) -> None:
    rig = make_rig(late_data_s=late_data_s)
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 2)
        await rig.point(rig.t0 - 1, rig.t0 + 1)
        await rig.start(image)
        await rig.point(image.readout - 1, image.end)
        await rig.readout(image)
        await rig.end(image)
        header = await rig.header_of()
        assert (header["HDRSTAT"], header["OBSANNOT"]) == ("complete", None)
        if not late_data_s:
            await rig.eventually(lambda: not rig.service.status()["exposures"])
        await rig.annotation(image)
        header = await rig.header_of(revision=2)
    assert header["OBSANNOT"] == "note"
    assert len(rig.final()) == 2


async def test_a_message_that_cannot_be_kept_does_not_stop_the_others(make_rig: MakeRig) -> None:
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 2)
        # A number that no database takes.
        await rig.voice.publish(topic("MTM2.logevent_simulationMode"), {"mode": 1}, sequence=2**70)
        await rig.expose(image)
        header = await rig.header_of()
    assert header["HDRSTAT"] == "complete"
    assert rig.counter("arriero_header_findings_total", code="message.unusable") == 1
