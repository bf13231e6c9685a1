from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.runtime.clock import TaiSeconds, tai_to_utc
from daemons.simulators import camera_events
from daemons.simulators.camera_events import join, split
from daemons.simulators.focal_plane import sensors
from daemons.simulators.image import Image
from daemons.simulators.night import Exposure, ImageType, Night, SkyAim
from daemons.simulators.pointing import Track
from daemons.simulators.script import (
    CURRENT_TARGET,
    DIMM_MEASUREMENT,
    NEXT_VISIT,
    SIMULATION_MODES,
    TELESCOPE_VIGNETTED,
    Cue,
    Vignetted,
    script,
    sexagesimal,
    window,
)
from daemons.simulators.sky import Sky
from daemons.simulators.telemetry import (
    AZIMUTH,
    ELEVATION,
    HEXAPODS,
    MOUNT_POSITION,
    ROTATION,
    TARGET_STATUS,
    TEMPERATURE,
    Batch,
    Telemetry,
)
from daemons.simulators.weather import Weather

IMAGE_TOPICS = (
    camera_events.START_INTEGRATION,
    camera_events.START_READOUT,
    camera_events.IMAGE_READOUT_PARAMETERS,
    camera_events.END_READOUT,
    camera_events.END_OF_IMAGE_TELEMETRY,
)


@pytest.fixture(scope="module")
def cues(night: Night) -> list[Cue]:
    return script(night.exposures, sky=Sky(night.spec.start), weather=Weather(1), simulation_mode=1)


@pytest.fixture(scope="module")
def telemetry(night: Night) -> Telemetry:
    return Telemetry(Track(night), Weather(1))


def _of(cues: list[Cue], topic: Topic) -> list[Cue]:
    return [cue for cue in cues if cue.topic == topic]


@given(st.lists(st.text(), min_size=1))
def test_a_joined_list_is_read_back(entries: list[str]) -> None:
    assert split(join(entries)) == entries


def _assert_fits(topic: Topic, fields: Mapping[str, Any]) -> None:
    """The topic is known, has these fields, and arrays have their length."""
    spec = load_dictionary().get(topic)
    spec.complete(fields)
    for each in spec.fields:
        if each.count > 1 and each.name in fields:
            assert len(fields[each.name]) == each.count, each.name


def test_every_event_is_one_that_its_topic_allows(cues: list[Cue]) -> None:
    for cue in cues:
        _assert_fits(cue.topic, cue.fields)


def test_every_sample_is_one_that_its_topic_allows(night: Night, telemetry: Telemetry) -> None:
    start = night.exposures[0].start_integration
    seen = set()
    for batch in telemetry.between(start, TaiSeconds(start + 12.0)):
        for topic, fields in batch.messages:
            _assert_fits(topic, fields)
            seen.add(topic)
    assert len(seen) == 11


def test_events_are_in_the_order_of_their_instants(cues: list[Cue]) -> None:
    assert all(before.instant <= after.instant for before, after in pairwise(cues))


def test_the_events_of_an_image_come_in_the_camera_s_order(night: Night, cues: list[Cue]) -> None:
    for exposure in night.exposures:
        found = [
            cue.topic
            for cue in cues
            if cue.topic in IMAGE_TOPICS and cue.fields["imageName"] == exposure.obs_id
        ]
        assert found == list(IMAGE_TOPICS)


def test_an_event_of_an_image_is_sent_a_moment_after_its_instant(cues: list[Cue]) -> None:
    for topic, field in (
        (camera_events.START_INTEGRATION, "timestampAcquisitionStart"),
        (camera_events.START_READOUT, "timestampStartOfReadout"),
        (camera_events.END_READOUT, "timestampEndOfReadout"),
    ):
        for cue in _of(cues, topic):
            assert 0.0 < cue.instant - cue.fields[field] < 0.05


def test_the_last_event_of_an_image_tells_all_about_it(night: Night, cues: list[Cue]) -> None:
    ends = _of(cues, camera_events.END_OF_IMAGE_TELEMETRY)
    for exposure, cue in zip(night.exposures, ends, strict=True):
        image = Image.from_event(cue.fields, exposure.filter.name)
        assert image.obs_id == exposure.obs_id
        assert image.day_obs == str(exposure.day_obs)
        assert image.seq_num == exposure.seq_num
        assert image.image_type is exposure.image_type
        assert image.group_id == exposure.group_id
        assert image.reason == exposure.reason
        assert image.program == exposure.program
        assert image.begins == exposure.start_integration
        assert image.ends == exposure.start_readout
        assert image.shutter_open_s == exposure.shutter_open_s
        assert image.dark_time_s == exposure.dark_time_s
        assert image.filter == exposure.filter
        assert image.camera_code == "MC"
        assert image.controller == "O"


def test_additional_values_with_colons_are_escaped(night: Night) -> None:
    exposure = night.exposures[-1]
    fields = camera_events.start_integration(exposure)
    keys, values = split(fields["additionalKeys"]), split(fields["additionalValues"])
    assert ":" in exposure.group_id
    assert dict(zip(keys, values, strict=True))["groupId"] == exposure.group_id
    assert r"\:" in fields["additionalValues"]


def test_the_focal_plane_is_listed_whole() -> None:
    fields = camera_events.focal_plane_summary()
    names = split(fields["ccdLocation"])
    assert names == [each.bus_name for each in sensors().values()]
    assert len(names) == 205
    for field in ("ccdLSSTName", "ccdManSerNum"):
        assert len(set(split(fields[field]))) == 205
    assert len(fields["ccdType"]) == len(fields["ccdTempSetPoint"]) == 212
    assert set(split(fields["ccdManufacturer"])) == {"ITL", "E2V"}


def test_a_target_is_given_in_radians(night: Night, cues: list[Cue]) -> None:
    aims = {each.aim.name: each.aim for each in night.exposures}
    targets = _of(cues, CURRENT_TARGET)
    assert {cue.fields["targetName"] for cue in targets} == aims.keys()
    for cue in targets:
        aim = aims[cue.fields["targetName"]]
        if isinstance(aim, SkyAim):
            assert math.degrees(cue.fields["ra"]) == pytest.approx(aim.ra_deg)
            assert math.degrees(cue.fields["declination"]) == pytest.approx(aim.dec_deg)
            assert (cue.fields["targetType"], cue.fields["frame"]) == (1, 2)
        else:
            assert (cue.fields["targetType"], cue.fields["frame"]) == (2, 3)
            assert "ra" not in cue.fields


def test_the_target_is_known_before_its_exposure_begins(cues: list[Cue]) -> None:
    current = ""
    for cue in cues:
        if cue.topic == CURRENT_TARGET:
            current = cue.fields["targetName"]
        elif cue.exposure is not None:
            assert current == cue.exposure.aim.name


def test_the_filter_in_the_beam_is_that_of_the_exposure(cues: list[Cue]) -> None:
    current = ""
    for cue in cues:
        if cue.topic == camera_events.END_SET_FILTER:
            current = cue.fields["filterName"]
        elif cue.exposure is not None:
            assert current == cue.exposure.filter.name


def test_the_dome_is_open_for_the_sky_only(cues: list[Cue]) -> None:
    state = None
    for cue in cues:
        if cue.topic == TELESCOPE_VIGNETTED:
            state = cue.fields["vignetted"]
        elif cue.exposure is not None:
            assert state == (Vignetted.NO if cue.exposure.on_sky else Vignetted.FULLY)


def test_each_visit_is_announced_in_time(night: Night, cues: list[Cue]) -> None:
    announced = {cue.fields["groupId"]: cue for cue in _of(cues, NEXT_VISIT)}
    science = [each for each in night.exposures if each.image_type is ImageType.OBJECT]
    assert announced.keys() == {each.group_id for each in science}
    for each in science:
        cue = announced[each.group_id]
        assert isinstance(each.aim, SkyAim)
        assert each.start_integration - cue.instant >= 20.0
        assert cue.fields["position"] == [each.aim.ra_deg, each.aim.dec_deg]
        assert cue.fields["cameraAngle"] == each.aim.sky_angle_deg
        assert cue.fields["filters"] == each.filter.name
        assert cue.fields["instrument"] == "LSSTCam"
        assert cue.fields["nimages"] == 1


def test_the_seeing_expires_in_utc(cues: list[Cue]) -> None:
    measured = _of(cues, DIMM_MEASUREMENT)
    assert len(measured) > 5
    for cue in measured:
        utc = tai_to_utc(cue.instant)
        assert cue.fields["timestamp"] == utc
        assert cue.fields["expiresAt"] == utc + 300.0
    assert measured[1].instant - measured[0].instant == 60.0


def test_components_say_that_they_are_simulated(cues: list[Cue]) -> None:
    said = {cue.topic: cue.fields["mode"] for cue in cues if cue.topic in SIMULATION_MODES}
    assert said == dict.fromkeys(SIMULATION_MODES, 1)


def test_a_run_in_the_middle_of_a_night_opens_with_what_was_said_before(night: Night) -> None:
    late = night.exposures[10:]
    cues = script(late, sky=Sky(night.spec.start), weather=Weather(1), simulation_mode=0)
    first = next(place for place, cue in enumerate(cues) if cue.exposure is not None)
    said = {cue.topic for cue in cues[:first]}
    assert {*SIMULATION_MODES, camera_events.FOCAL_PLANE_SUMMARY} <= said
    assert {camera_events.END_SET_FILTER, CURRENT_TARGET, TELESCOPE_VIGNETTED, NEXT_VISIT} <= said
    assert cues[0].instant == window(late)[0]


def _batches(telemetry: Telemetry, begins: float, ends: float) -> list[Batch]:
    return list(telemetry.between(TaiSeconds(begins), TaiSeconds(ends)))


def test_topics_come_at_their_rates(night: Night, telemetry: Telemetry) -> None:
    start = math.ceil(night.exposures[4].start_integration / 5) * 5.0
    counts: dict[Topic, int] = {}
    for batch in _batches(telemetry, start, start + 10.0):
        for topic, _ in batch.messages:
            counts[topic] = counts.get(topic, 0) + 1
    assert counts[ELEVATION] == counts[AZIMUTH] == counts[ROTATION] == 200
    assert counts[MOUNT_POSITION] == counts[TARGET_STATUS] == 50
    assert counts[HEXAPODS[0]] == counts[HEXAPODS[1]] == 20
    assert counts[TEMPERATURE] == 2


def test_the_scale_multiplies_the_rates_but_not_the_weather(night: Night) -> None:
    start = math.ceil(night.exposures[4].start_integration / 5) * 5.0
    slow = Telemetry(Track(night), Weather(1), rate_scale=0.1)
    batches = _batches(slow, start, start + 10.0)
    topics = [topic for batch in batches for topic, _ in batch.messages]
    assert topics.count(ELEVATION) == 20
    assert topics.count(MOUNT_POSITION) == 5
    assert topics.count(TEMPERATURE) == 2


def test_samples_are_in_order_and_inside_the_interval(night: Night, telemetry: Telemetry) -> None:
    begins, ends = window(night.exposures[:6])
    instants = [batch.instant for batch in telemetry.between(begins, ends)]
    assert instants == sorted(instants)
    assert begins <= instants[0]
    assert instants[-1] < ends


def test_samples_do_not_depend_on_where_one_begins(night: Night, telemetry: Telemetry) -> None:
    start = night.exposures[5].start_integration
    whole = _batches(telemetry, start, start + 40.0)
    parts = _batches(telemetry, start, start + 17.3) + _batches(
        telemetry, start + 17.3, start + 40.0
    )
    assert [batch.instant for batch in whole] == [batch.instant for batch in parts]
    for one, other in zip(whole, parts, strict=True):
        for (topic, first), (same, second) in zip(one.messages, other.messages, strict=True):
            assert topic == same
            _assert_same(first, second)


def _assert_same(first: Any, second: Any) -> None:
    for name, value in first.items():
        if isinstance(value, float | list):
            np.testing.assert_array_equal(value, second[name])
        else:
            assert value == second[name]


def test_payload_times_are_the_instant_of_the_sample(night: Night, telemetry: Telemetry) -> None:
    start = night.exposures[4].start_integration
    for batch in _batches(telemetry, start, start + 6.0):
        for topic, fields in batch.messages:
            if topic not in HEXAPODS:
                assert fields["timestamp"] == batch.instant
            if topic in (ELEVATION, AZIMUTH):
                assert fields["actualPositionTimestamp"] == batch.instant


def test_unused_channels_of_a_weather_sensor_are_not_a_number(
    night: Night, telemetry: Telemetry
) -> None:
    start = night.exposures[4].start_integration
    fields = next(
        fields
        for batch in _batches(telemetry, start, start + 6.0)
        for topic, fields in batch.messages
        if topic == TEMPERATURE
    )
    assert fields["numChannels"] == 1
    assert math.isfinite(fields["temperatureItem"][0])
    assert all(math.isnan(value) for value in fields["temperatureItem"][1:])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "00:00:00.000"), (-33.25, "-33:15:00.000"), (23.9999999, "24:00:00.000")],
)
def test_sexagesimal_text(value: float, text: str) -> None:
    assert sexagesimal(value) == text


def test_weather_is_plausible_all_year_round() -> None:
    for seed in range(20):
        weather = Weather(seed)
        for hour in range(24):
            now = weather.at(1.79e9 + 3600.0 * hour)
            assert 0.0 < now.temperature_c < 20.0
            assert 74_000.0 < now.pressure_pa < 74_600.0
            assert 5.0 < now.humidity_percent < 60.0
            assert now.wind_speed_m_s > 0.0
            assert 0.4 < now.seeing_arcsec < 1.5


def test_another_exposure_is_another_image(night: Night) -> None:
    tags = {each.image_tag for each in night.exposures}
    assert len(tags) == len(night.exposures)


def _first(night: Night, kind: ImageType) -> Exposure:
    return next(each for each in night.exposures if each.image_type is kind)


@pytest.mark.parametrize("kind", list(ImageType))
def test_shutter_time_is_measured_only_when_it_opens(night: Night, kind: ImageType) -> None:
    exposure = _first(night, kind)
    fields = camera_events.end_of_image_telemetry(exposure)
    opened = kind in {ImageType.FLAT, ImageType.OBJECT}
    assert (fields["measuredShutterOpenTime"] > 0) == opened
