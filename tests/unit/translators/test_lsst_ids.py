"""Numbers of exposures, visits and detector images; examples are those of real exposures."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translators.lsst.ids import (
    CONTROLLERS,
    MAX_SEQ_NUM,
    detector_exposure_id,
    exposure_id,
    parse_day_obs,
    visit_id,
)

DAYS = st.dates(date(2018, 1, 1), date(2050, 12, 31)).map(lambda day: int(f"{day:%Y%m%d}"))
SEQ_NUMS = st.integers(0, MAX_SEQ_NUM)


@pytest.mark.parametrize(
    ("day_obs", "seq_num", "controller", "expected"),
    [
        (20231004, 1, "C", 3023100400001),
        (20231005, 1, "C", 2023100500001),
        (20250417, 42, "S", 7025041700042),
        (20250418, 42, "S", 2025041800042),
        (20250417, 42, "P", 5025041700042),
        (20250417, 42, "Q", 6025041700042),
        (20250418, 42, "P", 2025041800042),
        (20240318, 1, "H", 4024031800001),
        (20260318, 1, "H", 4026031800001),
        (20250415, 60, "O", 2025041500060),
        (20250415, 60, None, 2025041500060),
        (20501231, 99_999, "S", 2050123199999),
    ],
)
def test_exposure_id(day_obs: int, seq_num: int, controller: str | None, expected: int) -> None:
    assert exposure_id(day_obs, seq_num, controller) == expected


@pytest.mark.parametrize(
    ("seq_num", "controller"), [(100_000, "O"), (-1, "O"), (1, "X"), (1, "OC")]
)
def test_impossible_exposure_id_is_refused(seq_num: int, controller: str) -> None:
    with pytest.raises(ValueError, match=r"outside 0 to 99999|is none of O, C, H, P, Q, S"):
        exposure_id(20250415, seq_num, controller)


@given(DAYS, DAYS, SEQ_NUMS, SEQ_NUMS)
def test_different_exposures_of_a_controller_have_different_ids(
    day: int, other_day: int, seq_num: int, other_seq_num: int
) -> None:
    same = (day, seq_num) == (other_day, other_seq_num)
    for controller in CONTROLLERS:
        ids = (
            exposure_id(day, seq_num, controller),
            exposure_id(other_day, other_seq_num, controller),
        )
        assert (ids[0] == ids[1]) is same


@given(DAYS.filter(lambda day: day <= 20231004), SEQ_NUMS)
def test_controllers_count_apart_at_first(day: int, seq_num: int) -> None:
    assert len({exposure_id(day, seq_num, controller) for controller in CONTROLLERS}) == 6


@pytest.mark.parametrize(
    "value", [20250415, "20250415", "2025-04-15", "2025-04-15T23:59:59.999", " 20250415 "]
)
def test_observing_day_is_read_in_every_form(value: object) -> None:
    assert parse_day_obs(value) == 20250415


@pytest.mark.parametrize("value", [None, "", "20250", "yesterday", 1.5])
def test_what_is_no_observing_day_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no observing day"):
        parse_day_obs(value)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("2025041500060", 2025041500060),
        ("2025-04-16T00:53:10.143", 3246943901430000),
        ("2025-04-16T07:03:14.565#1", 3247165945650001),
        ("2025-04-16T07:03:14.565+12", 3247165945650012),
    ],
)
def test_visit_id_of_a_group(group: str, expected: int) -> None:
    assert visit_id(group) == expected


def test_visit_id_of_any_text_is_made_of_its_digest() -> None:
    digest = int(hashlib.blake2b(b"CALSET_20181117_100000").hexdigest()[:14], base=16)

    assert visit_id("CALSET_20181117_100000") == int(f"{digest}22")


@given(st.text(max_size=60))
def test_every_group_has_a_visit_id(group: str) -> None:
    assert isinstance(visit_id(group), int)


def test_detector_exposure_id_of_a_real_image() -> None:
    assert detector_exposure_id(2025041500060, 1) == 0xAE7803C01


@pytest.mark.parametrize(
    ("exposure", "detector"),
    [
        (2025041500060, 256),
        (2025041500060, -1),
        (2025041532768, 1),
        (9025041500060, 1),
        (1025041500060, 1),
        (2009123100001, 1),
    ],
)
def test_what_does_not_fit_has_no_packed_id(exposure: int, detector: int) -> None:
    assert detector_exposure_id(exposure, detector) is None


@given(
    st.integers(0, 12_000),
    st.integers(0, 32_767),
    st.integers(0, 204),
    st.sampled_from(CONTROLLERS),
)
def test_packed_id_can_be_taken_apart(
    days: int, seq_num: int, detector: int, controller: str
) -> None:
    day = date(2010, 1, 1) + timedelta(days=days)
    number = CONTROLLERS.index(controller)
    exposure = int(f"{int(f'{day:%Y%m%d}') + 10_000_000 * number}{seq_num:05d}")

    packed = detector_exposure_id(exposure, detector)

    assert packed is not None
    rest, low = divmod(packed, 256)
    rest, seq = divmod(rest, 32_768)
    index, ordinal = divmod(rest, 16_384)
    assert (low, seq, ordinal, index) == (detector, seq_num, days, number)
