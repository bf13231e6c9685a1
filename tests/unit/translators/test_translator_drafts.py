"""A `translator.yaml` that is begun from a header is valid and translates that header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.generic import draft
from translators.generic.definition import Definition, read_definition
from translators.generic.drafting import _CANDIDATES
from translators.generic.translator import GenericTranslator
from translators.instruments_model import Instrument

Cards = dict[str, Any]

MAXIM: Cards = {
    "SIMPLE": True,
    "NAXIS1": 3326,
    "NAXIS2": 2504,
    "DATE-OBS": "2024-11-02T19:45:12.11",
    "EXPTIME": 120.0,
    "IMAGETYP": "Light Frame",
    "FILTER": "Ha 7nm",
    "OBJECT": "NGC 7000",
    "OBJCTRA": "20 58 47",
    "OBJCTDEC": "+44 19 48",
    "OBJCTALT": " 61.2",
    "OBJCTAZ": "290.1",
    "SITELAT": "52 09 03",
    "SITELONG": "04 29 12",
    "AIRMASS": 1.14,
    "INSTRUME": "SBIG STF-8300",
    "TELESCOP": 'Old Observatory 8"',
    "OBSERVER": "",
    "HUMIDITY": None,
}
"""As a common program for amateurs' and university cameras writes it."""
OBSERVATORY: Cards = {
    "INSTRUME": "IFCAM",
    "DATE-OBS": "2024-11-02",
    "UT": "04:12:09.5",
    "EXPTIME": 30,
    "OBSTYPE": "zero",
    "OBSID": "if0231",
    "FILTER": "R",
    "SEQNUM": 231,
    "RA": 204.3,
    "DEC": -29.1,
    "CCDNAME": "left",
    "TIMESYS": "TAI",
}


def drafted(cards: Cards, folder: Path) -> Definition:
    text = draft(cards)
    name = next(line.split('"')[1] for line in text.splitlines() if line.startswith("name: "))
    path = folder / name / "translator.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_definition(path)


def translator(definition: Definition, cards: Cards) -> GenericTranslator:
    """One that is not registered: other tests shall not find it."""
    made: Any = type(GenericTranslator)(
        "Drafted", (GenericTranslator,), {"definition": definition, "_data": None}
    )
    instance: GenericTranslator = made(cards)
    return instance


def test_common_header_is_translated_by_its_draft(tmp_path: Path) -> None:
    definition = drafted(MAXIM, tmp_path)
    found = translator(definition, MAXIM)

    assert definition.name == "SBIGSTF-8300"
    assert definition.instrument().recognises(MAXIM)
    assert not definition.instrument().recognises(OBSERVATORY)
    assert found.to_observation_type() == "science"
    assert found.to_exposure_id() == 202411021945121
    assert found.to_observing_day() == 20241102
    assert found.to_physical_filter() == "Ha 7nm"
    assert found.to_location().lat.deg == pytest.approx(52.15083)
    assert found.to_tracking_radec().ra.deg == pytest.approx(314.6958, abs=1e-4)
    assert found.to_altaz_begin().alt.deg == pytest.approx(61.2)
    assert found.to_boresight_airmass() == 1.14
    assert found.to_observation_id() == "SBIGSTF-8300_20241102_202411021945121"
    assert definition.detectors.entries[0].size_px == (3326, 2504)


def test_observatorys_header_is_translated_by_its_draft(tmp_path: Path) -> None:
    found = translator(drafted(OBSERVATORY, tmp_path), OBSERVATORY)

    assert found.to_observation_type() == "bias"
    assert found.to_datetime_begin().tai.isot == "2024-11-02T04:12:09.500"
    assert found.to_observing_day() == 20241101
    assert found.to_exposure_id() == 2024110100231
    assert found.to_observation_id() == "if0231"
    assert found.to_detector_name() == "left"
    assert found.to_tracking_radec() is None


def test_draft_tells_what_to_do_where_the_header_does_not_say(tmp_path: Path) -> None:
    text = draft({})

    assert drafted({}, tmp_path).name == "MyCamera"
    assert "# No card of the header seems to tell." in text
    assert "# site: " in text
    assert "Check every line" in text


def test_draft_of_an_astropy_header_is_that_of_its_cards() -> None:
    header = fits.Header()
    for keyword, value in MAXIM.items():
        header[keyword] = value

    assert draft(header) == draft(MAXIM)


def test_header_may_hold_anything_but_its_draft_is_valid(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("drafts")
    keywords = sorted({each for known in _CANDIDATES.values() for each in known})
    more = ["INSTRUME", "TELESCOP", "DATE-OBS", "NAXIS1", "NAXIS2", "RA", "DEC", "SITELAT"]
    more += ["SITELONG", "MJD-OBS", "CCDNAME", "OBJCTRA", "OBJCTDEC", "UT", "ALT", "AZ"]
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    values = st.none() | st.booleans() | st.integers() | st.floats() | printable

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from(keywords + more), values, max_size=12))
    def check(cards: Cards) -> None:
        before = dict(cards)
        definition = drafted(cards, folder)
        data: Instrument = definition.instrument()
        assert definition.properties.datetime_begin
        assert repr(cards) == repr(before)
        if isinstance(cards.get("INSTRUME"), str) and cards["INSTRUME"].strip():
            assert data.recognises(cards)

    check()
