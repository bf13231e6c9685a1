from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headerservice.quality import Quality
from headerservice.reading import finish, iso_text, read, read_and_finish, split_list
from headerservice.rules import Gate, ReadingRule

FLOAT = ReadingRule(type="float")
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


def quality(rule: ReadingRule, value: Any, **others: Any) -> Quality:
    return read_and_finish(rule, "x", {"x": value, **others}).quality


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, Quality.GOOD),
        (2, Quality.GOOD),
        (0.0, Quality.GOOD),
        (math.nan, Quality.MISSING),
        (math.inf, Quality.INVALID),
        (10**400, Quality.INVALID),
        (6.92400871089033e-310, Quality.INVALID),
        (True, Quality.INVALID),
        ("1.5", Quality.INVALID),
        (None, Quality.MISSING),
        ([1.0], Quality.INVALID),
    ],
)
def test_a_float_is_a_finite_number_and_no_uninitialised_memory(
    value: Any, expected: Quality
) -> None:
    assert quality(FLOAT, value) is expected


@given(value=ANYTHING | st.lists(ANYTHING), kind=st.sampled_from(["str", "int", "float", "bool"]))
def test_no_payload_raises_and_no_bad_float_gets_through(value: Any, kind: Any) -> None:
    reading = read_and_finish(ReadingRule(type=kind, range=(-1e9, 1e9)), "x", {"x": value})
    if reading.good:
        assert isinstance(
            reading.value, {"str": str, "int": int, "float": float, "bool": bool}[kind]
        )
        if isinstance(reading.value, float):
            assert math.isfinite(reading.value)
            assert reading.value == 0 or abs(reading.value) >= sys.float_info.min
    else:
        assert reading.reason


def test_a_field_that_is_absent_is_missing_and_not_zero() -> None:
    reading = read(FLOAT, "x", {"y": 1.0})
    assert reading.quality is Quality.MISSING
    assert "no field x" in reading.reason


def test_values_that_mean_unset_are_no_data() -> None:
    assert quality(ReadingRule(type="float", unset=frozenset({0.0})), 0.0) is Quality.DEFAULT
    both = ReadingRule(type="float", unset_when=(("x", 0.0), ("y", 0.0)))
    assert quality(both, 0.0, y=0.0) is Quality.DEFAULT
    assert quality(both, 0.0, y=3.0) is Quality.GOOD


def test_a_gate_decides_whether_a_value_means_anything() -> None:
    rule = ReadingRule(type="float", gate=Gate("airmass", minimum=1.0))
    assert quality(rule, 0.0, airmass=0.0) is Quality.NOT_APPLICABLE
    assert quality(rule, 0.0, airmass=math.nan) is Quality.NOT_APPLICABLE
    assert quality(rule, 0.0) is Quality.NOT_APPLICABLE
    assert quality(rule, 0.0, airmass=1.2) is Quality.GOOD
    state = ReadingRule(type="float", gate=Gate("mode", one_of=frozenset({"on"})))
    assert quality(state, 1.0, mode="off") is Quality.NOT_APPLICABLE
    assert quality(state, 1.0, mode="on") is Quality.GOOD


def test_an_unknown_enumeration_value_is_told_and_not_written() -> None:
    rule = ReadingRule(type="str", enum={1: "RADEC", 2: "AZEL"})
    assert read_and_finish(rule, "x", {"x": 2}).value == "AZEL"
    unknown = read_and_finish(rule, "x", {"x": 9})
    assert unknown.quality is Quality.INVALID
    assert "9 is no member" in unknown.reason


def test_units_ranges_and_decimals_are_those_of_the_header() -> None:
    rule = ReadingRule(type="float", scale=180 / math.pi, range=(0.0, 360.0), decimals=3)
    assert finish(rule, math.pi).value == 180.0
    assert finish(rule, -0.1).quality is Quality.OUT_OF_RANGE
    tiny = finish(ReadingRule(type="float", decimals=2), -0.0001)
    assert math.copysign(1, float(str(tiny.value))) == 1  # no -0.0 in a header


def test_an_element_of_an_array() -> None:
    rule = ReadingRule(type="float", item=2)
    assert read_and_finish(rule, "x", {"x": [1.0, 2.0, -650.0]}).value == -650.0
    assert quality(rule, [1.0]) is Quality.MISSING
    assert quality(rule, 3.0) is Quality.INVALID
    assert quality(rule, "abc") is Quality.INVALID


def test_an_entry_of_a_keyed_list() -> None:
    rule = ReadingRule(type="str", key="groupId", keys_field="keys")
    fields = {"x": r"OBJECT:2025-12-31T23\:59\:01.000", "keys": "imageType:groupId"}
    assert read_and_finish(rule, "x", fields).value == "2025-12-31T23:59:01.000"
    assert quality(rule, "a:b", keys="imageType:reason") is Quality.MISSING
    assert quality(rule, "a", keys="imageType:groupId") is Quality.INVALID
    assert quality(rule, "a:b", keys=7) is Quality.INVALID


@given(st.lists(st.text(), min_size=1))
def test_lists_with_colons_and_backslashes_come_apart_as_they_were(texts: list[str]) -> None:
    joined = ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in texts)
    assert split_list(joined) == texts


def test_texts_are_made_printable_for_fits() -> None:
    assert finish(ReadingRule(type="str"), "Niño\t x  ").value == "Ni?o? x"


def test_times_are_written_in_the_scale_they_count() -> None:
    seconds = 1_795_273_035.9638321
    assert iso_text(seconds) == "2026-11-21T14:57:15.964"
    mjd = read_and_finish(ReadingRule(type="float", form="mjd_tai"), "x", {"x": seconds}).value
    assert mjd == pytest.approx(61365.62310143, abs=1e-8)
    assert quality(ReadingRule(type="str", form="iso_tai"), -5.0) is Quality.OUT_OF_RANGE
    assert quality(ReadingRule(type="str", form="iso_tai"), 1e300) is Quality.OUT_OF_RANGE
