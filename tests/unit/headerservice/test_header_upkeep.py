"""Telemetry that stops, leap seconds that run out, and values that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import Topic
from daemons.runtime.clock import leap_seconds_expire
from headerservice.keyword_findings import keyword_findings
from headerservice.leap import WARN_DAYS, leap_second_finding
from headerservice.quality import Method, Quality, Resolved
from headerservice.silence import PAUSE_S, SHORTEST_S, SilenceWatch
from tests.unit.headerservice.rig import OBS_ID, Image, Rig, lsstcam, message, topic
from translators.findings import Severity

MakeRig = Callable[..., Rig]
MOUNT = topic("MTMount.elevation")
WEATHER = topic("ESS:301.temperature")


def look(watch: SilenceWatch, now: float, **heard: float) -> list[tuple[str, str]]:
    """Return code and topic of what changed; every topic but those given is heard now."""
    times = {topic(name.replace("__", ".")): at for name, at in heard.items()}
    found = watch.look(lsstcam(), lambda each: times.get(each, now), now)
    return [(each.code, each.sentence.split(" ", 1)[0]) for each in found]


def test_a_stream_that_stops_is_told_once_and_when_it_is_back() -> None:
    watch = SilenceWatch()
    assert look(watch, 1000.0) == []
    assert look(watch, 1000.0 + SHORTEST_S, MTMount__elevation=1000.0) == []
    stopped = ("telemetry.silent", "MTMount.elevation")
    assert look(watch, 1011.0, MTMount__elevation=1000.0) == [stopped]
    assert look(watch, 1020.0, MTMount__elevation=1000.0) == []
    assert watch.silent == (MOUNT,)
    assert look(watch, 1030.0, MTMount__elevation=1029.0) == [
        ("telemetry.heard_again", "MTMount.elevation")
    ]
    assert watch.silent == ()


def test_slow_telemetry_has_the_time_that_its_samples_may_be_old() -> None:
    watch = SilenceWatch()
    for now in range(0, 600, 10):
        heard = watch.look(lsstcam(), lambda each: 0.0 if each == WEATHER else None, 1000.0 + now)
        assert not [each for each in heard if "ESS:301.temperature" in each.sentence]
    found = watch.look(lsstcam(), lambda each: 0.0 if each == WEATHER else None, 1601.0)
    assert any("ESS:301.temperature has stopped" in each.sentence for each in found)


def test_what_was_never_heard_is_silent_since_the_watch_began() -> None:
    watch = SilenceWatch()

    def nothing(_: Topic) -> None:
        return None

    assert watch.look(lsstcam(), nothing, 5000.0) == ()
    found = watch.look(lsstcam(), nothing, 5011.0)
    assert any("MTMount.elevation was never heard, for 11 s" in each.sentence for each in found)


def test_a_time_in_which_nobody_looked_is_no_silence() -> None:
    watch = SilenceWatch()
    assert look(watch, 1000.0) == []
    later = 1000.0 + PAUSE_S + 3600.0
    assert look(watch, later, MTMount__elevation=1000.0) == []
    assert look(watch, later + 11.0, MTMount__elevation=1000.0) != []


async def test_the_service_tells_of_silence_and_of_the_leap_seconds(make_rig: MakeRig) -> None:
    rig = make_rig()
    async with rig.running():
        await rig.eventually(lambda: "leap_seconds" in rig.health.dependencies)
        known = rig.health.dependencies["leap_seconds"]
        assert rig.service.status()["silent_topics"] == []
    assert known.ok
    assert f"{leap_seconds_expire():%Y-%m-%d}" in known.reason


@given(days=st.floats(-1000, 1000))
def test_leap_seconds_that_run_out_are_told_a_month_before(days: float) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    found = leap_second_finding(now, now + timedelta(days=days))
    left = timedelta(days=days) / timedelta(days=1)
    if left > WARN_DAYS:
        assert found is None
    else:
        assert found is not None
        wanted = Severity.WARNING if left > 0 else Severity.ERROR
        assert found.severity is wanted
        assert "astropy-iers-data" in found.sentence


def test_the_installed_table_of_leap_seconds_says_how_long_it_holds() -> None:
    until = leap_seconds_expire()
    assert leap_second_finding(until - timedelta(days=WARN_DAYS + 1)) is None
    assert leap_second_finding(until + timedelta(seconds=1)) is not None


def value(quality: Quality, reason: str = "why", source: str = "MTMount.elevation.x") -> Resolved:
    return Resolved(value=None, quality=quality, method=Method.STEP, reason=reason, source=source)


def test_values_that_cannot_be_used_are_told_by_keyword_and_streams_by_topic() -> None:
    found = {
        "A": value(Quality.INVALID, "x is a str, not a float"),
        "B": value(Quality.OUT_OF_RANGE),
        "C": value(Quality.STALE, "the nearest sample is 9.0 s away, 3 s are allowed"),
        "D": value(Quality.STALE),
        "E": value(Quality.MISSING, "nothing was heard of ESS:301.pressure", "ESS:301.pressure.y"),
        "F": value(Quality.MISSING, source="TunableLaser.logevent_w.wavelength"),
        "G": value(Quality.GOOD),
        "H": value(Quality.DEFAULT),
        "I": value(Quality.NOT_APPLICABLE),
        "J": value(Quality.BRIDGED),
    }
    told = {each.code: each.sentence for each in keyword_findings(found, {"E", "G"})}
    assert set(told) == {
        *("keyword.invalid", "keyword.out_of_range", "keyword.missing"),
        *("telemetry.stopped", "telemetry.gap"),
    }
    assert told["keyword.invalid"].startswith("A has no value: MTMount.elevation.x: x is a str")
    assert told["telemetry.stopped"].startswith("C, D of MTMount.elevation has no value")
    assert told["keyword.missing"].startswith("E of ESS:301.pressure has no value: nothing")


BAD_TELEMETRY = {
    "a stream that stops": (None, "telemetry.stopped", "stale"),
    "another type": ({"actualPosition": "north"}, "keyword.invalid", "invalid"),
    "a field that is gone": ({"actualPosition": ...}, "schema.changed", "missing"),
    "a number that is none": ({"actualPosition": float("nan")}, "keyword.missing", "missing"),
    "no possible value": ({"actualPosition": 4711.0}, "keyword.out_of_range", "out_of_range"),
    "uninitialised memory": ({"actualPosition": 6.9e-310}, "keyword.invalid", "invalid"),
    "no time": ({"actualPositionTimestamp": "now"}, None, "good"),
    "a clock that jumped": ({"actualPositionTimestamp": 86400.0}, "time.implausible", "good"),
}


@pytest.mark.parametrize("case", BAD_TELEMETRY)
async def test_bad_telemetry_in_the_night_is_a_finding_and_the_header_goes_out(
    make_rig: MakeRig, case: str
) -> None:
    change, code, quality = BAD_TELEMETRY[case]
    rig = make_rig()
    image = Image(OBS_ID, rig.t0)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        at, number = rig.t0 - 20.0, 0
        while at < image.readout + 1:
            telemetry = rig.sky.telemetry(at)
            fields = telemetry.pop("MTMount.elevation")
            await rig.say_all(telemetry, at=at)
            late = at > rig.t0 + 5.0
            number += 1
            if not late or change is not None:
                whole = {**fields, **(change or {})} if late else fields
                sent = {name: each for name, each in whole.items() if each is not ...}
                # Past the bus, which sends nothing that its dictionary does not allow.
                rig.control_broker.append(message("MTMount.elevation", sent, at, sequence=number))
            at += 0.5
        await rig.start(image)
        await rig.readout(image)
        await rig.end(image)
        header = await rig.header_of()
        said = rig.service.status()
    assert said["exposures"] == [] or said["exposures"][0]["obs_id"] == OBS_ID
    assert header["ELSTART"] == pytest.approx(rig.sky.elevation, abs=1e-3)
    if quality == "good":
        assert header["HDRSTAT"] == "complete"
        assert header["ELEND"] is not None
    else:
        assert header["HDRSTAT"] == "partial"
        assert header["ELEND"] is None
        counted = {"keyword": "ELEND", "quality": quality}
        assert rig.counter("arriero_header_keyword_problems_total", **counted) >= 1
    if code is not None:
        assert rig.counter("arriero_header_findings_total", code=code) >= 1
