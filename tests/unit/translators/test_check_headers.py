"""Each check of a header: when it speaks, and when it is silent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemons.simulators.night import ImageType
from tests.support.simulated_headers import simulated_header
from translators.checks.catalogue import CATALOGUE
from translators.checks.headers import header_findings
from translators.checks.policy import policy_for
from translators.checks.policy_file import Action
from translators.checks.sky import refraction_deg
from translators.errors import TranslationError
from translators.findings import Finding, Severity
from translators.translate import translate

NAME = "MC_O_20261103_000016_R22_S11.fits"
SENSORS = ("R22_S11", "R01_S20", "R44_SW0", "R00_SW1")


@pytest.fixture
def good() -> dict[str, Any]:
    """The header of an exposure of the sky, without a fault."""
    return dict(simulated_header())


def codes(header: Mapping[str, Any], **options: Any) -> list[str]:
    return [finding.code for finding in header_findings(header, **options)]


def told(header: Mapping[str, Any], code: str) -> str:
    found = [each for each in header_findings(header) if each.code == code]
    assert len(found) == 1, f"{code} in {header_findings(header)}"
    return found[0].sentence


@pytest.mark.parametrize("kind", ImageType)
@pytest.mark.parametrize("sensor", SENSORS)
def test_nothing_is_wrong_with_what_the_simulated_camera_writes(
    kind: ImageType, sensor: str
) -> None:
    assert header_findings(simulated_header(kind, sensor)) == ()


def test_a_header_is_not_changed(good: dict[str, Any]) -> None:
    before = dict(good)
    header_findings(good)
    assert good == before


def test_an_astropy_header_gives_the_same_findings(good: dict[str, Any]) -> None:
    good |= {"AMSTART": 0.0, "FILTER": "r_99", "EXPTIME": "long", "ROTPA": None}
    other = fits.Header()
    for keyword, value in good.items():
        name = f"HIERARCH {keyword}" if len(keyword) > 8 or " " in keyword else keyword
        other.append(fits.Card(name, fits.card.UNDEFINED if value is None else value))
    assert header_findings(other) == header_findings(good)
    assert codes(good) != []


# What a registration needs, what is required, and what is undefined.

REGISTRATION = [list(cards) for cards in policy_for("LSSTCam").registration]


@pytest.mark.parametrize("cards", REGISTRATION, ids=lambda cards: cards[0])
def test_a_card_is_needed_for_registration_where_the_translation_needs_it(
    good: dict[str, Any], cards: list[str]
) -> None:
    for card in cards[:-1]:
        del good[card]
    if len(cards) > 1:
        assert "header.registration" not in codes(good)
        translate(good, file_name=NAME)
    good[cards[-1]] = None
    assert " or ".join(cards) in told(good, "header.registration")
    with pytest.raises(TranslationError):
        translate(good, file_name=NAME)


KIN = {
    "LSSTComCam": {"INSTRUME": "ComCam"},
    "LSSTCamSim": {"INSTRUME": "lsstCamSim"},
    "LSSTComCamSim": {"INSTRUME": "ComCamSim"},
    "LATISS": {"INSTRUME": "LATISS", "GRATING": "empty_1", "RAFTBAY": "R00", "CCDSLOT": "S00"},
}


@pytest.mark.parametrize("name", KIN)
def test_no_file_that_can_be_registered_is_refused_for_a_card(
    good: dict[str, Any], name: str
) -> None:
    """What the checks call an error the translation cannot do without, for every instrument."""
    kin = good | KIN[name] | {"CCDSLOT": KIN[name].get("CCDSLOT", "S11")}
    assert translate(kin, file_name="x.fits").identity.instrument == name
    assert "header.registration" not in codes(kin)
    refused = []
    for card in kin:
        if "header.registration" in codes(kin | {card: None}):
            refused.append(card)
            with pytest.raises(TranslationError):
                translate(kin | {card: None}, file_name="x.fits")
    for cards in policy_for(name).registration:
        header = kin | dict.fromkeys(cards)
        if "header.registration" in codes(header):
            with pytest.raises(TranslationError):
                translate(header, file_name="x.fits")
    assert refused or name == "LATISS"


def test_a_required_card_without_a_value_is_named(good: dict[str, Any]) -> None:
    good["ROTPA"], good["VIGN_MIN"] = None, ""
    del good["HASTART"]
    sentence = told(good, "header.missing")
    assert all(card in sentence for card in ("ROTPA", "VIGN_MIN", "HASTART"))
    assert "3 required" in sentence


def test_what_only_images_of_the_sky_need_may_lack_in_a_bias() -> None:
    bias = simulated_header(ImageType.BIAS) | {"ROTPA": None, "RASTART": None, "DECSTART": None}
    assert codes(bias) == []


def test_many_undefined_cards_are_one_null_block(good: dict[str, Any]) -> None:
    pointing = ("RA", "DEC", "ROTPA", "ELSTART", "AZSTART", "AMSTART")
    for card in pointing[:5]:
        good[card] = None
    assert "header.null_block" not in codes(good)
    good["AMSTART"] = None
    sentence = told(good, "header.null_block")
    assert "6 required cards are undefined" in sentence
    assert "header.missing" not in codes(good)


def test_the_header_of_an_exposure_whose_writer_heard_nothing(good: dict[str, Any]) -> None:
    """What was null in MC_O_20251121_000156, detector R44_SW0."""
    pointing = "RA DEC RASTART DECSTART RAEND DECEND ROTPA ROTCOORD HASTART ELSTART AZSTART AMSTART"
    end = "HAEND ELEND AZEND AMEND TRACKSYS RADESYS FOCUSZ OBJECT VIGNETTE VIGN_MIN"
    weather = "AIRTEMP PRESSURE HUMIDITY WINDSPD WINDDIR SEEING"
    site = "OBS-LONG OBS-LAT OBS-ELEV OBSGEO-X OBSGEO-Y OBSGEO-Z"
    lost = f"{pointing} {end} {weather} {site}".split()
    assert len(lost) == 34
    good |= dict.fromkeys(lost)
    assert codes(good) == ["header.null_block"]
    assert policy_for("LSSTCam").worst(header_findings(good)) is Action.HOLD


def test_absent_cards_are_no_null_block() -> None:
    sky = simulated_header()
    for card in ("RA", "DEC", "ROTPA", "ELSTART", "AZSTART", "AMSTART", "HASTART"):
        del sky[card]
    assert "header.null_block" not in codes(sky)
    assert "header.missing" in codes(sky)


# Types, ranges, units, allowed values.


@pytest.mark.parametrize(
    ("card", "value"),
    [("EXPTIME", "30.0"), ("SEQNUM", 16.0), ("OBJECT", 5), ("FILTSLOT", True), ("ROTPA", True)],
)
def test_a_value_of_another_type_is_told(good: dict[str, Any], card: str, value: Any) -> None:
    good[card] = value
    assert card in told(good, "header.type")


def test_a_whole_number_is_a_number(good: dict[str, Any]) -> None:
    good["EXPTIME"] = 30
    assert codes(good) == []


@pytest.mark.parametrize(
    ("card", "value"), [("HUMIDITY", 130.0), ("ROTPA", 400.0), ("DEC", -95.0), ("EXPTIME", -1.0)]
)
def test_a_number_that_cannot_be_true_is_told(
    good: dict[str, Any], card: str, value: float
) -> None:
    good[card] = value
    assert card in told(good, "header.range")


@pytest.mark.parametrize(
    ("card", "value", "unit"),
    [
        ("PRESSURE", 743.1, "hPa"),
        ("AIRTEMP", 282.3, "K"),
        ("FOCUSZ", -750.0, "um"),
        ("SHUTTIME", 30_004.0, "ms"),
        ("HASTART", -40.0, "deg"),
        ("SEEING", 0.9 / 3600, "deg"),
    ],
)
def test_a_number_in_another_unit_is_told_with_it(
    good: dict[str, Any], card: str, value: float, unit: str
) -> None:
    good[card] = value
    assert f"it looks like {unit}" in told(good, "header.unit")
    assert "header.range" not in codes(good)


@pytest.mark.parametrize(
    ("card", "value"),
    [("VIGN_MIN", "MAYBE"), ("CONTRLLR", "X"), ("IMGTYPE", "SELFIE"), ("TIMESYS", "UTC")],
)
def test_a_text_that_is_not_allowed_is_told(good: dict[str, Any], card: str, value: str) -> None:
    good[card] = value
    assert f"{card} is {value!r}" in told(good, "header.value")


def test_case_does_not_matter_for_an_allowed_text(good: dict[str, Any]) -> None:
    assert codes(good | {"IMGTYPE": "Object"}) == []


# Impossible values.


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("AMSTART", 0.0),
        ("AMEND", 0.5),
        ("AMSTART", 6.92400871089033e-310),
        ("CCDTEMP", float("nan")),
        ("WINDSPD", float("inf")),
        ("ROTPA", "nan"),
    ],
)
def test_a_value_that_nothing_measures_is_told(good: dict[str, Any], card: str, value: Any) -> None:
    good[card] = value
    assert card in told(good, "header.impossible")
    assert not {"header.range", "header.type"} & set(codes(good))


def test_both_coordinates_exactly_zero_were_never_filled_in(good: dict[str, Any]) -> None:
    assert "RA and DEC" in told(good | {"RA": 0.0, "DEC": 0.0}, "header.impossible")
    assert "header.impossible" not in codes(good | {"RA": 0.0})


def test_a_calibration_that_tracked_nothing_is_only_noted() -> None:
    dark = simulated_header(ImageType.DARK) | {"AMSTART": 0.0, "RA": 0.0, "DEC": 0.0}
    (finding,) = header_findings(dark)
    assert (finding.code, finding.severity) == ("header.idle_pointing", Severity.INFO)
    assert "AMSTART is 0, RA and DEC is 0 both" in finding.sentence
    assert "header.impossible" in codes(dark | {"AMEND": float("nan")})


def test_impossible_values_are_told_of_a_header_of_no_known_instrument() -> None:
    assert codes({"INSTRUME": "NoSuchCam", "TEMP": float("nan")}) == ["header.impossible"]


# Times.


def test_a_clock_that_was_never_set_is_told_alone(good: dict[str, Any]) -> None:
    good |= {"DATE-BEG": "1970-01-01T00:00:37.000", "MJD-BEG": 40587.0004}
    found = [code for code in codes(good) if code.startswith("time.")]
    assert found == ["time.unset"]


def test_a_date_that_is_none_is_told(good: dict[str, Any]) -> None:
    good["DATE-END"] = "tomorrow"
    assert "DATE-END is 'tomorrow'" in told(good, "time.unreadable")


def test_an_mjd_of_another_instant_is_told_with_the_difference(good: dict[str, Any]) -> None:
    good["MJD-OBS"] -= 37 / 86_400
    assert "MJD-OBS is -37.000 s from DATE-OBS" in told(good, "time.mjd")
    good["MJD-OBS"] += 37 / 86_400 + 0.05 / 86_400
    assert "time.mjd" not in codes(good)


def _moved(header: Mapping[str, Any], name: str, seconds: float) -> dict[str, Any]:
    moment = datetime.fromisoformat(str(header[f"DATE-{name}"])).replace(tzinfo=UTC)
    there = datetime.fromtimestamp(moment.timestamp() + seconds, tz=UTC)
    return dict(header) | {
        f"DATE-{name}": there.isoformat(timespec="milliseconds")[:23],
        f"MJD-{name}": header[f"MJD-{name}"] + seconds / 86_400,
    }


@pytest.mark.parametrize(
    ("seconds", "said"), [(-60.0, "before the begin"), (-5.0, "shorter"), (3000.0, "EXPTIME")]
)
def test_an_end_that_does_not_fit_is_told(good: dict[str, Any], seconds: float, said: str) -> None:
    assert said in told(_moved(good, "END", seconds), "time.order")


def test_a_dark_time_below_the_shutter_time_is_told(good: dict[str, Any]) -> None:
    assert "DARKTIME" in told(good | {"DARKTIME": 3.0}, "time.order")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(ImageType.DARK, 5.0), (ImageType.BIAS, 1.0), (ImageType.OBJECT, 0.0), (ImageType.FLAT, 90.0)],
)
def test_a_shutter_that_was_open_for_another_time_is_told(kind: ImageType, seconds: float) -> None:
    header = simulated_header(kind) | {"SHUTTIME": seconds, "DARKTIME": 100.0}
    assert f"SHUTTIME is {seconds:g} s" in told(header, "time.shutter")


def test_a_shutter_that_opens_many_times_is_not_compared(good: dict[str, Any]) -> None:
    assert codes(good | {"IMGTYPE": "STUTTERED", "SHUTTIME": 10.0}) == []


def test_another_observing_day_than_that_of_the_begin_is_told(good: dict[str, Any]) -> None:
    assert "20261103" in told(good | {"DAYOBS": "20261104"}, "time.day_obs")


def test_days_before_the_rule_began_are_not_compared(laboratory_header: dict[str, Any]) -> None:
    assert "time.day_obs" not in codes(laboratory_header | {"DAYOBS": "20211213"})


# Names.


@pytest.mark.parametrize(
    "path",
    [
        f"20261103/MC_O_20261103_000016/{NAME}",
        f"/data/LSSTCam/2026-11-03/MC_O_20261103_000016/{NAME}",
        NAME,
    ],
)
def test_a_path_that_fits_is_not_told(good: dict[str, Any], path: str) -> None:
    assert codes(good, path=path) == []


@pytest.mark.parametrize(
    "path",
    [f"s3://raw/LSSTCam/20261103/MC_O_20261103_000017/{NAME}", f"/data/20261104/{NAME}"],
)
def test_folders_of_another_exposure_or_day_are_told(good: dict[str, Any], path: str) -> None:
    assert codes(good, path=path) == ["identity.path_disagrees"]


def test_a_file_name_card_of_another_image_is_told(good: dict[str, Any]) -> None:
    name = "MC_O_20261103_000015_R22_S12.fits"
    sentence = told(good | {"FILENAME": name}, "identity.filename_card")
    assert "OBSID is MC_O_20261103_000016" in sentence
    assert "RAFTBAY and CCDSLOT are R22_S11" in sentence
    for fine in ("MC_O_20261103_000016.fits", "another_name.fits", None):
        assert "identity.filename_card" not in codes(good | {"FILENAME": fine})


def test_a_place_behind_the_end_of_the_sequence_is_told(good: dict[str, Any]) -> None:
    assert "CURINDEX is 3" in told(good | {"CURINDEX": 3, "MAXINDEX": 2}, "identity.sequence")


def test_the_code_of_another_camera_is_told(good: dict[str, Any]) -> None:
    assert "CAMCODE is CC" in told(good | {"CAMCODE": "CC"}, "identity.camera_code")
    assert "OBSID" in told(good | {"OBSID": "AT_O_20261103_000016"}, "identity.camera_code")


def test_a_sensor_of_another_manufacturer_than_stands_there_is_told(good: dict[str, Any]) -> None:
    sentence = told(good | {"LSST_NUM": "ITL-3800C-068"}, "identity.sensor_vendor")
    assert "R22_S11 is made by E2V" in sentence


# Filter.


def test_a_filter_that_the_instrument_has_not_is_told(good: dict[str, Any]) -> None:
    assert "FILTER is r_99" in told(good | {"FILTER": "r_99"}, "filter.unknown")


def test_a_band_of_another_filter_is_told(good: dict[str, Any]) -> None:
    header = good | {"FILTER": "y_10", "FILTBAND": "z"}
    assert "the band of y_10 is y" in told(header, "filter.band")


def test_a_slot_that_is_none_is_told_where_a_filter_is_named(good: dict[str, Any]) -> None:
    assert "FILTSLOT is -1" in told(good | {"FILTSLOT": -1}, "filter.slot")
    assert "filter.slot" not in codes(good | {"FILTSLOT": -1, "FILTER": "none", "FILTBAND": None})


# Where it pointed.


def test_a_wrong_time_scale_is_seen_on_the_sky(good: dict[str, Any]) -> None:
    header = _moved(_moved(_moved(good, "BEG", -37.0), "OBS", -37.0), "END", -37.0)
    assert "arcmin" in told(header, "physics.pointing")
    assert "HASTART" in told(header | {"HASTART": 3.0}, "physics.hour_angle")


def test_a_stale_azimuth_is_told_for_its_end_only(good: dict[str, Any]) -> None:
    sentence = told(good | {"AZEND": good["AZEND"] + 3.0}, "physics.pointing")
    assert "RAEND" in sentence
    assert "RASTART" not in sentence


def test_the_turn_of_the_azimuth_does_not_matter(good: dict[str, Any]) -> None:
    assert codes(good | {"AZSTART": good["AZSTART"] + 360.0 * (-1) ** (good["AZSTART"] > 0)}) == []


def test_a_mount_may_have_the_elevation_of_the_light_or_of_the_star(good: dict[str, Any]) -> None:
    lifted = refraction_deg(good["ELSTART"], pressure_hpa=743.1, temperature_c=9.1)
    assert codes(good | {"ELSTART": good["ELSTART"] + lifted}) == []
    assert "physics.pointing" in codes(good | {"ELSTART": good["ELSTART"] + 4 / 60})


def test_hours_for_degrees_and_degrees_for_hours_are_told(good: dict[str, Any]) -> None:
    assert "physics.pointing" in codes(good | {"RASTART": good["RASTART"] / 15})
    degrees = good["HASTART"] * 15
    header = good | {"HASTART": degrees}
    expected = "header.unit" if abs(degrees) > 24 else "physics.hour_angle"
    assert expected in codes(header)


def test_a_target_of_an_earlier_exposure_is_told(good: dict[str, Any]) -> None:
    header = good | {"RA": (good["RASTART"] + 25.0) % 360}
    assert "degrees from RASTART" in told(header, "physics.target")


def test_a_target_in_radians_is_told_as_such(good: dict[str, Any]) -> None:
    header = good | {"RA": good["RA"] * 0.017453292519943295, "DEC": good["DEC"] * 0.01745329252}
    assert "in radians they would fit" in told(header, "physics.target")


def test_a_header_that_says_only_the_frame_was_tracked_in_it(good: dict[str, Any]) -> None:
    good |= {"TRACKSYS": None, "AZSTART": good["AZSTART"] + 2.0}
    assert "physics.pointing" in codes(good)
    assert "physics.pointing" not in codes(good | {"RADESYS": None})


def test_an_airmass_of_another_elevation_is_told(good: dict[str, Any]) -> None:
    assert "AMEND is" in told(good | {"AMEND": good["AMEND"] + 0.1}, "physics.airmass")


def test_a_calibration_may_point_anywhere() -> None:
    dark = simulated_header(ImageType.DARK)
    assert codes(dark | {"TRACKSYS": "RADEC", "RA": 127.5, "DEC": -45.0}) == []


def test_what_is_not_tracked_on_the_sky_is_not_compared_with_it(good: dict[str, Any]) -> None:
    assert codes(good | {"TRACKSYS": "AZEL", "RA": 1.0, "RASTART": 300.0}) == []


def test_the_southern_hemisphere_has_a_negative_z(good: dict[str, Any]) -> None:
    assert "OBSGEO" in told(good | {"OBSGEO-Z": -good["OBSGEO-Z"]}, "physics.site")


# Guider stamps, corrected headers, any header.


def test_a_header_of_guider_stamps_needs_no_times_and_no_type(
    guider_header: dict[str, Any],
) -> None:
    assert codes(guider_header) == []
    assert codes(guider_header | {"TEMP": float("nan")}) == ["header.impossible"]
    assert codes(guider_header | {"CAMCODE": "CC"}) == ["identity.camera_code"]


def test_a_fault_that_a_rule_corrects_is_not_told(good: dict[str, Any]) -> None:
    """2025-06-09, sequence numbers 76 to 578: the header says y_10, the filter was z_20."""
    night = {"DAYOBS": "20250609", "SEQNUM": 100, "OBSID": "MC_O_20250609_000100"}
    wrong = good | night | {"FILTER": "y_10", "FILTBAND": "y", "FILTSLOT": 9}
    assert not {"filter.slot", "filter.band"} & set(codes(wrong))
    night = {"DAYOBS": "20250609", "SEQNUM": 600, "OBSID": "MC_O_20250609_000600"}
    assert "filter.slot" in codes(wrong | night)


KEYWORDS = st.sampled_from(
    sorted({*simulated_header(), "N_STAMPS", "FILTER2", "CALIB_ID", "DATE-AVG", "AIRMASS"})
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["lsstCam", "LATISS", "MC_O_20261103_000016", "RADEC", "OBJECT", "nan"])
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(changed=st.dictionaries(KEYWORDS, VALUES, max_size=12), dropped=st.sets(KEYWORDS))
def test_no_header_is_too_odd(changed: dict[str, Any], dropped: set[str]) -> None:
    header = {
        card: value for card, value in simulated_header().items() if card not in dropped
    } | changed
    findings = header_findings(header, path="a/b.fits")
    assert all(isinstance(each, Finding) and each.code in CATALOGUE for each in findings)
    assert findings == header_findings(header, path="a/b.fits")


@given(st.dictionaries(st.text(max_size=10), VALUES))
def test_no_header_at_all_is_too_odd(header: dict[str, Any]) -> None:
    header_findings(header)
