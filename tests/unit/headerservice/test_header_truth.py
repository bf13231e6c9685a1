"""How far a sampled value is from what was true at the instant, with telemetry that moves.

The way is the whole one: messages as a bus delivers them (late, out of order, twice), dated by
their own time field, kept in the memory, sampled at the instants of an exposure's events.
"""

from __future__ import annotations

import random
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.bus import ControlMessage
from daemons.bus.sal.dictionary import load_dictionary
from headerservice.loading import definitions_path, load_definitions
from headerservice.quality import Method, Quality
from headerservice.resolve import Resolution, Resolver
from headerservice.rules import Definitions
from headerservice.series import SampleStore
from tests.unit.headerservice.rig import CAMERA, OBS_ID, Image, lsstcam, message

T0 = 1_795_273_000.0
BOUND_S = 0.020
"""A value may be that of an instant so far from the one that is wanted."""


class Motion(NamedTuple):
    """A quantity that moves: evenly, and ever faster."""

    begin: float
    rate: float
    growth: float

    def at(self, time: float) -> float:
        return self.begin + self.rate * (time - T0) + self.growth * (time - T0) ** 2

    def speed(self, time: float) -> float:
        return self.rate + 2 * self.growth * (time - T0)


class Stream(NamedTuple):
    """How a topic is sent."""

    period: float
    phase: float
    delay: float


def sent(
    topic: str, fields: dict[str, Any], own: float, stream: Stream, number: int
) -> ControlMessage:
    return message(topic, fields, own + stream.delay, sequence=number)


def mount_messages(sky: Motion, stream: Stream, image: Image) -> list[ControlMessage]:
    """Return what the mount of the Simonyi telescope says around an exposure."""
    found = []
    number, at = 1, image.start - 6.0 + stream.phase * stream.period
    while at < image.end + 3.0:
        azimuth, elevation = sky.at(at) % 360.0, 20.0 + sky.at(at) / 1000.0
        stamps = {"actualPositionTimestamp": at, "timestamp": at}
        pairs = (
            ("MTMount.azimuth", {"actualPosition": azimuth, **stamps}),
            ("MTMount.elevation", {"actualPosition": elevation, **stamps}),
            (
                "MTPtg.mountPosition",
                {"timestamp": at, "ra": azimuth, "declination": -30.0, "skyAngle": azimuth},
            ),
            ("MTRotator.rotation", {"timestamp": at, "actualPosition": sky.at(at) / 100.0}),
        )
        found += [sent(name, fields, at, stream, number) for name, fields in pairs]
        number, at = number + 1, at + stream.period
    return found


def resolved(
    definitions: Definitions, telemetry: list[ControlMessage], image: Image, camera: str = CAMERA
) -> Resolution:
    store = SampleStore(definitions)
    for each in telemetry:
        assert store.insert(each) == ()
    events = [
        message(f"{camera}.logevent_startIntegration", image.start_fields(), image.start + 0.2),
        message(f"{camera}.logevent_startReadout", image.readout_fields(), image.readout + 0.1),
        message(f"{camera}.logevent_endOfImageTelemetry", image.end_fields(), image.end),
    ]
    return Resolver(definitions, store).resolve(
        MappingProxyType({each.topic: each for each in events}), {}
    )


@settings(max_examples=60, deadline=None)
@given(
    sky=st.builds(
        Motion,
        begin=st.floats(0.0, 359.0),
        rate=st.floats(-3.5, 3.5).filter(lambda rate: abs(rate) > 0.3),
        growth=st.floats(-0.001, 0.001),
    ),
    stream=st.builds(
        Stream,
        period=st.sampled_from([0.05, 0.1, 0.2, 0.5, 1.0]),
        phase=st.floats(0.0, 1.0),
        delay=st.floats(0.0, 2.0),
    ),
    exposure_time=st.floats(1.0, 60.0),
    disorder=st.randoms(use_true_random=False),
)
def test_every_moving_value_is_that_of_its_instant_within_twenty_milliseconds(
    sky: Motion, stream: Stream, exposure_time: float, disorder: random.Random
) -> None:
    image = Image(OBS_ID, T0 + 10.0, exposure_time=exposure_time)
    telemetry = mount_messages(sky, stream, image)
    telemetry += disorder.sample(telemetry, len(telemetry) // 10)
    disorder.shuffle(telemetry)
    found = resolved(lsstcam(), telemetry, image).keywords
    for keyword, instant, scale in (
        ("AZSTART", image.start, 1.0),
        ("AZEND", image.readout, 1.0),
        ("RASTART", image.start, 1.0),
        ("RAEND", image.readout, 1.0),
        ("ROTPA", image.start, 1.0),
        ("ELSTART", image.start, 1e-3),
        ("ELEND", image.readout, 1e-3),
        ("ROTSTART", image.start, 1e-2),
        ("ROTEND", image.readout, 1e-2),
    ):
        value = found[keyword]
        assert (value.quality, value.method) == (Quality.GOOD, Method.INTERPOLATED), keyword
        expected = 20.0 * (scale == 1e-3) + sky.at(instant) * scale
        error = float(value.value or 0.0) - expected
        if scale == 1.0:
            error = (error + 180.0) % 360.0 - 180.0
        speed = abs(sky.speed(instant)) * scale
        assert abs(error) <= speed * BOUND_S + 1e-9, (keyword, error / speed)


@cache
def latiss() -> Definitions:
    return load_definitions(definitions_path("LATISS"), load_dictionary())


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(-2.0, 2.0).filter(lambda rate: abs(rate) > 0.1),
    fraction=st.floats(0.0, 1.0),
    delay=st.floats(0.9, 2.0),
)
def test_values_in_arrays_are_those_of_their_instant(
    rate: float, fraction: float, delay: float
) -> None:
    image = Image("AT_O_20251121_000001", T0 + 10.0 + fraction)
    telemetry = []
    for second in range(int(image.end - T0) + 3):
        times = [T0 + second + place * 0.01 for place in range(100)]
        fields = {
            "cRioTimestamp": times[0],
            "azimuthCalculatedAngle": [(350.0 + rate * (time - T0)) % 360.0 for time in times],
            "elevationCalculatedAngle": [45.0 + rate * (time - T0) / 100 for time in times],
            "ra": [10.0] * 100,
            "declination": [-30.0] * 100,
            "skyAngle": [0.5] * 100,
        }
        telemetry.append(
            message("ATPtg.mountPositions", fields, times[0] + delay, sequence=second + 1)
        )
    found = resolved(latiss(), telemetry, image, camera="ATCamera").keywords
    for keyword, instant in (("AZSTART", image.start), ("AZEND", image.readout)):
        expected = 350.0 + rate * (instant - T0)
        error = (float(found[keyword].value or 0.0) - expected + 180.0) % 360.0 - 180.0
        assert abs(error) <= abs(rate) * BOUND_S
        assert found[keyword].age_s == pytest.approx(0.0, abs=0.011)


def test_an_event_that_is_sent_late_does_not_move_its_instant() -> None:
    image = Image(OBS_ID, T0 + 10.0)
    sky, stream = Motion(100.0, 3.0, 0.0), Stream(0.05, 0.3, 0.02)
    found = resolved(lsstcam(), mount_messages(sky, stream, image), image)
    # The events were sent 0.2 and 0.1 s after what they tell: 0.6 and 0.3 degrees of this mount.
    assert found.keywords["AZSTART"].value == pytest.approx(sky.at(image.start) % 360, abs=1e-6)
    assert found.keywords["AZEND"].value == pytest.approx(sky.at(image.readout) % 360, abs=1e-6)
    assert {each.code for each in found.findings} == {"keyword.missing"}
