"""Whatever a header holds: translating it is pure, never crashes, and its result travels."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from astro_metadata_translator import MetadataTranslator, ObservationInfo, fix_header
from astro_metadata_translator.properties import PROPERTIES
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.corrections import correct
from translators.errors import TranslatorsError
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.translate import observation_info, translate

Cards = dict[str, Any]

KEYWORDS = (
    *("OBSID", "IMGNAME", "DAYOBS", "OBS-NITE", "SEQNUM", "CONTRLLR", "RAFTBAY", "CCDSLOT"),
    *("INSTRUME", "TELESCOP", "TELCODE", "CAMCODE", "TSTAND", "RAFTNAME", "SENSNAME", "LSST_NUM"),
    *("MJD", "MJD-BEG", "MJD-OBS", "DATE", "DATE-BEG", "DATE-OBS", "DATE-END", "DATE-TRG"),
    *("TIMESYS", "EXPTIME", "SHUTTIME", "DARKTIME", "IMGTYPE", "OBSTYPE", "TESTTYPE", "GROUPID"),
    *("CURINDEX", "MAXINDEX", "FILTER", "FILTER1", "FILTER2", "FILTPOS", "GRATING", "ROTPA"),
    *("ROTANGLE", "ROTANGZ", "ROTCOORD", "RADESYS", "TRACKSYS", "RA", "DEC", "RASTART"),
    *("DECSTART", "RATEL", "DECTEL", "HASTART", "ZENITH", "AZIMUTH", "ELSTART", "AZSTART"),
    *("ELEND", "AZEND", "AELEND", "AMSTART", "AIRMASS", "VIGN_MIN", "N_STAMPS", "CALIB_ID"),
    *(
        "SIMULATE MTMOUNT",
        "OBJECT",
        "PROGRAM",
        "REASON",
        "RUNNUM",
        "AIRTEMP",
        "PRESSURE",
        "HUMIDITY",
        "FOCUSZ",
    ),
    *("TEMPERA", "PRESS", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z", "FILENAME", "PKG00001", "VER00001"),
    *("IMAGETYP", "FRAMENO", "GROUP", "CHIP", "JD", "OBJCTRA", "OBJCTDEC", "EQUINOX", "ROOF"),
    *("OBJCTALT", "OBJCTAZ", "ROTATOR", "FOCUSPOS", "OUTTEMP", "BARO", "CREATOR", "EXPOSURE"),
)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=24)
LIKELY = st.sampled_from(
    [
        *("2025-05-02T04:12:47.100", "1970-01-01T00:00:00", "20250501", "2025-05-01", "TAI", "UTC"),
        *("R22", "S11", "SG0", "OBJECT", "BIAS", "FLAT", "RADEC", "GAPPT", "FK5", "NaN", "O", "H"),
        *("LCA-11021_RTM-011-Dev", "12:34:56.7", "-12 34 56", "empty_1", "light frame", "r'"),
        *("IMSIM", "PHOSIM", "TS8", "", "UNKNOWN", "2025-05-02T04:12:40.123#1"),
    ]
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | PRINTABLE | LIKELY | st.just(60797.2)
)
CHANGES = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=12)
COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def recognised(name: str) -> Cards:
    """Return the cards by which an instrument's headers are known."""
    entry = TRANSLATORS[name].data().recognise[0]
    return {card: values[0] for card, values in entry.items()}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Strange headers make astropy warn and astro-metadata-translator log; both is right."""
    with caplog.at_level(logging.CRITICAL + 1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def relaxed(cards: Any, translator: type[MetadataTranslator]) -> ObservationInfo:
    with offline():
        return ObservationInfo(cards, translator_class=translator, quiet=True)


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
def test_relaxed_translation_of_any_header_leaves_out_what_it_cannot_make(
    name: str, sky_header: Cards
) -> None:
    @COMMON
    @given(CHANGES, st.booleans())
    def check(changes: Cards, bare: bool) -> None:  # noqa: FBT001 - drawn
        cards = (recognised(name) if bare else sky_header | recognised(name)) | changes
        info = relaxed(dict(cards), TRANSLATORS[name])
        for each, definition in PROPERTIES.items():
            assert definition.is_value_conformant(getattr(info, each)), each

    check()


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
def test_pedantic_translation_of_any_header_raises_what_is_documented(
    name: str, sky_header: Cards
) -> None:
    @settings(COMMON, max_examples=40)
    @given(CHANGES)
    def check(changes: Cards) -> None:
        cards = sky_header | recognised(name) | changes
        with suppress(KeyError, TypeError), offline():
            info = ObservationInfo(dict(cards), translator_class=TRANSLATORS[name], pedantic=True)
            assert info.instrument == name

    check()


@COMMON
@given(name=st.sampled_from(sorted(TRANSLATORS)), changes=CHANGES, file_name=PRINTABLE)
def test_translation_is_pure(sky_header: Cards, name: str, changes: Cards, file_name: str) -> None:
    cards = sky_header | recognised(name) | changes
    before = copy.deepcopy(cards)
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append(json.dumps(translate(cards, file_name=file_name).observation))
        except TranslatorsError as error:
            outcomes.append(str(error))

    assert repr(cards) == repr(before)
    assert outcomes[0] == outcomes[1]


@COMMON
@given(name=st.sampled_from(sorted(TRANSLATORS)), changes=CHANGES)
def test_record_of_any_header_is_the_same_after_a_journey(
    sky_header: Cards, name: str, changes: Cards
) -> None:
    with suppress(TranslatorsError):
        record = translate(sky_header | recognised(name) | changes, file_name="a.fits").observation
        if record is not None:
            info = observation_info(record)
            assert observation_info(json.loads(json.dumps(record, allow_nan=False))) == info
            with offline():
                assert ObservationInfo.from_json(info.to_json()) == info
            assert pickle.loads(pickle.dumps(info)) == info  # noqa: S301 - just made


@COMMON
@given(
    name=st.sampled_from(sorted(TRANSLATORS)),
    changes=CHANGES,
    day=st.sampled_from([None, "20231107", "20250302", "20250422", "20250518", "20260315"]),
)
def test_corrections_twice_are_corrections_once(
    sky_header: Cards, name: str, changes: Cards, day: str | None
) -> None:
    header = sky_header | recognised(name) | {"DAYOBS": day} | changes
    correct(header, name)
    once = repr(header)

    assert correct(header, name) == ()
    assert repr(header) == once


@COMMON
@given(name=st.sampled_from(sorted(TRANSLATORS)), changes=CHANGES)
def test_header_of_astropy_is_translated_like_a_mapping(
    sky_header: Cards, name: str, changes: Cards
) -> None:
    cards = {
        keyword: value
        for keyword, value in (sky_header | recognised(name) | changes).items()
        # FITS has no form of these.
        if not (isinstance(value, float) and value - value != 0)
        and not (isinstance(value, int) and abs(value) >= 2**63)
    }
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword if " " not in keyword else f"HIERARCH {keyword}"] = value

    plain = relaxed(dict(cards), TRANSLATORS[name])

    assert repr(relaxed(header, TRANSLATORS[name]).to_simple()) == repr(plain.to_simple())


def test_astropy_header_is_corrected_like_a_mapping(sky_header: Cards) -> None:
    cards = sky_header | {"DAYOBS": "20250302", "OBSID": "MC_O_20250302_000123", "AIRTEMP": None}
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword if " " not in keyword else f"HIERARCH {keyword}"] = value
    plain = dict(cards)

    for each in (header, plain):
        assert fix_header(each, translator_class=TRANSLATORS["LSSTCam"])

    assert header["ROTPA"] == plain["ROTPA"] == -56.75
    assert header["ARRIERO ORIGINAL ROTPA"] == 33.25
    assert correct(header, "LSSTCam") == ()
    again = fits.Header.fromstring(header.tostring())
    assert correct(again, "LSSTCam") == ()
    assert again["ROTPA"] == -56.75
