"""Units that cards state, against those of their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulated_headers import simulated_file, simulated_header
from translators.checks.files import check_file
from translators.checks.headers import header_findings
from translators.checks.keywords import Keyword, keyword_rules
from translators.checks.units import in_defined_unit, stated_otherwise
from translators.fits.comments import card_units
from translators.inspect import inspect_file


def keyword(unit: str) -> Keyword:
    return Keyword("KEY", "float", unit, None, None, required=False)


def told(value: float, card: str, unit: str) -> str:
    header: dict[str, Any] = dict(simulated_header()) | {card: value}
    found = header_findings(header, units={card: unit})
    sentences = [each.sentence for each in found if each.code == "header.unit"]
    assert len(sentences) <= 1
    assert not [each for each in found if each.code == "header.range"]
    return "".join(sentences)


@pytest.mark.parametrize(
    ("value", "unit", "sentence"),
    [
        (74_310.5, "Pa", ""),
        (
            743.105,
            "hPa",
            "PRESSURE states [hPa] where Pa is defined, and its value 743.105 is in [hPa]",
        ),
        (
            743.105,
            "mbar",
            "PRESSURE states [mbar] where Pa is defined, and its value 743.105 is in [mbar]",
        ),
        (
            74_310.5,
            "hPa",
            (
                "PRESSURE states [hPa] where Pa is defined, though its value 74310.5 is in Pa: the "
                "comment is wrong"
            ),
        ),
        (
            -1.0,
            "hPa",
            "PRESSURE states [hPa] where Pa is defined; its value -1 is plausible in neither",
        ),
        (
            74_310.5,
            "deg",
            (
                "PRESSURE states [deg] where Pa is defined, though its value 74310.5 is in Pa: the "
                "comment is wrong"
            ),
        ),
        (743.105, "Pa", "PRESSURE is 743.105 where"),
        (743.105, "outside", "PRESSURE is 743.105 where"),
    ],
)
def test_comment_and_value_are_judged_together(value: float, unit: str, sentence: str) -> None:
    found = told(value, "PRESSURE", unit)
    assert found.startswith(sentence)
    assert bool(found) is bool(sentence)


def test_a_value_that_fits_both_units_is_told_too() -> None:
    assert told(5.0, "AIRTEMP", "deg_F").endswith("; its value 5 could be in either")


def test_a_correction_has_made_the_comment_old(tmp_path: Path) -> None:
    """A comment is of the value as it was written, not of the one that a rule put there."""
    header = dict(simulated_header())
    units = {"PRESSURE": "hPa"}
    assert header_findings(header, units=units)
    path = tmp_path / f"LSSTCam-{header['OBSID']}.yaml"
    path.write_text("PRESSURE: 74000.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METADATA_CORRECTIONS_PATH", str(tmp_path))
        assert header_findings(header, units=units) == ()


def test_a_file_is_checked_with_the_comments_of_its_cards(tmp_path: Path) -> None:
    path = simulated_file(tmp_path)
    content = path.read_bytes()
    assert check_file(path).findings == ()
    assert b"/ [s] " in content
    path.write_bytes(content.replace(b"/ [s] ", b"/ [h] ", 1))

    found = {each.code: each.sentence for each in check_file(path).findings}

    assert set(found) == {"checksum.wrong", "header.unit"}
    assert "states [h] where s is defined" in found["header.unit"]


def test_the_simulated_camera_states_the_units_of_the_definitions(tmp_path: Path) -> None:
    stated = card_units(inspect_file(simulated_file(tmp_path)).header_block)
    rules = keyword_rules("LSSTCam").keywords
    compared = [name for name in stated if name in rules and rules[name].unit]
    assert len(compared) > 20
    assert not [name for name in compared if stated_otherwise(stated[name], rules[name])]


@pytest.mark.parametrize(
    ("stated", "defined"),
    [
        ("s", "s"),
        ("sec", "s"),
        ("Seconds", "s"),
        ("degrees", "deg"),
        ("DEG", "deg"),
        ("C", "deg_C"),
        ("deg C", "deg_C"),
        ("Celsius", "deg_C"),
        ("hours", "h"),
        ("hourangle", "h"),
        ("m s-1", "m/s"),
        ("m.s-1", "m/s"),
        ("percent", "%"),
        ("torr", "Torr"),
        ("arcsec/pixel", "arcsec/pix"),
        ("arcsec", "arcsec/pix"),
        ("days", "d"),
        ("micron", "um"),
        ("mb", "hPa"),
        ("TAI", "d"),
        ("MJD", "d"),
        ("HH:MM:SS", "h"),
        ("1", "s"),
        ("", "s"),
        (None, "s"),
        ("s", ""),
        ("s", "no unit at all"),
    ],
)
def test_the_same_unit_in_other_words_and_what_is_no_unit_are_silent(
    stated: str | None, defined: str
) -> None:
    assert not stated_otherwise(stated, keyword(defined))


@pytest.mark.parametrize(
    ("stated", "defined"),
    [("ms", "s"), ("rad", "deg"), ("K", "deg_C"), ("hPa", "Pa"), ("deg", "h"), ("um", "mm")],
)
def test_another_unit_is_told(stated: str, defined: str) -> None:
    assert stated_otherwise(stated, keyword(defined))


def test_numbers_are_converted_where_that_is_possible() -> None:
    assert in_defined_unit(1.5, "hPa", keyword("Pa")) == pytest.approx(150.0)
    assert in_defined_unit(283.15, "K", keyword("deg_C")) == pytest.approx(10.0)
    assert in_defined_unit(1.0, "s", keyword("deg")) is None
    assert in_defined_unit(1.0, "what", keyword("deg")) is None


WORDS = st.text("msdegPaCFKhr0129.*/^-()+ %", max_size=12)


@given(stated=st.text(max_size=12) | WORDS, defined=st.sampled_from(["s", "deg_C", "Pa", "h"]))
def test_any_text_in_brackets_is_judged_without_a_fault(stated: str, defined: str) -> None:
    in_defined_unit(1.0, stated, keyword(defined))
    assert stated_otherwise(stated, keyword(defined)) in {True, False}
