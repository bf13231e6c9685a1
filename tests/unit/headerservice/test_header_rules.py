"""Each rule of the definitions' language, from the text that a person writes to the value."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from daemons.bus import ControlMessage
from daemons.bus.sal.dictionary import load_dictionary
from headerservice.loading import load_definitions
from headerservice.quality import Quality, Resolved
from headerservice.resolve import Resolver
from headerservice.series import SampleStore
from tests.unit.headerservice.rig import CAMERA, OBS_ID, Image, message

T0 = 1_795_273_000.0
IMAGE = Image(OBS_ID, T0 + 10.25, exposure_time=20.0)
"""From 10.25 s to 30.55 s."""


def telemetry() -> list[ControlMessage]:
    """Return a minute of telemetry: values that say their own time."""
    found = []
    for second in range(61):
        at = T0 + second
        axis = {"actualPosition": float(second), "actualPositionTimestamp": at, "timestamp": at}
        wrapped = (330.0 + second) % 360.0
        found += [
            message("MTMount.elevation", axis, at + 0.1, sequence=second + 1),
            message(
                "MTMount.azimuth",
                {**axis, "actualPosition": wrapped},
                at + 0.1,
                sequence=second + 1,
            ),
            message(
                "MTPtg.currentTargetStatus",
                {
                    "timestamp": at,
                    "ha": 1.0,
                    "airmass": 1.2 if second < 20 else 0.0,
                    "parAngle": 5.0,
                },
                at,
                sequence=second + 1,
            ),
            message(
                "MTHexapod:1.application",
                {"demand": [0.0, 1.0, 2500.0 + second, 0.0, 0.0, 0.0]},
                at,
                sequence=second + 1,
            ),
        ]
    found += [
        message(
            "ESS:301.dewPoint", {"timestamp": T0 + 5, "dewPointItem": -3.456}, T0 + 5, sequence=1
        ),
        message("MTDomeTrajectory.logevent_telescopeVignetted", {"vignetted": 2}, T0, sequence=1),
        message(
            "MTDomeTrajectory.logevent_telescopeVignetted", {"vignetted": 1}, T0 + 20, sequence=2
        ),
        message("MTPtg.logevent_currentTarget", {"timestamp": T0, "frame": 9}, T0, sequence=1),
    ]
    return found


def value(tmp_path: Path, entry: str) -> Resolved:
    """Return what a keyword that is written so gives for the exposure."""
    path = tmp_path / "keywords.yaml"
    path.write_text(
        "extends: LSSTCam\n"
        "topics: {ESS.dewPoint: {time: timestamp, max_age_s: 60}}\n"
        "primary:\n"
        "  - section: Of the test\n"
        "    keywords:\n"
        f"      - {{keyword: TESTED, comment: tested, {entry}}}\n"
    )
    definitions = load_definitions(path, load_dictionary())
    store = SampleStore(definitions)
    for each in telemetry():
        store.insert(each)
    events = [
        message(f"{CAMERA}.logevent_startIntegration", IMAGE.start_fields(), IMAGE.start),
        message(f"{CAMERA}.logevent_startReadout", IMAGE.readout_fields(), IMAGE.readout),
        message(f"{CAMERA}.logevent_endOfImageTelemetry", IMAGE.end_fields(), IMAGE.end),
    ]
    known = MappingProxyType({each.topic: each for each in events})
    return Resolver(definitions, store).resolve(known, {}).keywords["TESTED"]


EL = "from: MTMount.elevation.actualPosition, unit: deg"
AZ = "from: MTMount.azimuth.actualPosition, unit: deg, interpolate: angular"
STATUS = "from: MTPtg.currentTargetStatus.parAngle, unit: deg"
START = "camera.logevent_startIntegration"
GOOD: dict[str, tuple[str, Any]] = {
    "start, on a line": (
        f"type: float, {EL}, at: start_of_integration, interpolate: linear",
        10.25,
    ),
    "readout, on a line": (f"type: float, {EL}, at: start_of_readout, interpolate: linear", 30.55),
    "end, on a line": (f"type: float, {EL}, at: end, interpolate: linear", 30.5),
    "the last one before": (f"type: float, {EL}, at: start_of_readout", 30.0),
    "an angle that comes round": (f"type: float, {AZ}, at: start_of_readout", 0.55),
    "latest": (f"type: float, {EL}, at: over_exposure, pick: latest", 30.0),
    "least": (f"type: float, {EL}, at: over_exposure, pick: min, interpolate: linear", 10.25),
    "greatest": (f"type: float, {EL}, at: over_exposure, pick: max, interpolate: linear", 30.55),
    "mean": (f"type: float, {EL}, at: over_exposure, pick: mean, interpolate: linear", 20.4),
    "mean of an angle": (f"type: float, {AZ}, at: over_exposure, pick: mean", 350.4),
    "another unit": (
        (
            "type: float, from: MTMount.elevation.actualPosition, unit: {from: deg, to: arcmin}, "
            "at: start_of_readout"
        ),
        1800.0,
    ),
    "an element of an array": (
        (
            "type: float, from: 'MTHexapod:1.application.demand', item: 2, "
            "unit: {from: um, to: mm}, at: start_of_readout, decimals: 2"
        ),
        2.53,
    ),
    "an entry of a keyed list": (
        (
            f"type: str, from: {START}.additionalValues, keys: additionalKeys, key: reason, "
            "at: start_of_integration"
        ),
        "x_gap",
    ),
    "name of a member": (
        (
            "type: str, from: MTDomeTrajectory.logevent_telescopeVignetted.vignetted, "
            "enum: MTDomeTrajectory.TelescopeVignetted, at: start_of_integration"
        ),
        "PARTIALLY",
    ),
    "the least member": (
        (
            "type: str, from: MTDomeTrajectory.logevent_telescopeVignetted.vignetted, "
            "enum: MTDomeTrajectory.TelescopeVignetted, at: over_exposure, pick: min"
        ),
        "NO",
    ),
    "a date": (
        (
            f"type: str, from: {START}.timestampAcquisitionStart, at: start_of_integration, "
            "form: iso_tai"
        ),
        "2026-11-21T14:56:50.250",
    ),
    "an MJD": (
        (
            f"type: float, from: {START}.timestampAcquisitionStart, at: start_of_integration, "
            "form: mjd_tai, unit: d"
        ),
        40587 + (T0 + 10.25) / 86400,
    ),
    "decimals": (
        "type: float, from: 'ESS:301.dewPoint.dewPointItem', unit: deg_C, at: end, decimals: 1",
        -3.5,
    ),
    "of any age": (
        "type: float, from: 'ESS:301.dewPoint.dewPointItem', unit: deg_C, at: end, max_age_s: 30",
        -3.456,
    ),
    "the first source with a value": (
        (
            "type: float, unit: deg_C, at: end, "
            "from: ['ESS:302.dewPoint.dewPointItem', 'ESS:301.dewPoint.dewPointItem']"
        ),
        -3.456,
    ),
    "only when it means something": (
        f"type: float, {STATUS}, at: start_of_integration, valid_when: {{field: airmass, min: 1}}",
        5.0,
    ),
    "only with one of some values": (
        f"type: float, {STATUS}, at: start_of_integration, valid_when: {{field: ha, in: [1.0]}}",
        5.0,
    ),
    "dated by another field": (
        f"type: float, {EL}, time: timestamp, at: start_of_integration, interpolate: linear",
        10.25,
    ),
    "an event of the exposure": (
        f"type: float, from: {START}.exposureTime, unit: s, at: end",
        20.0,
    ),
}
BAD: dict[str, tuple[str, Quality]] = {
    "too old": (
        "type: float, from: 'ESS:301.dewPoint.dewPointItem', unit: deg_C, at: end, max_age_s: 20",
        Quality.STALE,
    ),
    "out of range": (
        f"type: float, {EL}, at: start_of_readout, range: [0, 20]",
        Quality.OUT_OF_RANGE,
    ),
    "not filled in": (f"type: float, {EL}, at: end, unset: [30.0]", Quality.DEFAULT),
    "not filled in together": (
        f"type: float, {EL}, at: end, unset_when: {{actualPosition: 30.0}}",
        Quality.DEFAULT,
    ),
    "an empty text": (
        "type: str, from: camera.logevent_endOfImageTelemetry.emulatedImage, at: end",
        Quality.DEFAULT,
    ),
    "means nothing": (
        f"type: float, {STATUS}, at: start_of_readout, valid_when: {{field: airmass, min: 1}}",
        Quality.NOT_APPLICABLE,
    ),
    "no member": (
        (
            "type: str, from: MTPtg.logevent_currentTarget.frame, enum: MTPtg.CoordFrame, "
            "at: start_of_integration"
        ),
        Quality.INVALID,
    ),
    "no entry": (
        f"type: str, from: {START}.additionalValues, keys: additionalKeys, key: nothing, at: end",
        Quality.MISSING,
    ),
    "never heard": (
        "type: float, from: 'ESS:302.dewPoint.dewPointItem', unit: deg_C, at: end",
        Quality.MISSING,
    ),
}


@pytest.mark.parametrize("rule", GOOD)
def test_a_rule_gives_the_value(tmp_path: Path, rule: str) -> None:
    entry, expected = GOOD[rule]
    found = value(tmp_path, entry)
    assert found.quality is Quality.GOOD, found.reason
    if isinstance(expected, float):
        assert found.value == pytest.approx(expected, abs=1e-6)
    else:
        assert found.value == expected


@pytest.mark.parametrize("rule", BAD)
def test_a_rule_keeps_out_what_is_no_value(tmp_path: Path, rule: str) -> None:
    entry, quality = BAD[rule]
    found = value(tmp_path, entry)
    assert (found.value, found.quality) == (None, quality)
    assert found.reason
