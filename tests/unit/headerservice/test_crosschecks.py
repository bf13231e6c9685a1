"""Whether values that cannot be true together are noticed, and nothing passes for want of data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headerservice.crosschecks import CheckReport, Outcome, Verdict, cross_check
from headerservice.crosschecks_data import CrossChecks, inputs_of
from headerservice.crosschecks_sky import Site, airmass, horizontal, wrap
from headerservice.quality import Method, Quality, Resolved, fixed, missing
from headerservice.reading import iso_text
from headerservice.rules import Definitions, Value
from tests.unit.headerservice.rig import lsstcam

START = 1_763_697_637.0
END = START + 15.3
INSTANTS = {"start_of_integration": START, "start_of_readout": END, "end": END}
SITE = Site(-70.749417, -30.244639, 2663.0)
RA, DEC, ROTATOR = 53.0, -28.1, 12.0
MJD_1970 = 40587.0


def pointing(at: float, end: str) -> dict[str, Value]:
    """Return what the mount says when it points at RA and DEC."""
    here = horizontal(RA, DEC, at, SITE)
    return {
        f"RA{end}": RA,
        f"DEC{end}": DEC,
        f"HA{end}": here.hour_angle_h,
        f"AM{end}": airmass(here.elevation_deg),
        f"EL{end}": here.elevation_deg,
        f"AZ{end}": wrap(here.azimuth_deg),
    }


def true_values() -> dict[str, Value]:
    parallactic = horizontal(RA, DEC, START, SITE).parallactic_deg
    return {
        **pointing(START, "START"),
        **pointing(END, "END"),
        **{f"DATE-{name}": iso_text(at) for name, at in DATES.items()},
        **{f"MJD-{name}": MJD_1970 + at / 86400.0 for name, at in DATES.items()},
        "OBS-LONG": SITE.longitude_deg,
        "OBS-LAT": SITE.latitude_deg,
        "OBS-ELEV": SITE.height_m,
        "OBSGEO-X": 1818938.94,
        "OBSGEO-Y": -5208470.95,
        "OBSGEO-Z": -3195172.08,
        "IMGTYPE": "OBJECT",
        "TRACKSYS": "RADEC",
        "RA": RA,
        "DEC": DEC,
        "SHUTTIME": 15.0,
        "ROTSTART": ROTATOR,
        "ROTPA": (parallactic - ROTATOR - 90.0) % 360.0,
        "FILTER": "i_39",
        "FILTBAND": "i",
        "LOADED": "u_24:g_6:r_57:i_39:z_20",
        "VIGNETTE": "NO",
        "VIGN_MIN": "NO",
        "DOMESH1": 100.0,
        "DOMESH2": 99.5,
        "DOMEAZ": horizontal(RA, DEC, START, SITE).azimuth_deg,
    }


DATES = {"OBS": START, "BEG": START, "END": END}


def checks() -> CrossChecks:
    found = lsstcam().crosschecks
    assert found is not None
    return found


def report(values: Mapping[str, Value | Resolved | None], **instants: float) -> CheckReport:
    resolved = {
        name: value
        if isinstance(value, Resolved)
        else (missing("nothing was heard") if value is None else fixed(value))
        for name, value in values.items()
    }
    return cross_check(checks(), resolved, {**INSTANTS, **instants}, instrument="LSSTCam")


def of_check(found: CheckReport, name: str) -> list[Outcome]:
    return [each for each in found.outcomes if each.check == name]


def test_values_that_are_true_together_pass_every_check() -> None:
    found = report(true_values())
    assert [each for each in found.outcomes if each.verdict is not Verdict.PASSED] == []
    assert found.findings == ()
    assert {each.check for each in found.outcomes} == {
        *("geocentre", "dates", "shutter_time", "hour_angle", "horizontal", "airmass"),
        *("target", "rotator", "filter", "filter_loaded", "vignetting"),
    }


WRONG: dict[str, tuple[dict[str, Value], set[str]]] = {
    "hour angle 37 s off": ({"HASTART": true_values()["HASTART"] + 37 / 3600}, {"hour_angle"}),  # type: ignore[operator]
    "hour angle in degrees": ({"HAEND": true_values()["HAEND"] * 15}, {"hour_angle"}),  # type: ignore[operator]
    "hour angle never filled in": ({"HASTART": 0.0}, {"hour_angle"}),
    "elevation of another place": ({"ELSTART": 12.0}, {"horizontal", "airmass"}),
    "azimuth from south": ({"AZEND": true_values()["AZEND"] + 180}, {"horizontal"}),  # type: ignore[operator]
    "airmass as zenith distance": ({"AMSTART": 35.0}, {"airmass"}),
    "date a year off": ({"DATE-END": "2024-11-21T04:00:00.000"}, {"dates", "shutter_time"}),
    "UTC beside TAI": ({"MJD-OBS": true_values()["MJD-OBS"] - 37 / 86400}, {"dates"}),  # type: ignore[operator]
    "filter that there is not": ({"FILTER": "q_1"}, {"filter", "filter_loaded"}),
    "band of another filter": ({"FILTBAND": "y"}, {"filter"}),
    "filter that is not loaded": ({"FILTER": "y_10", "FILTBAND": "y"}, {"filter_loaded"}),
    "target of the exposure before": ({"RA": 127.5, "DEC": -45.0}, {"target"}),
    "right ascension in radians": ({"RA": RA / 57.3}, {"target"}),
    "shutter open for longer than the exposure": ({"SHUTTIME": 30.0}, {"shutter_time"}),
    "shutter that stayed shut": ({"SHUTTIME": 0.0}, {"shutter_time"}),
    "dome shut, said to be open": ({"DOMESH1": 0.0, "DOMESH2": 0.1}, {"vignetting"}),
    "dome open, said to be shut": (
        {"VIGN_MIN": "FULLY", "VIGNETTE": "FULLY"},
        {"vignetting"},
    ),
    "position angle 90 deg off": ({"ROTPA": true_values()["ROTPA"] + 90}, {"rotator"}),  # type: ignore[operator]
    "position angle 180 deg off": ({"ROTPA": true_values()["ROTPA"] - 180}, {"rotator"}),  # type: ignore[operator]
    "site on the northern hemisphere": ({"OBSGEO-Z": 3195172.08}, {"geocentre"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_was_wrong_in_real_headers_is_noticed(name: str) -> None:
    changes, failing = WRONG[name]
    found = report({**true_values(), **changes})
    assert set(found.failed) == failing
    assert {each.code for each in found.findings} == {f"crosscheck.{each}" for each in failing}
    assert all(len(each.sentence) > 20 for each in found.findings)


def test_a_position_angle_may_come_round_and_dome_and_mount_may_count_turns() -> None:
    values = true_values()
    values["ROTPA"] = float(values["ROTPA"]) - 360.0
    values["DOMEAZ"] = float(values["DOMEAZ"]) + 360.0
    assert report(values).failed == ()


@pytest.mark.parametrize("place", range(len(checks().checks)))
def test_a_check_with_a_missing_input_is_not_made_and_says_why(place: int) -> None:
    check = checks().checks[place]
    for keyword in (*inputs_of(check), *check.when):
        for absent in (
            missing("nothing was heard"),
            Resolved(value=None, quality=Quality.STALE, method=Method.HELD, reason="too old"),
        ):
            outcome = report({**true_values(), keyword: absent}).outcomes[place]
            assert outcome.verdict is Verdict.NOT_CHECKED
            assert keyword in outcome.sentence
            assert absent.reason in outcome.sentence
        without = {name: value for name, value in true_values().items() if name != keyword}
        assert report(without).outcomes[place].verdict is Verdict.NOT_CHECKED


def test_without_an_instant_or_a_site_the_sky_is_not_checked() -> None:
    unknown = cross_check(
        checks(),
        {name: fixed(value) for name, value in true_values().items()},
        {},
        instrument="LSSTCam",
    )
    named = {each.check for each in unknown.with_verdict(Verdict.NOT_CHECKED)}
    assert named == {"hour_angle", "horizontal", "rotator"}
    before_1972 = report(true_values(), start_of_integration=1000.0)
    assert {each.verdict for each in of_check(before_1972, "rotator")} == {Verdict.NOT_CHECKED}
    nowhere = report({**true_values(), "OBS-LAT": None})
    assert {"geocentre", "hour_angle", "horizontal", "rotator"} == {
        each.check for each in nowhere.with_verdict(Verdict.NOT_CHECKED)
    }


def test_what_means_nothing_for_an_exposure_is_told_apart_from_what_was_not_checked() -> None:
    parked = report({**true_values(), "TRACKSYS": "AZEL", "IMGTYPE": "BIAS", "RA": None})
    named = {each.check for each in parked.with_verdict(Verdict.NOT_APPLICABLE)}
    assert named == {*("shutter_time", "hour_angle", "horizontal", "airmass", "target", "rotator")}
    half_open = report({**true_values(), "DOMESH1": 50.0})
    assert of_check(half_open, "vignetting")[0].verdict is Verdict.NOT_APPLICABLE
    turned = report({**true_values(), "DOMEAZ": 300.0, "VIGN_MIN": "FULLY", "VIGNETTE": "FULLY"})
    assert of_check(turned, "vignetting")[0].verdict is Verdict.NOT_APPLICABLE
    low = report({**true_values(), "ELSTART": 5.0, "AMSTART": 30.0})
    assert of_check(low, "airmass")[0].verdict is Verdict.NOT_APPLICABLE


def test_a_shut_dome_that_is_said_to_be_shut_passes() -> None:
    shut = {"DOMESH1": 0.0, "DOMESH2": 0.0, "VIGN_MIN": "FULLY", "VIGNETTE": "FULLY"}
    assert of_check(report({**true_values(), **shut}), "vignetting")[0].verdict is Verdict.PASSED


def test_an_instrument_without_checks_has_none() -> None:
    assert cross_check(None, {}, {}, instrument="LSSTCam") == CheckReport()
    nobody = cross_check(
        checks(), {"FILTER": fixed("x"), "FILTBAND": fixed("y")}, {}, instrument="Nowhere"
    )
    (outcome,) = of_check(nobody, "filter")
    assert outcome.verdict is Verdict.NOT_CHECKED


ANYTHING: st.SearchStrategy[Any] = (
    st.none()
    | st.text()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from([5e-324, 1e-310, -0.0, 1e308, -1e308, 90.0, -90.0, 360.0])
)


@given(
    values=st.fixed_dictionaries(dict.fromkeys(true_values(), ANYTHING)),
    instant=st.floats(allow_nan=True, allow_infinity=True),
)
def test_no_value_at_all_makes_a_check_fall_over(values: dict[str, Any], instant: float) -> None:
    found = report(values, start_of_integration=instant)
    assert len(found.outcomes) == len(checks().checks)
    told = json.dumps([each.to_json() for each in found.outcomes], allow_nan=False)
    assert json.loads(told)


def test_the_checks_of_the_shipped_definitions_are_compiled(definitions: Definitions) -> None:
    assert definitions.crosschecks is not None
    known = {rule.keyword for rule in (*definitions.rules, *definitions.witnesses)}
    assert {keyword for _, keyword in definitions.crosschecks.keywords()} <= known
    assert {rule.keyword for rule in definitions.witnesses} == {
        *("LOADED", "DOMEAZ", "DOMESH1", "DOMESH2")
    }
