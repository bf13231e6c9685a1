"""The headers of one exposure against each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.simulators.focal_plane import sensors
from daemons.simulators.night import ImageType
from tests.support.simulated_headers import image_of, simulated_header
from translators.checks.agreement import agreement_findings
from translators.checks.files import CheckedFile, check_exposures, check_header
from translators.findings import Finding

CHOSEN = ("R22_S11", "R01_S20", "R44_SW0", "R10_S12", "R33_S21")


def checked(sensor: str, **cards: Any) -> CheckedFile:
    header = simulated_header(ImageType.OBJECT, sensor) | cards
    name = f"{image_of(ImageType.OBJECT).obs_id}_{sensor}.fits"
    return check_header(header, source=name)


def findings_of(*files: CheckedFile) -> tuple[Finding, ...]:
    (exposure,) = check_exposures(files)
    assert exposure.files == len(files)
    return exposure.findings


def test_the_205_files_of_a_simulated_exposure_agree() -> None:
    names = [name for name in sensors() if "SG" not in name]
    assert findings_of(*map(checked, names)) == ()


def test_the_detector_that_stands_apart_is_named_with_what_most_say() -> None:
    apart = checked("R10_S12", OBJECT="Vela_SNR", FILTER="g_6", FILTBAND="g")
    (finding,) = findings_of(*map(checked, CHOSEN[:3]), apart, checked(CHOSEN[4]))
    assert finding.code == "agreement.differs"
    assert finding.sentence.startswith("R10_S12 stand apart in 3 cards")
    assert "'g_6', 'r" in finding.sentence.replace("FILTER is 'g_6', ", "'g_6', ") or (
        "FILTER is 'g_6'" in finding.sentence
    )
    assert "for the other 4" in finding.sentence


def test_two_that_contradict_each_other_are_both_named() -> None:
    (finding,) = findings_of(checked("R22_S11"), checked("R01_S20", OBJECT="elsewhere"))
    assert finding.code == "agreement.differs"
    assert "R22_S11, R01_S20" in finding.sentence
    assert "elsewhere" in finding.sentence


def test_a_writer_that_got_no_values_is_named_with_its_cards() -> None:
    lost = dict.fromkeys(("RA", "DEC", "ROTPA", "AIRTEMP"))
    (finding,) = findings_of(*map(checked, CHOSEN[:3]), checked("R10_S12", **lost))
    assert finding.code == "agreement.undefined"
    assert "R10_S12 (1 detectors): 4 cards are undefined" in finding.sentence


def test_also_where_most_got_no_values_those_are_named() -> None:
    lost = dict.fromkeys(("RA", "DEC"))
    files = [checked(name, **lost) for name in CHOSEN[:3]]
    (finding,) = findings_of(*files, checked(CHOSEN[3]))
    assert finding.code == "agreement.undefined"
    assert "(3 detectors)" in finding.sentence


def test_a_detector_that_comes_twice_is_told() -> None:
    found = findings_of(checked("R22_S11"), checked("R22_S11"), checked("R01_S20"))
    assert [each.code for each in found] == ["agreement.detector_twice"]


def test_files_of_different_exposures_are_not_compared() -> None:
    dark = simulated_header(ImageType.DARK)
    other = check_header(dark, source=f"{image_of(ImageType.DARK).obs_id}_R22_S11.fits")
    assert check_exposures([checked("R22_S11"), other]) == ()


def test_guider_stamps_are_left_out(guider_header: dict[str, Any]) -> None:
    guider = check_header(guider_header, source="MC_O_20250501_000123_R00_SG0_guider.fits")
    assert guider.identity is not None
    assert check_exposures([guider, guider]) == ()


def test_cards_that_differ_by_policy_are_left_out() -> None:
    headers = [("A", {"X": 1, "Y": 2.0}), ("B", {"X": 1, "Y": 3.0})]
    assert agreement_findings(headers, own={"Y"}) == ()
    assert len(agreement_findings(headers, own=())) == 1


def test_a_card_that_one_kind_of_sensor_does_not_have_is_no_disagreement() -> None:
    assert agreement_findings([("A", {"X": 1}), ("B", {"X": 1, "Y": None})], own=()) == ()


def test_not_a_number_agrees_with_itself() -> None:
    nan = float("nan")
    assert agreement_findings([("A", {"X": nan}), ("B", {"X": nan})], own=()) == ()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare_is_agreement(count: int) -> None:
    assert agreement_findings([("A", {"X": 1})] * count, own=()) == ()


VALUES = st.none() | st.booleans() | st.integers(0, 2) | st.floats() | st.text(max_size=2)
HEADERS = st.dictionaries(st.sampled_from("XYZ"), VALUES)


@given(st.lists(st.tuples(st.sampled_from("ABCD"), HEADERS), max_size=6))
def test_any_headers_can_be_compared(headers: list[tuple[str, dict[str, Any]]]) -> None:
    agreement_findings(headers, own=())


@given(HEADERS, st.integers(1, 5))
def test_the_same_header_always_agrees(header: dict[str, Any], count: int) -> None:
    assert agreement_findings([(str(n), header) for n in range(count)], own=()) == ()
