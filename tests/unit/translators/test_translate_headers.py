"""From a header to identity and record; disagreements, faults, memory of exposures."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

import pytest
from astro_metadata_translator import ObservationInfo
from astropy.io import fits
from astropy.utils import iers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.errors import TranslationError, TranslatorsError, UnknownInstrumentError
from translators.findings import Severity
from translators.focalplane import detectors
from translators.identity import ImageKind
from translators.imagename import parse_image_name
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.properties import OPTIONAL, REQUIRED
from translators.translate import Translation, observation_info, translate

Cards = dict[str, Any]
NAME = "MC_O_20250501_000123_R22_S11.fits"


def codes(translation: Translation) -> list[str]:
    return [finding.code for finding in translation.findings]


def test_science_image(sky_header: Cards) -> None:
    before = dict(sky_header)

    translation = translate(sky_header, file_name=NAME)

    identity = translation.identity
    assert identity.instrument == "LSSTCam"
    assert identity.obs_id == "MC_O_20250501_000123"
    assert identity.exposure_id == 2025050100123
    assert (identity.day_obs, identity.seq_num) == (20250501, 123)
    assert (identity.detector, identity.detector_name) == (94, "R22_S11")
    assert identity.kind is ImageKind.SCIENCE
    assert (identity.dataset_type, identity.run) == ("raw", "LSSTCam/raw/all")
    assert translation.translator == "LSSTCam"
    assert translation.translator_version
    assert translation.findings == ()
    assert sky_header == before


def test_dataset_id_is_the_butlers(sky_header: Cards) -> None:
    name = (
        "dataset_type=raw,run=LSSTCam/raw/all,detector=94,exposure=2025050100123,instrument=LSSTCam"
    )
    expected = uuid5(UUID("840b31d9-05cd-5161-b2c8-00d32b280d0f"), name)

    assert translate(sky_header, file_name=NAME).identity.dataset_id == expected


def test_record_holds_what_registration_needs_and_is_plain_json(sky_header: Cards) -> None:
    record = translate(sky_header, file_name=NAME).observation

    assert record is not None
    assert set(record) == {*REQUIRED, *OPTIONAL, "_translator"}
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_record_is_what_the_translator_gives_everybody_else(sky_header: Cards) -> None:
    translation = translate(sky_header, file_name=NAME)
    by_header = ObservationInfo(dict(sky_header), translator_class=TRANSLATORS["LSSTCam"])

    info = observation_info(translation)

    for name in (*REQUIRED, *OPTIONAL):
        ours, theirs = getattr(info, name), getattr(by_header, name)
        if name == "altaz_begin":
            ours, theirs = ours.alt.deg, theirs.alt.deg
        elif name == "tracking_radec":
            ours, theirs = ours.ra.deg, theirs.ra.deg
        assert ours == theirs, name


def test_observation_info_is_the_same_after_a_journey_as_json(sky_header: Cards) -> None:
    translation = translate(sky_header, file_name=NAME)

    info = observation_info(json.loads(json.dumps(translation.observation)))

    assert info.exposure_id == 2025050100123
    assert info.datetime_begin.tai.mjd == sky_header["MJD-BEG"]
    assert info.altaz_begin.az.degree == pytest.approx(12.25)
    assert info == observation_info(translation)


@pytest.mark.parametrize("record", [{"exposure_id": []}, {"nonsense": 1}, {"datetime_begin": 3}])
def test_what_is_no_record_is_refused(record: Mapping[str, Any]) -> None:
    with pytest.raises(TranslationError, match="record"):
        observation_info(record)


def test_guider_stamps_have_an_identity_and_no_record(guider_header: Cards) -> None:
    translation = translate(guider_header, file_name="MC_O_20250501_000123_R00_SG0_guider.fits")

    identity = translation.identity
    assert (identity.detector, identity.kind) == (189, ImageKind.GUIDER)
    assert (identity.dataset_type, identity.run) == ("guider_raw", "LSSTCam/raw/guider")
    assert identity.exposure_id == 2025050100123
    assert translation.observation is None
    assert translation.findings == ()
    with pytest.raises(TranslationError, match="guider stamps"):
        observation_info(translation)


def test_raw_of_a_guide_sensor_is_a_raw(sky_header: Cards) -> None:
    cards = sky_header | {"RAFTBAY": "R00", "CCDSLOT": "SG1"}

    translation = translate(cards, file_name="MC_O_20250501_000123_R00_SG1.fits")

    assert translation.identity.kind is ImageKind.GUIDER
    assert translation.identity.dataset_type == "raw"
    assert translation.observation is not None


def test_latiss_is_named_with_another_raft(latiss_header: Cards) -> None:
    translation = translate(latiss_header, file_name="AT_O_20250501_000123_R00_S00.fits")

    assert translation.identity.detector_name == "RXX_S00"
    assert translation.identity.run == "LATISS/raw/all"
    assert translation.translator == "LSST_LATISS"
    assert "identity.file_name_disagrees" not in codes(translation)


@pytest.mark.parametrize(
    ("cards", "instrument"),
    [
        ({"INSTRUME": "lsstCam"}, "LSSTCam"),
        ({"INSTRUME": "LSSTCAM"}, "LSSTCam"),
        ({"INSTRUME": "ComCam", "TELESCOP": "LSST"}, "LSSTComCam"),
        ({"INSTRUME": "LSST_CAMERA", "TELCODE": "CC"}, "LSSTComCam"),
        ({"INSTRUME": "ComCamSim", "TELESCOP": "Simonyi Survey Telescope"}, "LSSTComCamSim"),
        ({"INSTRUME": "lsstCamSim", "TELESCOP": "LSST"}, "LSSTCamSim"),
        ({"INSTRUME": "LSST_ATISS", "RAFTBAY": None}, "LATISS"),
    ],
)
def test_instrument_is_recognised(sky_header: Cards, cards: Cards, instrument: str) -> None:
    assert translate(sky_header | cards, file_name="image.fits").identity.instrument == instrument


@pytest.mark.parametrize("cards", [{"INSTRUME": "NoCam"}, {"INSTRUME": None}, {"INSTRUME": 7}])
def test_unknown_instrument_is_said_with_what_the_header_has(
    sky_header: Cards, cards: Cards
) -> None:
    with pytest.raises(
        UnknownInstrumentError, match=r"INSTRUME is .* known are .*LATISS, .*LSSTCam"
    ):
        translate(sky_header | cards, file_name=NAME)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("MC_O_20250501_000124_R22_S11.fits", "OBSID is MC_O_20250501_000123"),
        ("MC_O_20250501_000123_R22_S12.fits", "the detector is R22_S11"),
        ("MC_O_20250501_000123_R99_S12.fits", "the detector is R22_S11"),
        ("MC_O_20250501_000123_R22_S11_guider.fits", "the kind of file is a raw"),
    ],
)
def test_name_of_another_image_is_an_error(sky_header: Cards, name: str, what: str) -> None:
    translation = translate(sky_header, file_name=name)

    (finding,) = translation.findings
    assert (finding.code, finding.severity) == ("identity.file_name_disagrees", Severity.ERROR)
    assert what in finding.sentence


@pytest.mark.parametrize(
    "name",
    [NAME, "MC_O_20250501_000123_R22_S11.fits.fz", "MC_O_20250501_000123.fits", "upload-7.fits"],
)
def test_name_that_agrees_or_says_nothing_is_fine(sky_header: Cards, name: str) -> None:
    assert translate(sky_header, file_name=name).findings == ()


def test_name_of_old_latiss_files_has_a_beginning_of_its_own() -> None:
    named = parse_image_name("ats_exp_27_AT_C_20180920_000065.fits")

    assert named is not None
    assert (named.obs_id, named.detector) == ("AT_C_20180920_000065", None)


def test_obsid_that_is_not_that_of_its_cards_is_an_error(sky_header: Cards) -> None:
    translation = translate(sky_header | {"SEQNUM": 124}, file_name=NAME)

    assert codes(translation) == ["identity.cards_disagree"]
    assert translation.findings[0].severity is Severity.ERROR
    assert "20250501, 124 and O" in translation.findings[0].sentence


def test_missing_cards_are_all_named(sky_header: Cards) -> None:
    cards = sky_header | {"OBSID": None, "DAYOBS": None, "CCDSLOT": None}

    with pytest.raises(TranslationError) as caught:
        translate(cards, file_name=NAME)

    for keyword in ("OBSID", "DAYOBS", "CCDSLOT", NAME):
        assert keyword in str(caught.value)


def test_required_properties_that_cannot_be_made_are_all_named(sky_header: Cards) -> None:
    cards = sky_header | {"IMGTYPE": None, "EXPTIME": "long", "MJD-BEG": "NaN"}

    with pytest.raises(TranslationError) as caught:
        translate(cards, file_name=NAME)

    message = str(caught.value)
    assert "observation_type (no value in IMGTYPE)" in message
    assert "exposure_time_requested (could not convert string to float: 'long')" in message
    assert "datetime_begin" in message


def test_unknown_detector_is_said(sky_header: Cards) -> None:
    with pytest.raises(TranslationError, match="LSSTCam has no detector 'R22_S77'"):
        translate(sky_header | {"CCDSLOT": "S77"}, file_name=NAME)


def test_optional_property_that_cannot_be_made_is_left_out_and_said(sky_header: Cards) -> None:
    translation = translate(sky_header | {"ROTPA": "askew", "ELSTART": None}, file_name=NAME)

    assert translation.observation is not None
    assert "boresight_rotation_angle" not in translation.observation
    assert "altaz_begin" not in translation.observation
    assert codes(translation) == ["translation.property", "translation.property"]
    assert {finding.severity for finding in translation.findings} == {Severity.WARNING}


def test_value_that_is_no_number_is_left_out_of_the_record(latiss_header: Cards) -> None:
    cards = latiss_header | {"IMGTYPE": "BIAS", "ROTPA": None}

    record = translate(cards, file_name="AT_O_20250501_000123.fits").observation

    assert record is not None
    assert "boresight_rotation_angle" not in record


def test_all_detectors_of_an_exposure_share_the_record(sky_header: Cards) -> None:
    records = {}
    for detector in detectors("LSSTCam"):
        cards = sky_header | {
            "RAFTBAY": detector.raft,
            "CCDSLOT": detector.sensor,
            "CCD_SERN": str(detector.id),
            "DATE": f"2025-05-02T04:13:21.{detector.id:03d}",
        }
        name = f"MC_O_20250501_000123_{detector.name}.fits"
        translation = translate(cards, file_name=name)
        assert translation.findings == ()
        assert translation.identity.detector == detector.id
        records[detector.id] = dict(translation.observation or {})

    assert {record.pop("detector_num") for record in records.values()} == set(range(205))
    assert all(record == records[0] for record in records.values())


def test_record_may_be_changed_without_harm(sky_header: Cards) -> None:
    first = translate(sky_header, file_name=NAME).observation
    assert isinstance(first, dict)
    kept = json.dumps(first)
    first["datetime_begin"][0] = 0.0
    first["object"] = "other"

    assert json.dumps(translate(sky_header, file_name=NAME).observation) == kept


def test_exposure_with_a_changed_card_is_translated_anew(sky_header: Cards) -> None:
    before = translate(sky_header, file_name=NAME)
    after = translate(sky_header | {"EXPTIME": 15.0}, file_name=NAME)

    assert observation_info(before).exposure_time_requested.value == 30
    assert observation_info(after).exposure_time_requested.value == 15
    assert codes(translate(sky_header | {"ROTPA": None}, file_name=NAME)) == [
        "translation.property"
    ]
    assert codes(translate(sky_header, file_name=NAME)) == []


@pytest.mark.parametrize("instrument", sorted(TRANSLATORS))
def test_no_property_of_an_exposure_is_made_from_a_card_of_the_detector(
    instrument: str, sky_header: Cards, latiss_header: Cards
) -> None:
    own = {
        "LATISS": latiss_header,
        "LSST-TS3": {"FILENAME": "a.fits"},
        "LSSTCam-imSim": {"OBSID": 7, "RATEL": 1.0, "DECTEL": 2.0, "ROTANGLE": 3.0},
        "LSSTCam-PhoSim": {"OBSID": 7, "RATEL": 1.0, "DECTEL": 2.0, "ROTANGLE": 3.0},
        "ExampleCam": {"IMAGETYP": "bias frame", "FRAMENO": 3, "FILTER": "V"},
    }
    cards = sky_header | own.get(instrument, {})
    of_file = TRANSLATORS[instrument].detector_cards
    translator = TRANSLATORS[instrument](dict.fromkeys(of_file, "x") | cards)
    for name in {*REQUIRED, *OPTIONAL} - {"detector_num"}:
        getattr(translator, f"to_{name}")()

    assert translator.cards_used() & of_file <= {"DATE"}


def test_threads_may_translate_at_the_same_time(sky_header: Cards) -> None:
    wrong: list[str] = []

    def work(first: int) -> None:
        for seq_num in range(first, first + 40):
            obs_id = f"MC_O_20250501_{seq_num:06d}"
            cards = sky_header | {"SEQNUM": seq_num, "OBSID": obs_id, "OBJECT": obs_id}
            record = translate(cards, file_name=f"{obs_id}_R22_S11.fits").observation
            if record is None or (record["object"], record["observation_id"]) != (obs_id, obs_id):
                wrong.append(obs_id)

    threads = [threading.Thread(target=work, args=(first,)) for first in (1, 21, 41, 1001)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert iers.conf.auto_download is True


def test_nothing_is_downloaded_meanwhile_and_the_setting_comes_back() -> None:
    inside = threading.Event()
    leave = threading.Event()

    def other() -> None:
        with offline():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with offline():
        assert iers.conf.auto_download is False
        assert iers.conf.auto_max_age is None
    assert iers.conf.auto_download is False
    leave.set()
    thread.join()
    assert iers.conf.auto_download is True


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
KEYWORDS = st.sampled_from(
    [
        *("OBSID", "DAYOBS", "SEQNUM", "CONTRLLR", "RAFTBAY", "CCDSLOT", "INSTRUME", "TELESCOP"),
        *("MJD-BEG", "DATE-BEG", "DATE-END", "TIMESYS", "EXPTIME", "IMGTYPE", "GROUPID"),
        *("CURINDEX", "MAXINDEX", "FILTER", "ROTPA", "RADESYS", "RASTART", "ELSTART", "TRACKSYS"),
        *("SHUTTIME", "VIGN_MIN", "N_STAMPS", "DATE", "DATE-OBS", "OBJECT", "DARKTIME"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.dictionaries(KEYWORDS, VALUES, max_size=6), name=st.text(max_size=40))
def test_any_header_is_translated_or_refused_with_a_sentence(
    sky_header: Cards, changes: Cards, name: str
) -> None:
    cards = sky_header | changes
    with suppress(TranslatorsError):
        translation = translate(cards, file_name=name)
        json.dumps(translation.observation, allow_nan=False)
        if translation.observation is not None:
            assert isinstance(observation_info(translation), ObservationInfo)


def test_header_of_astropy_gives_the_same(sky_header: Cards) -> None:
    cards = sky_header | {"AIRTEMP": None, "SIMULATE MTDOME": None}
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword if " " not in keyword else f"HIERARCH {keyword}"] = value
    before = header.tostring()

    assert translate(header, file_name=NAME) == translate(cards, file_name=NAME)
    assert header.tostring() == before
