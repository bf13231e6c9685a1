from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import ControlMessage, Topic
from daemons.runtime.clock import UtcSeconds
from headerservice import exposure as life
from headerservice.assemble import Site, assemble
from headerservice.exposure import Status
from headerservice.quality import Quality
from headerservice.resolve import Resolution, Resolver
from headerservice.rules import Definitions
from headerservice.series import SampleStore
from tests.unit.headerservice.rig import (
    OBS_ID,
    SENSORS,
    Image,
    Sky,
    lsstcam,
    message,
    state_events,
    topic,
)

T0 = 1_795_273_000.0
IMAGE = Image(OBS_ID, T0)
START, READOUT, END = (
    f"MTCamera.logevent_{name}"
    for name in ("startIntegration", "startReadout", "endOfImageTelemetry")
)


class Scene:
    """What was heard."""

    def __init__(self) -> None:
        self.samples = SampleStore(lsstcam())
        self.messages: dict[Topic, ControlMessage] = {}
        self.sequence = 0

    def say(self, name: str, fields: Mapping[str, Any], at: float) -> None:
        self.sequence += 1
        said = message(name, fields, at, sequence=self.sequence)
        self.samples.insert(said)
        if said.topic in lsstcam().events.roles:
            self.messages[said.topic] = said

    def resolve(self, sampled: Mapping[str, Any] = MappingProxyType({})) -> Resolution:
        return Resolver(lsstcam(), self.samples).resolve(self.messages, sampled)


def whole_scene() -> Scene:
    """Return an exposure of which everything was heard."""
    scene = Scene()
    sky = Sky(T0)
    for name, fields in {**state_events(T0 - 100), **sky.slow(T0 - 10)}.items():
        scene.say(name, fields, T0 - 10 if "logevent" not in name else T0 - 100)
    for name, fields in sky.slow(T0 - 0.4).items():
        scene.say(name, fields, T0 - 0.4)
    for step in range(-4, 40):
        at = T0 + step * 0.5
        for name, fields in sky.telemetry(at).items():
            scene.say(name, fields, at)
    scene.say(START, IMAGE.start_fields(), T0)
    scene.say(READOUT, IMAGE.readout_fields(), IMAGE.readout)
    scene.say(END, IMAGE.end_fields(), IMAGE.end)
    return scene


def test_every_keyword_of_a_whole_exposure_has_its_value() -> None:
    resolution = whole_scene().resolve()
    sky = Sky(T0)
    value = {name: each.value for name, each in resolution.keywords.items()}
    assert resolution.missing == ()
    assert resolution.settled
    assert value["OBSID"] == OBS_ID
    assert value["GROUPID"] == "2025-11-21T23:59:01.000"
    assert (value["IMGTYPE"], resolution.image_type) == ("OBJECT", "OBJECT")
    assert value["RA"] == pytest.approx(150.0)
    assert value["DEC"] == pytest.approx(-30.0)
    assert value["TRACKSYS"], value["RADESYS"] == ("RADEC", "ICRS")
    assert value["FOCUSZ"] == pytest.approx(-0.65)
    assert value["RASTART"] == pytest.approx(sky.ra, abs=1e-9)
    readout = IMAGE.readout - T0
    assert value["RAEND"] == pytest.approx(sky.ra + sky.ra_rate * readout, abs=1e-9)
    assert value["ELEND"] == pytest.approx(sky.elevation + sky.elevation_rate * readout, abs=1e-9)
    azimuth = (sky.azimuth + sky.azimuth_rate * readout) % 360
    assert value["AZEND"] == pytest.approx(azimuth, abs=1e-9)
    assert value["HAEND"] == pytest.approx(-1.0 + readout / 3600, abs=1e-9)
    assert value["DATE-OBS"] == value["DATE-BEG"]
    assert value["MJD-BEG"] == pytest.approx(40587 + (T0 + 0.1) / 86400, abs=1e-9)
    assert (value["VIGNETTE"], value["VIGN_MIN"]) == ("NO", "NO")
    assert value["AIRTEMP"] == 8.25


def test_sensors_have_their_own_header_and_size() -> None:
    table = whole_scene().resolve().sensors
    assert table is not None
    assert table.names == SENSORS
    values = [{card.keyword: card.value for card in hdu.cards} for hdu in table.hdus]
    assert [hdu.name for hdu in table.hdus] == [f"{name}_PRIMARY" for name in SENSORS]
    assert [each["DETSIZE"] for each in values] == ["[1:4096,1:4004]"] + ["[1:4072,1:4000]"] * 2
    assert (values[1]["RAFTBAY"], values[1]["CCDSLOT"], values[1]["CCD_TYPE"]) == ("R00", "SG0", 1)
    assert table.problems == ()


def test_sensors_with_short_lists_are_named_and_the_others_are_whole() -> None:
    scene = whole_scene()
    fields = state_events(T0)["MTCamera.logevent_focalPlaneSummaryInfo"]
    fields |= {"raftBay": "R22:R00", "ccdManufacturer": "E2V:ACME:ITL"}
    scene.say("MTCamera.logevent_focalPlaneSummaryInfo", fields, T0 - 1)
    resolution = scene.resolve()
    assert resolution.missing == ("RAFTBAY",)
    assert resolution.sensors is not None
    problems = {each.keyword: each for each in resolution.sensors.problems}
    assert problems["RAFTBAY"].sensors == ("R44SW1",)
    assert problems["DETSIZE"].sensors == ("R00SG0",)
    assert "ACME" in problems["DETSIZE"].reason


def test_an_unfilled_target_and_an_idle_pointing_are_not_written() -> None:
    # A dark of 2025 had RA of an old target, hour angle 0 and airmass 0 while nothing was tracked.
    scene = whole_scene()
    idle = {"timestamp": T0, "ha": 0.0, "airmass": 0.0}
    for at in (T0, T0 + 0.2, IMAGE.readout, IMAGE.readout + 0.1):
        scene.say("MTPtg.currentTargetStatus", {**idle, "timestamp": at}, at)
    scene.say("MTPtg.logevent_currentTarget", {"timestamp": T0 - 1, "targetName": ""}, T0 - 1)
    resolution = scene.resolve()
    quality = {name: each.quality for name, each in resolution.keywords.items()}
    assert quality["HASTART"] is Quality.NOT_APPLICABLE
    assert quality["AMEND"] is Quality.NOT_APPLICABLE
    assert quality["OBJECT"] is Quality.DEFAULT
    assert quality["RA"] is Quality.MISSING
    assert {"AMSTART", "OBJECT", "RA", "TRACKSYS"} <= set(resolution.missing)


def test_what_a_dark_does_not_need_is_not_missing() -> None:
    scene = Scene()
    dark = Image(OBS_ID, T0, kind="DARK")
    for name, fields in state_events(T0 - 1).items():
        if "focalPlane" in name:
            scene.say(name, fields, T0 - 1)
    scene.say(START, dark.start_fields(), T0)
    scene.say(READOUT, dark.readout_fields(), dark.readout)
    scene.say(END, dark.end_fields(), dark.end)
    assert scene.resolve().missing == ()


def test_an_end_alone_still_gives_what_it_carries() -> None:
    scene = whole_scene()
    del scene.messages[topic(START)]
    del scene.messages[topic(READOUT)]
    resolution = scene.resolve()
    assert resolution.missing == ()
    assert resolution.keywords["OBSID"].source == f"{END}.imageName"
    assert resolution.instants["start_of_integration"] == T0
    assert resolution.instants["start_of_readout"] == pytest.approx(IMAGE.readout - 0.05)


def test_a_camera_clock_that_is_wrong_does_not_move_the_instants() -> None:
    scene = whole_scene()
    scene.say(START, {**IMAGE.start_fields(), "timestampAcquisitionStart": T0 + 3600}, T0)
    resolution = scene.resolve()
    assert resolution.instants["start_of_integration"] == T0
    assert [each.code for each in resolution.findings] == ["time.implausible"]
    assert resolution.keywords["RASTART"].value == pytest.approx(150.0, abs=1e-9)


def test_values_sampled_in_time_outlive_the_samples() -> None:
    scene = whole_scene()
    resolver = Resolver(lsstcam(), scene.samples)
    before = resolver.resolve(scene.messages, {})
    sampled = resolver.sampled(before)
    assert "RASTART" in sampled
    assert "OBSID" not in sampled
    forgotten = Scene()
    forgotten.messages = scene.messages
    after = forgotten.resolve(sampled)
    assert after.keywords["RASTART"] == before.keywords["RASTART"]
    assert after.keywords["VIGN_MIN"] == before.keywords["VIGN_MIN"]


def test_late_samples_make_a_better_resolution() -> None:
    scene = Scene()
    for name, fields in state_events(T0 - 1).items():
        scene.say(name, fields, T0 - 1)
    scene.say(START, IMAGE.start_fields(), T0)
    scene.say(READOUT, IMAGE.readout_fields(), IMAGE.readout)
    scene.say(END, IMAGE.end_fields(), IMAGE.end)
    before = scene.resolve()
    assert "ROTSTART" in before.missing
    assert topic("MTRotator.rotation") in before.waits_for
    scene.say("MTRotator.rotation", {"timestamp": T0, "actualPosition": 1.0}, T0)
    assert scene.resolve().better_than(before)
    assert not before.better_than(scene.resolve())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(data=st.data())
def test_no_payload_whatever_keeps_a_header_from_being_made(data: st.DataObject) -> None:
    definitions = lsstcam()
    scene = Scene()
    for name in sorted(definitions.needed):
        names = sorted(definitions.needed[name])
        fields = {each: data.draw(JUNK) for each in data.draw(st.sets(st.sampled_from(names)))}
        scene.say(str(name), fields, T0)
    exposure = life.opened(OBS_ID, now=0.0)
    header = assemble(
        exposure,
        scene.resolve(),
        definitions=definitions,
        site=Site("1.0", ""),
        revision=1,
        status=Status.PARTIAL,
        now=UtcSeconds(T0),
    )
    values = {card.keyword: card.value for card in header.hdus[0].cards}
    assert values["HDRNMISS"] == len(header.missing)
    assert header.day_obs == 20251121


def test_the_day_is_the_cameras_else_the_names_else_the_clocks(definitions: Definitions) -> None:
    def day(obs_id: str, **fields: Any) -> int:
        scene = Scene()
        scene.say(START, {"timestampAcquisitionStart": T0, **fields}, T0)
        exposure = life.opened(obs_id, now=0.0)
        exposure = life.heard(
            exposure,
            scene.messages[topic(START)],
            plan=definitions.events,
            timing=life.Timing(
                deadline_margin_s=1, settle_s=1, grace_s=1, revise_after_s=1, late_data_s=1
            ),
            now=0.0,
        ).exposure
        header = assemble(
            exposure,
            scene.resolve(),
            definitions=definitions,
            site=Site("1.0", ""),
            revision=1,
            status=Status.PARTIAL,
            now=UtcSeconds(T0),
        )
        return header.day_obs

    assert day("MC_O_20251121_000156", imageDate="20251122") == 20251122
    assert day("MC_O_20251121_000156", imageDate="2025-11-22") == 20251121
    assert day("test-image", imageDate="99999999") == 20261121
