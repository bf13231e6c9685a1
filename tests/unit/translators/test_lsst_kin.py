"""Test stands and simulations of the sky: headers of their own, numbers of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import pytest
from astro_metadata_translator import MetadataTranslator, ObservationInfo, fix_header
from astropy.io import fits
from astropy.time import Time

from translators.cardtranslator import MissingCardsError
from translators.errors import TranslationError, UnknownDetectorError
from translators.focalplane import detectors
from translators.instruments import instrument_of
from translators.lsst.ids import concatenated_detector_exposure_id
from translators.lsst.laboratory import (
    LsstTs3Translator,
    LsstTs8Translator,
    LsstUcdCamTranslator,
)
from translators.lsst.simulated import LsstCamImSimTranslator, LsstCamPhoSimTranslator
from translators.offline import offline
from translators.translate import translate

Cards = dict[str, Any]

TS8_OLD: Cards = {
    "TSTAND": "TS8",
    "RAFTNAME": "LCA-11021_RTM-011-Dev",
    "LSST_NUM": "ITL-3800C-142-Dev",
    "DATE-OBS": "2018-07-24T09:09:55.612",
    "MJD-OBS": 58323.3819,
    "EXPTIME": 21.9,
    "IMGTYPE": "FLAT",
    "TESTTYPE": "SFLAT_HI",
    "FILTPOS": 3,
    "RUNNUM": "6006D",
    "SEQNUM": 3,
    "FILENAME": "E2V_superflat_high_020_6006D_20180724090955.fits",
}
TS8: Cards = {
    "TSTAND": "TS8",
    "OBSID": "TS_C_20230730_000237",
    "CONTRLLR": "C",
    "DAYOBS": "20230730",
    "SEQNUM": 237,
    "RAFTNAME": "LCA-11021_RTM-004",
    "CCDSLOT": "S21",
    "LSST_NUM": "ITL-3800C-424",
    "DATE-OBS": "2023-07-30T16:01:02.345",
    "DATE-TRG": "2023-07-30T16:01:03.000",
    "MJD-OBS": 60155.6674,
    "TIMESYS": "TAI",
    "EXPTIME": 15.0,
    "IMGTYPE": "DARK",
    "FILTER": "SDSSi",
    "RUNNUM": "13391",
}
TS3: Cards = {
    "TSTAND": "BNL-TS3-2-Janeway",
    "LSST_NUM": "ITL-3800C-098",
    "DATE-OBS": "2016-07-22T01:54:09.104",
    "MJD-OBS": 57591.0792,
    "EXPTIME": 30.611,
    "IMGTYPE": "FLAT",
    "FILTER": "r",
    "FILENAME": "ITL-3800C-098_lambda_flat_1000_067_20160722015931.fits",
}
UCD: Cards = {
    "INSTRUME": "LSST-UCDCam-ITL",
    "OBSID": "UC_C_20231031_000228",
    "CONTRLLR": "C",
    "DAYOBS": "20231031",
    "SEQNUM": 228,
    "RAFTBAY": "R02",
    "CCDSLOT": "S00",
    "LSST_NUM": "ITL-3800C-002",
    "DATE-OBS": "2023-10-31T23:01:02.345",
    "MJD-OBS": 60248.9591,
    "EXPTIME": 2.0,
    "IMGTYPE": "FLAT",
    "FILTER": "r",
    "RUNNUM": "5",
}
IMSIM: Cards = {
    "TESTTYPE": "IMSIM",
    "OBSID": 204595,
    "RUNNUM": "204595",
    "RAFTNAME": "R11",
    "SENSNAME": "S20",
    "LSST_NUM": "ITL_R11_S20",
    "FILTER": "i",
    "PKG00001": "throughputs",
    "VER00001": " 1.4 ",
    "IMGTYPE": "SKYEXP",
    "MJD-OBS": 60797.25,
    "EXPTIME": 30.0,
    "DARKTIME": 30.0,
    "RADESYS": "ICRS",
    "RATEL": 56.6,
    "DECTEL": -36.5,
    "ROTANGLE": -75.0,
    "HASTART": 0.0,
}
PHOSIM: Cards = {
    "CREATOR": "PHOSIM",
    "OUTFILE": "lsst_a_204595_f3_R11_S20_E000",
    "OBSID": 204595,
    "RAFTNAME": "R11",
    "SENSNAME": "S20",
    "LSST_NUM": "LCA-10140_RTM-000_S20",
    "RUNNUM": "204595",
    "FILTER": "i",
    "MJD-OBS": 60797.25,
    "EXPTIME": 30.0,
    "DARKTIME": 30.0,
    "RA_DEG": 55.2,
    "DEC_DEG": -30.0,
    "ROTANGZ": 256.7,
    "ZENITH": 20.1,
    "AZIMUTH": 270.0,
    "AIRMASS": 1.06,
    "TEMPERA": 20.0,
    "PRESS": 520.0,
}


@pytest.mark.parametrize(
    ("cards", "name", "exposure_id", "detector"),
    [
        (TS8_OLD, "LSST-TS8", 201807240909556, 74),
        (TS8, "LSST-TS8", 3023073000237, 25),
        (TS3, "LSST-TS3", 201607220154091, 0),
        (UCD, "LSST-UCDCam", 2023103100228, 2),
        (IMSIM, "LSSTCam-imSim", 204595, 42),
        (PHOSIM, "LSSTCam-PhoSim", 204595, 42),
    ],
)
def test_header_is_recognised_and_translated(
    cards: Cards, name: str, exposure_id: int, detector: int
) -> None:
    translation = translate(cards, file_name="image.fits")

    identity = translation.identity
    assert (identity.instrument, identity.exposure_id) == (name, exposure_id)
    assert identity.detector == detector
    assert translation.translator == name
    assert [finding.code for finding in translation.findings] == []
    by_registry = MetadataTranslator.determine_translator(cards)
    assert by_registry.name == name
    with offline():
        info = ObservationInfo(dict(cards), pedantic=True)
    assert info.exposure_id == exposure_id


@pytest.mark.parametrize("cards", [TS8, TS8_OLD, TS3, UCD])
def test_stand_has_no_telescope_and_no_sky(cards: Cards) -> None:
    info = ObservationInfo(dict(cards), pedantic=True)

    for name in ("telescope", "location", "tracking_radec", "altaz_begin", "altaz_end"):
        assert getattr(info, name) is None
    for name in ("boresight_airmass", "boresight_rotation_angle", "boresight_rotation_coord"):
        assert getattr(info, name) is None
    for name in ("temperature", "pressure", "relative_humidity"):
        assert getattr(info, name) is None
    assert (info.object, info.can_see_sky) == ("UNKNOWN", False)


@pytest.mark.parametrize(
    ("translator", "cards", "hours"),
    [
        (LsstTs8Translator, TS8, 8),
        (LsstTs3Translator, TS3, 8),
        (LsstUcdCamTranslator, UCD, 0),
        (LsstCamImSimTranslator, IMSIM, 0),
        (LsstCamPhoSimTranslator, PHOSIM, 0),
    ],
)
def test_observing_day_begins_by_the_stands_own_rule(
    translator: Any, cards: Cards, hours: float
) -> None:
    assert translator(cards).to_observing_day_offset().sec == hours * 3600
    for year in (2016, 2026):
        moment = Time(f"{year}-07-01T00:00:00", scale="tai")
        assert translator.observing_date_to_offset(moment).sec == hours * 3600


@pytest.mark.parametrize(
    ("translator", "cards", "number"),
    [
        (LsstTs8Translator, TS8_OLD, 201807240909556_074),
        (LsstTs8Translator, TS8, 3023073000237_025),
        (LsstTs3Translator, TS3, 201607220154091_000),
        (LsstCamImSimTranslator, IMSIM, 204595_042),
        (LsstCamPhoSimTranslator, PHOSIM, 204595_042),
        (LsstUcdCamTranslator, UCD, 2 + 256 * (228 + 32768 * 5051)),
    ],
)
def test_detector_images_are_counted_by_the_stands_own_rule(
    translator: Any, cards: Cards, number: int
) -> None:
    assert translator(cards).to_detector_exposure_id() == number


def test_detector_number_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="outside 0 to 999"):
        concatenated_detector_exposure_id(1, 1000)


def test_ts8_counted_by_the_time_until_may_2023() -> None:
    cards = TS8 | {"OBSID": "TS_C_20230524_000905", "DAYOBS": "20230524", "SEQNUM": 905}
    before = LsstTs8Translator(
        cards | {"MJD-OBS": 60088.958, "DATE-OBS": "2023-05-24T22:59:31.200"}
    )
    after = LsstTs8Translator(cards | {"MJD-OBS": 60088.959})

    assert before.to_exposure_id() == 202305242259312
    assert after.to_exposure_id() == 3023052400905
    assert before.to_visit_id() == 202305242259312


def test_ts8_finds_the_sensor_by_its_serial_number_where_no_card_tells_its_place() -> None:
    translator = LsstTs8Translator(TS8_OLD)

    assert translator.to_detector_unique_name() == "RTM-011_S02"
    assert translator.to_detector_serial() == "ITL-3800C-142"
    with pytest.raises(UnknownDetectorError, match="'ITL-3800C-381' in RTM-011"):
        LsstTs8Translator(TS8_OLD | {"LSST_NUM": "ITL-3800C-381"}).to_detector_name()
    with pytest.raises(ValueError, match="names no raft"):
        LsstTs8Translator(TS8_OLD | {"RAFTNAME": "LCA-11021"}).to_detector_group()


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTPOS": 3}, "r"),
        ({"FILTPOS": 1}, "unknown"),
        ({"FILTPOS": None, "FILTER": "SDSSi"}, "SDSSi"),
        ({"FILTPOS": None, "FILTER": "unspecified"}, "unknown"),
        ({"FILTPOS": None}, "unknown"),
    ],
)
def test_ts8_filter(cards: Cards, name: str) -> None:
    assert LsstTs8Translator(TS8_OLD | cards).to_physical_filter() == name


def test_ts8_begin_that_is_the_end_is_corrected_and_the_number_stays() -> None:
    cards = TS8_OLD | {"DATE-TRG": TS8_OLD["DATE-OBS"], "EXPTIME": 20.0}
    header = dict(cards)

    assert fix_header(header, translator_class=LsstTs8Translator)

    assert header["DATE-OBS"] == header["DATE-BEG"] == "2018-07-24T09:09:35.612"
    assert header["MJD-OBS"] == header["MJD-BEG"] == pytest.approx(58323.3819 - 20 / 86_400)
    assert (header["DATE-END"], header["MJD-END"]) == ("2018-07-24T09:09:55.612", 58323.3819)
    assert header["HIERARCH LSST-TS8 DATE-OBS"] == "2018-07-24T09:09:55.612"
    assert LsstTs8Translator(header).to_exposure_id() == 201807240909556
    again = {card: value for card, value in header.items() if "METADATA FIX" not in card}
    fix_header(again, translator_class=LsstTs8Translator)
    assert again["DATE-OBS"] == "2018-07-24T09:09:35.612"
    assert translate(cards, file_name="a.fits").identity.exposure_id == 201807240909556


def test_ts8_header_that_other_software_corrected_keeps_its_number() -> None:
    cards = TS8_OLD | {
        "LSST-TS8 DATE-OBS": "2018-07-24T09:10:17.500",
        "ASTRO METADATA FIX MODIFIED": True,
    }

    assert translate(cards, file_name="a.fits").identity.exposure_id == 201807240910175


def test_ts3_calls_things_by_date_and_file() -> None:
    translator = LsstTs3Translator(TS3)

    assert translator.to_observation_id() == "ITL-3800C-098_lambda_flat_1000_067_20160722015931"
    assert translator.to_science_program() == "2016-07-22"
    assert translator.to_detector_unique_name() == "RXX_S00"
    assert translator.to_detector_serial() == "ITL-3800C-098"
    with pytest.raises(ValueError, match="needs tenths of seconds"):
        LsstTs3Translator(TS3 | {"DATE-OBS": "2016-07-22T01:54"}).to_exposure_id()


def test_sensor_of_davis_whose_number_is_not_known_is_said() -> None:
    with pytest.raises(TranslationError, match="LSST-UCDCam has no detector 'R21_S01'"):
        translate(UCD | {"RAFTBAY": "R21", "CCDSLOT": "S01"}, file_name="a.fits")


def test_imsim() -> None:
    with offline():
        info = ObservationInfo(dict(IMSIM), pedantic=True)

    assert (info.telescope, info.instrument) == ("Simonyi Survey Telescope", "LSSTCam-imSim")
    assert info.physical_filter == "i_sim_1.4"
    assert info.observation_type == "science"
    assert (info.visit_id, info.exposure_group) == (204595, "204595")
    assert (info.observation_counter, info.group_counter_start) == (0, 204595)
    assert info.boresight_rotation_angle.deg == pytest.approx(165)
    assert info.boresight_rotation_coord == "sky"
    assert info.tracking_radec.ra.deg == pytest.approx(56.6)
    assert info.altaz_begin.alt.deg == pytest.approx(90 - (36.5 - 30.2446), abs=1e-3)
    assert info.boresight_airmass == pytest.approx(1.006, abs=1e-3)
    assert info.has_simulated_content is True
    assert info.relative_humidity == 40
    assert (info.temperature, info.pressure) == (None, None)
    assert info.can_see_sky is True
    assert info.dark_time == 30 * u.s


def test_imsim_without_hour_angle_or_version_works_the_rest_out() -> None:
    cards = {key: value for key, value in IMSIM.items() if key not in {"HASTART", "PKG00001"}}
    translator = LsstCamImSimTranslator(cards)

    assert translator.to_physical_filter() == "i"
    with offline():
        altaz = translator.to_altaz_begin()
        back = altaz.transform_to(translator.to_tracking_radec().frame)
        assert back.ra.deg == pytest.approx(56.6)
    assert LsstCamImSimTranslator(cards | {"IMGTYPE": "BIAS"}).to_altaz_begin() is None


def test_phosim() -> None:
    with offline():
        info = ObservationInfo(dict(PHOSIM), pedantic=True)

    assert info.observation_type == "science"
    assert info.physical_filter == "i"
    assert info.altaz_begin.alt.deg == pytest.approx(69.9)
    assert info.boresight_airmass == 1.06
    assert info.boresight_rotation_angle.deg == pytest.approx(193.3)
    assert info.tracking_radec.ra.deg == pytest.approx(55.2)
    assert info.temperature.to_value("deg_C") == 20
    assert info.pressure.to_value("hPa") == pytest.approx(693.3, abs=0.1)
    assert info.detector_unique_name == "R11_S20"


def test_phosim_header_with_an_instrument_is_anothers() -> None:
    assert instrument_of(PHOSIM | {"INSTRUME": "lsstCam"}).name == "LSSTCam"  # type: ignore[union-attr]
    assert instrument_of({"TESTTYPE": "PHOSIM"}).name == "LSSTCam-PhoSim"  # type: ignore[union-attr]
    assert instrument_of(PHOSIM | {"INSTRUME": "other"}) is None


def test_phosim_keywords_of_the_first_two_headers_are_read_as_one(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header["CREATOR"] = "PHOSIM"
    second = fits.ImageHDU()
    second.header["OBSID"] = 204595
    path = tmp_path / "lsst_a.fits"
    fits.HDUList([primary, second]).writeto(path)

    (header,) = LsstCamPhoSimTranslator.determine_translatable_headers(str(path), primary.header)

    assert (header["CREATOR"], header["OBSID"]) == ("PHOSIM", 204595)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingCardsError, match="DATE-OBS"):
        LsstTs3Translator({}).to_exposure_id()
    with pytest.raises(MissingCardsError, match="FILENAME"):
        LsstTs8Translator({}).to_observation_id()
    with pytest.raises(MissingCardsError, match="OBSID"):
        LsstCamImSimTranslator({}).to_exposure_id()


def test_simulations_of_lsstcam_have_its_focal_plane() -> None:
    for name in ("LSSTCam-imSim", "LSSTCam-PhoSim", "LSSTCamSim"):
        assert detectors(name) == detectors("LSSTCam")


def test_ts8_rafts_are_told_apart_by_their_numbers() -> None:
    found = detectors("LSST-TS8")

    assert len(found) == 99
    assert {each.raft: each.id for each in found if each.sensor == "S00"} == {
        "RTM-002": 0,
        "RTM-003": 9,
        "RTM-004": 18,
        "RTM-005": 27,
        "RTM-007": 45,
        "RTM-008": 54,
        "RTM-010": 63,
        "RTM-011": 72,
        "RTM-012": 81,
        "RTM-014": 90,
        "RTM-009": 198,
    }
