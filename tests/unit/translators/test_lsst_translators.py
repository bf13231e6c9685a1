"""What the translators make of a header, property by property."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import astropy.units as u
import pytest
from astro_metadata_translator import ObservationInfo
from astro_metadata_translator.properties import PROPERTIES
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from translators.cardtranslator import MissingCardsError
from translators.lsst.latiss import LatissTranslator
from translators.lsst.pacific import pacific_offset_hours
from translators.lsst.pointing import LsstTranslator
from translators.lsst.simonyi import (
    LsstCamSimTranslator,
    LsstCamTranslator,
    LsstComCamSimTranslator,
    LsstComCamTranslator,
)

Cards = dict[str, Any]


def lsstcam(cards: Cards, **changes: Any) -> LsstCamTranslator:
    return LsstCamTranslator(
        cards | {key.replace("_", "-"): value for key, value in changes.items()}
    )


def without(cards: Cards, *keywords: str) -> Cards:
    return {keyword: value for keyword, value in cards.items() if keyword not in keywords}


def test_lsstcam_exposure_of_the_sky(sky_header: Cards) -> None:
    translator = lsstcam(sky_header)

    assert translator.to_instrument() == "LSSTCam"
    assert translator.to_telescope() == "Simonyi Survey Telescope"
    assert translator.to_observation_id() == "MC_O_20250501_000123"
    assert translator.to_exposure_id() == 2025050100123
    assert translator.to_exposure_group() == "2025-05-02T04:12:40.123"
    assert translator.to_visit_id() == 3260887601230000
    assert translator.to_observing_day() == 20250501
    assert translator.to_observation_counter() == 123
    assert translator.to_group_counter_start() == 123
    assert translator.to_group_counter_end() == 124
    assert translator.to_observation_type() == "science"
    assert translator.to_observation_reason() == "survey"
    assert translator.to_science_program() == "BLOCK-365"
    assert translator.to_object() == "Virgo"
    assert translator.to_physical_filter() == "r_57"
    assert translator.to_detector_num() == 94
    assert translator.to_detector_unique_name() == "R22_S11"
    assert translator.to_detector_serial() == "E2V-CCD250-382"
    assert translator.to_exposure_time_requested() == 30 * u.s
    assert translator.to_exposure_time() == 30.004 * u.s
    assert translator.to_dark_time() == 30.5 * u.s
    assert translator.to_boresight_rotation_angle().deg == 33.25
    assert translator.to_boresight_rotation_coord() == "sky"
    assert translator.to_boresight_airmass() == 1.26
    assert translator.to_tracking_radec().ra.deg == pytest.approx(187.501)
    assert translator.to_tracking_radec().dec.deg == pytest.approx(8.251)
    assert translator.to_altaz_begin().alt.deg == pytest.approx(52.5)
    assert translator.to_altaz_end().az.deg == pytest.approx(12.5)
    assert translator.to_temperature() == 9.5 * u.deg_C
    assert translator.to_pressure() == 745 * u.hPa
    assert translator.to_relative_humidity() == 31.0
    assert translator.to_focus_z() == 0.5 * u.mm
    assert translator.to_location().x == 1818938.94 * u.m
    assert translator.to_has_simulated_content() is False
    assert translator.to_can_see_sky() is True
    assert translator.to_observing_day_offset().sec == 43_200


def test_begin_is_tai_and_prefers_the_mjd(sky_header: Cards) -> None:
    begin = lsstcam(sky_header, TIMESYS="UTC").to_datetime_begin()
    assert begin.scale == "tai"
    assert begin.mjd == 60797.1755451388

    only_text = without(sky_header, "MJD-BEG", "MJD-OBS", "DATE-OBS")
    assert lsstcam(only_text).to_datetime_begin().isot == "2025-05-02T04:12:47.100"
    assert (
        lsstcam(only_text | {"DATE-BEG": None, "MJD-OBS": 60000.5}).to_datetime_begin().mjd
        == 60000.5
    )
    with pytest.raises(MissingCardsError, match="MJD-BEG or DATE-BEG or MJD-OBS or DATE-OBS"):
        lsstcam(without(only_text, "DATE-BEG")).to_datetime_begin()


def test_end_is_in_the_scale_of_timesys_or_follows_from_the_exposure(sky_header: Cards) -> None:
    tai = lsstcam(sky_header).to_datetime_end()
    utc = lsstcam(without(sky_header, "TIMESYS")).to_datetime_end()
    assert (utc - tai).sec == pytest.approx(37)

    derived = lsstcam(sky_header, DATE_END=None)
    assert (derived.to_datetime_end() - derived.to_datetime_begin()).sec == pytest.approx(30.004)


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": "r_57"}, "r_57"),
        ({"FILTER": "SDSSi", "FILTER2": "empty"}, "SDSSi"),
        ({"FILTER": "SDSSi", "FILTER2": "ND_OD1.0"}, "SDSSi~ND_OD1.0"),
        ({"FILTER": "u_24", "FILTER1": "uv", "FILTER2": "empty"}, "u_24~uv"),
        ({"FILTER": "empty"}, "empty"),
        ({"FILTER": "empty", "FILTER2": "empty"}, "empty"),
        ({"FILTER": "NONE"}, "none"),
        ({"FILTER": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_physical_filter(sky_header: Cards, cards: Cards, name: str) -> None:
    assert lsstcam(without(sky_header, "FILTER") | cards).to_physical_filter() == name


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [("OBJECT", "science"), ("SKYEXP", "science"), ("BIAS", "bias"), ("CWFS", "cwfs")],
)
def test_observation_type(sky_header: Cards, image_type: str, kind: str) -> None:
    assert lsstcam(sky_header, IMGTYPE=image_type).to_observation_type() == kind


def test_reason_program_and_object_fall_back(sky_header: Cards) -> None:
    bare = without(sky_header, "REASON", "PROGRAM", "OBJECT")
    assert lsstcam(bare).to_observation_reason() == "object"
    assert lsstcam(bare | {"TESTTYPE": None}).to_observation_reason() == "science"
    assert lsstcam(bare | {"RUNNUM": "E1003"}).to_science_program() == "E1003"
    assert lsstcam(bare).to_science_program() == "unknown"
    assert lsstcam(bare).to_object() == "UNKNOWN"


def test_counter_of_groups_without_index(sky_header: Cards) -> None:
    bare = without(sky_header, "CURINDEX", "MAXINDEX")
    assert lsstcam(bare).to_group_counter_start() == 123
    assert lsstcam(bare | {"SEQNUM": 0}).to_group_counter_end() == 2025050100000


def test_group_without_groupid_is_the_exposure(sky_header: Cards) -> None:
    translator = lsstcam(sky_header, GROUPID=None)

    assert translator.to_exposure_group() == "2025050100123"
    assert translator.to_visit_id() == 2025050100123


def test_group_that_a_correction_wrote_as_a_time_is_text_with_milliseconds(
    sky_header: Cards,
) -> None:
    moment = datetime(2025, 5, 2, 4, 12, 40, 123_000)  # noqa: DTZ001 - as YAML reads it

    assert lsstcam(sky_header, GROUPID=moment).to_exposure_group() == "2025-05-02T04:12:40.123"


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"VIGN_MIN": "NO"}, True),
        ({"VIGN_MIN": "PARTIALLY"}, True),
        ({"VIGN_MIN": "FULLY"}, False),
        ({"VIGN_MIN": "UNKNOWN"}, None),
        ({"VIGN_MIN": None}, None),
        ({"VIGN_MIN": None, "IMGTYPE": "BIAS"}, None),
        ({"VIGN_MIN": None, "CONTRLLR": "H"}, True),
        ({"VIGN_MIN": None, "CONTRLLR": "H", "IMGTYPE": "DARK"}, False),
        ({"SHUTTIME": 0.0}, False),
        ({"MJD-BEG": 60700.0}, False),
    ],
)
def test_whether_lsstcam_can_see_the_sky(
    sky_header: Cards,
    changes: Cards,
    seen: bool | None,  # noqa: FBT001 - what is expected
) -> None:
    assert LsstCamTranslator(sky_header | changes).to_can_see_sky() is seen


@pytest.mark.parametrize(
    ("changes", "tracked"),
    [
        ({}, True),
        ({"IMGTYPE": "DARK"}, True),
        ({"IMGTYPE": "BIAS"}, False),
        ({"IMGTYPE": "FLAT"}, False),
        ({"TRACKSYS": "AZEL"}, False),
        ({"TRACKSYS": "LOCAL"}, False),
        ({"TRACKSYS": None}, True),
        ({"RADESYS": "GAPPT"}, False),
        ({"RASTART": None}, True),
    ],
)
def test_when_a_place_of_the_sky_is_tracked(
    sky_header: Cards,
    changes: Cards,
    tracked: bool,  # noqa: FBT001 - what is expected
) -> None:
    radec = LsstCamTranslator(sky_header | changes).to_tracking_radec()

    assert (radec is not None) is tracked


def test_tracking_falls_back_to_the_target(sky_header: Cards) -> None:
    assert lsstcam(sky_header, DECSTART=None).to_tracking_radec().ra.deg == pytest.approx(187.5)


def test_science_on_the_sky_without_a_pointing_is_an_error_and_nothing_else_is(
    sky_header: Cards,
) -> None:
    bare = without(sky_header, "RA", "DEC", "RASTART", "DECSTART")
    with pytest.raises(KeyError, match="tracking RA/Dec"):
        lsstcam(bare).to_tracking_radec()
    assert lsstcam(bare, IMGTYPE="ENGTEST").to_tracking_radec() is None
    assert lsstcam(bare, MJD_BEG=60000.0).to_tracking_radec() is None


def test_begin_that_is_the_time_of_writing_takes_the_pointing_from_the_mount(
    sky_header: Cards,
) -> None:
    translator = lsstcam(sky_header, DATE=sky_header["DATE-OBS"])
    altaz = translator.to_altaz_begin()

    radec = translator.to_tracking_radec()

    back = radec.transform_to(altaz)
    assert back.alt.deg == pytest.approx(52.5, abs=1e-6)
    assert back.az.deg == pytest.approx(12.25, abs=1e-6)


def test_rotation_defaults_only_where_it_does_not_matter(sky_header: Cards) -> None:
    bare = without(sky_header, "ROTPA")
    assert lsstcam(bare, ROTANGLE=12.0).to_boresight_rotation_angle().deg == 12.0
    assert lsstcam(bare, IMGTYPE="BIAS").to_boresight_rotation_angle().deg == 0.0
    with pytest.raises(MissingCardsError, match="ROTPA or ROTANGLE"):
        lsstcam(bare).to_boresight_rotation_angle()


def test_exposure_with_the_telescope_standing_still_is_not_of_the_sky(sky_header: Cards) -> None:
    translator = lsstcam(sky_header, TRACKSYS="LOCAL")

    assert not translator.on_sky
    assert translator.to_boresight_rotation_coord() == "unknown"


def test_site_is_known_where_the_header_does_not_say(sky_header: Cards) -> None:
    location = LsstCamTranslator(sky_header | {"OBSGEO-X": None}).to_location()

    assert location.x.to_value("m") == pytest.approx(1818938.94, abs=0.01)
    assert location.y.to_value("m") == pytest.approx(-5208470.95, abs=0.01)
    assert location.z.to_value("m") == pytest.approx(-3195172.08, abs=0.01)


def test_position_at_the_end_may_be_missing(sky_header: Cards) -> None:
    assert lsstcam(sky_header, ELEND=None).to_altaz_end() is None


def test_elevation_beyond_what_the_mount_can_is_clipped(sky_header: Cards) -> None:
    assert lsstcam(sky_header, ELSTART=95.0).to_altaz_begin().alt.deg == pytest.approx(90.0)
    assert lsstcam(sky_header, ELSTART=-8.0).to_altaz_begin().alt.deg == pytest.approx(-5.55)


def test_airmass_follows_from_the_elevation_where_it_is_not_written(sky_header: Cards) -> None:
    airmass = lsstcam(sky_header, AMSTART=None).to_boresight_airmass()

    assert airmass == pytest.approx(1 / math.sin(math.radians(52.5)))
    assert lsstcam(sky_header, IMGTYPE="FLAT").to_boresight_airmass() is None


def test_simulated_sky_may_lack_the_mount(sky_header: Cards) -> None:
    bare = without(sky_header, "ELSTART", "AZSTART")
    assert lsstcam(bare, CONTRLLR="H").to_altaz_begin() is None
    with pytest.raises(KeyError, match="AltAz"):
        lsstcam(bare).to_altaz_begin()


@pytest.mark.parametrize(
    ("changes", "simulated"),
    [
        ({}, False),
        ({"SIMULATE MTMOUNT": 1}, True),
        ({"SIMULATE MTMOUNT": None}, False),
        ({"HIERARCH.SIMULATE.MTDOME": 1}, True),
        ({"CONTRLLR": "S"}, True),
        ({"CONTRLLR": "C"}, False),
    ],
)
def test_simulated_content(
    sky_header: Cards,
    changes: Cards,
    simulated: bool,  # noqa: FBT001 - what is expected
) -> None:
    assert LsstCamTranslator(sky_header | changes).to_has_simulated_content() is simulated


def test_undefined_and_empty_cards_count_as_absent(sky_header: Cards) -> None:
    translator = lsstcam(
        sky_header,
        AIRTEMP=None,
        PRESSURE=None,
        HUMIDITY=None,
        FOCUSZ=None,
        OBJECT="",
        DARKTIME=None,
    )

    assert translator.to_temperature() is None
    assert translator.to_pressure() is None
    assert translator.to_relative_humidity() is None
    assert translator.to_focus_z() == 0 * u.mm
    assert translator.to_object() == "UNKNOWN"
    assert translator.to_dark_time() == 30.004 * u.s


def test_numbers_written_as_text_are_read(sky_header: Cards) -> None:
    translator = lsstcam(sky_header, FOCUSZ="0.25", SEQNUM="123", EXPTIME="15")

    assert translator.to_focus_z() == 0.25 * u.mm
    assert translator.to_exposure_id() == 2025050100123
    assert translator.to_exposure_time_requested() == 15 * u.s


def test_pressure_has_two_units(sky_header: Cards) -> None:
    assert lsstcam(sky_header, PRESSURE=745.0).to_pressure() == 745 * u.hPa
    assert lsstcam(sky_header, PRESSURE=74500.0).to_pressure() == 745 * u.hPa


def test_flat_on_the_test_stand(laboratory_header: Cards) -> None:
    translator = lsstcam(laboratory_header)

    assert translator.to_exposure_id() == 3021121200310
    assert translator.to_location() is None
    assert translator.to_altaz_begin() is None
    assert translator.to_tracking_radec() is None
    assert translator.to_boresight_rotation_coord() == "unknown"
    assert translator.to_boresight_rotation_angle().deg == 0
    assert translator.to_boresight_airmass() is None
    assert translator.to_can_see_sky() is False
    assert translator.to_science_program() == "13162"
    assert translator.to_observing_day_offset().sec == 8 * 3600
    assert translator.to_physical_filter() == "SDSSi"


def test_combined_calibration_is_no_exposure(sky_header: Cards) -> None:
    cards = without(sky_header, "GROUPID") | {"CALIB_ID": "detector=0"}
    translator = LsstCamTranslator(cards)

    assert translator.to_exposure_id() is None
    assert translator.to_exposure_group() is None
    assert translator.to_visit_id() is None
    assert translator.to_detector_exposure_id() is None


@pytest.mark.parametrize(
    ("translator", "moment", "hours"),
    [
        (LsstCamTranslator, "2024-05-01T00:00:00", 12),
        (LsstCamTranslator, "2024-04-30T23:59:59", 7),
        (LsstCamTranslator, "2024-01-15T12:00:00", 8),
        (LsstComCamTranslator, "2020-03-01T00:00:00", 12),
        (LsstComCamTranslator, "2020-02-29T00:00:00", 8),
        (LsstCamSimTranslator, "2021-07-01T00:00:00", 12),
        (LsstComCamSimTranslator, "2019-07-01T00:00:00", 12),
        (LatissTranslator, "2018-07-01T00:00:00", 12),
    ],
)
def test_observing_day_begins_where_the_camera_was(
    translator: type[LsstTranslator], moment: str, hours: float
) -> None:
    offset = translator.observing_date_to_offset(Time(moment, format="isot", scale="tai"))

    assert offset.sec == hours * 3600


@pytest.mark.parametrize(
    ("moment", "day"), [("2025-06-01T11:59:59", 20250531), ("2025-06-01T12:00:00", 20250601)]
)
def test_observing_day_without_its_card(sky_header: Cards, moment: str, day: int) -> None:
    bare = without(sky_header, "DAYOBS", "MJD-BEG", "MJD-OBS") | {"DATE-BEG": moment}

    assert lsstcam(bare).to_observing_day() == day


@given(st.datetimes(datetime(2007, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001 - UTC by contract
def test_pacific_time_is_that_of_the_time_zone_database(moment: datetime) -> None:
    try:
        zone = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zone database")
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()

    assert offset == timedelta(hours=-pacific_offset_hours(moment))


def test_comcam_is_on_the_sky_from_its_first_light(sky_header: Cards) -> None:
    cards = sky_header | {"INSTRUME": "ComCam", "CCDSLOT": "S12", "IMGTYPE": "OBJECT"}
    before = LsstComCamTranslator(cards | {"MJD-BEG": 60545.9})
    after = LsstComCamTranslator(cards | {"MJD-BEG": 60546.1})

    assert (before.on_sky, after.on_sky) == (False, True)
    assert after.to_instrument() == "LSSTComCam"
    assert after.to_detector_num() == 5


def test_simulated_comcam_works_out_where_the_telescope_pointed(sky_header: Cards) -> None:
    cards = without(sky_header, "ELSTART", "AZSTART") | {"INSTRUME": "ComCamSim", "VIGN_MIN": None}
    translator = LsstComCamSimTranslator(cards)

    altaz = translator.to_altaz_begin()

    back = altaz.transform_to(translator.to_tracking_radec().frame)
    assert back.ra.deg == pytest.approx(187.501)
    assert translator.to_can_see_sky() is True
    assert LsstComCamSimTranslator(cards | {"IMGTYPE": "BIAS"}).to_altaz_begin() is None


def test_latiss_exposure_of_the_sky(latiss_header: Cards) -> None:
    translator = LatissTranslator(latiss_header)

    assert translator.to_instrument() == "LATISS"
    assert translator.to_telescope() == "Rubin Auxiliary Telescope"
    assert translator.to_physical_filter() == "SDSSr_65mm~empty"
    assert translator.to_detector_num() == 0
    assert translator.to_detector_unique_name() == "RXX_S00"
    assert translator.to_exposure_time() == 30 * u.s
    assert translator.to_can_see_sky() is True
    assert translator.to_observation_type() == "science"


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": "empty_2", "GRATING": "holo4_003"}, "empty~holo4_003"),
        ({"FILTER": "", "GRATING": ""}, "empty~empty"),
        ({"FILTER": None}, "unknown~unknown"),
        ({"FILTER": "SDSSg"}, "SDSSg~unknown"),
    ],
)
def test_latiss_filter_and_grating(latiss_header: Cards, cards: Cards, name: str) -> None:
    bare = without(latiss_header, "FILTER", "GRATING")

    assert LatissTranslator(bare | cards).to_physical_filter() == name


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"OBSTYPE": "BIAS", "IMGTYPE": "OBJECT"}, "bias"),
        ({"IMGTYPE": "OBJECT"}, "science"),
        ({"IMGTYPE": "OBJECT", "MJD-BEG": 58800.0}, "labobject"),
        ({"IMGTYPE": None, "EXPTIME": 0.0}, "bias"),
        ({"IMGTYPE": None}, "unknown"),
        ({"IMGTYPE": None, "GROUPID": "DARK", "MJD-BEG": 58700.0}, "dark"),
        ({"IMGTYPE": None, "GROUPID": "dark_0001_0002", "MJD-BEG": 58700.0}, "dark"),
        ({"IMGTYPE": None, "GROUPID": "FOCUS12", "MJD-BEG": 58700.0}, "focus"),
        ({"IMGTYPE": None, "GROUPID": "OBJECT", "MJD-BEG": 58700.0}, "engtest"),
        ({"IMGTYPE": None, "GROUPID": "test1", "MJD-BEG": 58700.0}, "unknown"),
    ],
)
def test_latiss_observation_type(latiss_header: Cards, changes: Cards, kind: str) -> None:
    assert LatissTranslator(latiss_header | changes).to_observation_type() == kind


@pytest.mark.parametrize(
    ("group", "image_type", "expected"),
    [
        ("DARK", None, "2025050100123"),
        ("DARK", "DARK", "2025050100123"),
        ("DARK", "BIAS", "DARK"),
        ("dark_0001_0002", None, "dark_0001_0002"),
        ("FOCUS12", None, "FOCUS12"),
        ("FOCUS", None, "2025050100123"),
        ("test1", None, "test1"),
    ],
)
def test_latiss_group_that_was_the_type_is_none(
    latiss_header: Cards, group: str, image_type: str | None, expected: str
) -> None:
    cards = latiss_header | {"GROUPID": group, "IMGTYPE": image_type, "MJD-BEG": 58700.0}

    assert LatissTranslator(cards).to_exposure_group() == expected


def test_latiss_dark_time_is_never_shorter_than_the_exposure(latiss_header: Cards) -> None:
    assert LatissTranslator(latiss_header | {"DARKTIME": 3.0}).to_dark_time() == 30 * u.s
    assert LatissTranslator(latiss_header | {"DARKTIME": 31.0}).to_dark_time() == 31 * u.s


def test_latiss_in_the_laboratory_has_no_rotation(latiss_header: Cards) -> None:
    translator = LatissTranslator(
        without(latiss_header, "ROTPA", "OBJECT", "EXPTIME", "OBSID") | {"MJD-BEG": 58382.26}
    )

    assert math.isnan(translator.to_boresight_rotation_angle().deg)
    assert translator.to_object() == "UNKNOWN"
    assert translator.to_exposure_time() == -1 * u.s
    assert translator.to_observation_id() is None
    assert translator.to_location() is None


def test_latiss_science_needs_a_name_and_an_object(latiss_header: Cards) -> None:
    with pytest.raises(MissingCardsError, match="OBSID or IMGNAME"):
        LatissTranslator(without(latiss_header, "OBSID")).to_observation_id()
    with pytest.raises(MissingCardsError, match="OBJECT"):
        LatissTranslator(without(latiss_header, "OBJECT")).to_object()


def test_latiss_headers_with_misspelt_cards_have_no_end(latiss_header: Cards) -> None:
    assert LatissTranslator(latiss_header).to_altaz_end() is not None
    assert LatissTranslator(latiss_header | {"AELEND": 40.0}).to_altaz_end() is None


def test_guider_is_translated_in_part(guider_header: Cards) -> None:
    subset = {"instrument", "detector_num", "observation_id"}

    info = ObservationInfo(
        dict(guider_header), translator_class=LsstCamTranslator, subset=subset, required=subset
    )

    assert (info.instrument, info.detector_num) == ("LSSTCam", 189)
    assert info.observation_id == "MC_O_20250501_000123"
    assert info.datetime_begin is None
    with pytest.raises(KeyError, match="datetime_begin"):
        ObservationInfo(
            dict(guider_header),
            translator_class=LsstCamTranslator,
            required={"datetime_begin"},
            quiet=True,
        )


NULLABLE = (
    *("RA", "DEC", "RASTART", "DECSTART", "ROTPA", "ROTCOORD", "ELSTART", "AZSTART", "AMSTART"),
    *("ELEND", "AZEND", "TRACKSYS", "RADESYS", "FOCUSZ", "VIGN_MIN", "AIRTEMP", "PRESSURE"),
    *("HUMIDITY", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z", "PROGRAM", "REASON", "OBJECT", "TESTTYPE"),
)


@pytest.mark.parametrize("keyword", NULLABLE)
def test_null_card_is_like_an_absent_one(sky_header: Cards, keyword: str) -> None:
    null = ObservationInfo(
        sky_header | {keyword: None}, translator_class=LsstCamTranslator, quiet=True
    )
    absent = ObservationInfo(
        without(sky_header, keyword), translator_class=LsstCamTranslator, quiet=True
    )

    assert null.to_simple() == absent.to_simple()


def test_header_whose_telemetry_is_null_keeps_what_the_camera_knows(sky_header: Cards) -> None:
    cards = sky_header | dict.fromkeys(NULLABLE)

    info = ObservationInfo(dict(cards), translator_class=LsstCamTranslator, quiet=True)

    assert (info.exposure_id, info.detector_num) == (2025050100123, 94)
    assert info.physical_filter == "r_57"
    for name in ("tracking_radec", "altaz_begin", "boresight_rotation_angle", "temperature"):
        assert getattr(info, name) is None
    with pytest.raises(KeyError, match="Error calculating property"):
        ObservationInfo(dict(cards), translator_class=LsstCamTranslator, pedantic=True)


def test_every_property_of_a_whole_header_is_made_also_pedantically(
    sky_header: Cards, latiss_header: Cards
) -> None:
    for cards, translator in (
        (sky_header, LsstCamTranslator),
        (latiss_header, LatissTranslator),
        (sky_header | {"INSTRUME": "ComCam"}, LsstComCamTranslator),
    ):
        info = ObservationInfo(dict(cards), translator_class=translator, pedantic=True)
        missing = {name for name in PROPERTIES if getattr(info, name) is None}
        assert missing == set(), translator
