from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.runtime.clock import TaiSeconds
from daemons.runtime.errors import SettingsError
from daemons.simulators.night import (
    FILTER_CHANGE_S,
    FILTERS,
    IMAGE_TELEMETRY_S,
    READOUT_S,
    Exposure,
    ImageType,
    Night,
    NightSpec,
    SkyAim,
    day_obs_at,
    group_id,
    night_start,
    plan_night,
)
from daemons.simulators.sky import Sky, rotator_angle

DAY = 20261103
specs = st.builds(
    NightSpec,
    day_obs=st.sampled_from([20250101, 20260621, 20261103, 20280229]),
    exposures=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    start=st.sampled_from([20250101, 20260621, 20261103]).map(night_start),
    first_seq=st.integers(1, 9000),
    calibrations=st.none() | st.integers(0, 12),
    exposure_time_s=st.floats(0.5, 60.0).map(lambda seconds: round(seconds, 3)),
)
nights = specs.map(plan_night)


def _science(night: Night) -> list[Exposure]:
    return [each for each in night.exposures if each.image_type is ImageType.OBJECT]


@settings(deadline=None, max_examples=30)
@given(specs)
def test_the_same_specification_gives_the_same_night(spec: NightSpec) -> None:
    assert plan_night(spec) == plan_night(spec)


def test_another_seed_gives_another_night() -> None:
    first, second = (plan_night(NightSpec(DAY, 12, seed, night_start(DAY))) for seed in (1, 2))
    assert first.exposures != second.exposures


@settings(deadline=None, max_examples=30)
@given(nights)
def test_names_count_from_the_first_sequence_number(night: Night) -> None:
    spec = night.spec
    assert [each.obs_id for each in night.exposures] == [
        f"MC_O_{spec.day_obs}_{spec.first_seq + place:06d}" for place in range(spec.exposures)
    ]


@settings(deadline=None, max_examples=30)
@given(nights)
def test_instants_of_an_exposure_follow_the_camera(night: Night) -> None:
    for each in night.exposures:
        lit = each.start_readout - each.start_integration
        assert lit >= each.exposure_time_s
        assert each.dark_time_s == pytest.approx(lit, abs=1e-3)
        assert each.end_readout - each.start_readout == pytest.approx(READOUT_S, abs=1e-3)
        telemetry = each.end_of_image_telemetry - each.end_readout
        assert telemetry == pytest.approx(IMAGE_TELEMETRY_S, abs=1e-3)
        assert (each.shutter_open_s > 0) == (each.image_type in {ImageType.FLAT, ImageType.OBJECT})


@settings(deadline=None, max_examples=30)
@given(nights)
def test_an_exposure_begins_after_the_readout_of_the_last_one(night: Night) -> None:
    for before, after in pairwise(night.exposures):
        assert after.start_integration > before.end_readout
        assert before.start_readout <= after.slew <= after.start_integration


def test_some_calibrations_begin_before_the_telemetry_of_the_last_one_is_complete() -> None:
    night = plan_night(NightSpec(DAY, 30, 1, night_start(DAY), calibrations=30))
    overlaps = [
        after.start_integration < before.end_of_image_telemetry
        for before, after in pairwise(night.exposures)
    ]
    assert any(overlaps)
    assert not all(overlaps)


@settings(deadline=None, max_examples=30)
@given(nights)
def test_visits_are_announced_twenty_seconds_ahead(night: Night) -> None:
    for each in night.exposures:
        if each.image_type is ImageType.OBJECT:
            assert each.next_visit is not None
            assert each.start_integration - each.next_visit >= 20.0
        else:
            assert each.next_visit is None


@settings(deadline=None, max_examples=30)
@given(nights)
def test_targets_are_well_up_and_within_the_rotator_s_limits(night: Night) -> None:
    sky = Sky(night.spec.start)
    for each in _science(night):
        assert isinstance(each.aim, SkyAim)
        for instant in (each.start_integration, each.start_readout):
            seen = sky.horizontal(each.aim.ra_deg, each.aim.dec_deg, instant)
            assert 30.0 < seen.elevation_deg < 88.0
            assert abs(rotator_angle(seen.parallactic_deg, each.aim.sky_angle_deg)) < 90.0


@settings(deadline=None, max_examples=30)
@given(nights)
def test_calibrations_come_first_and_are_as_many_as_asked_for(night: Night) -> None:
    spec = night.spec
    kinds = [each.image_type is ImageType.OBJECT for each in night.exposures]
    assert kinds == sorted(kinds)
    expected = (
        min(4, spec.exposures // 3)
        if spec.calibrations is None
        else min(spec.calibrations, spec.exposures)
    )
    assert kinds.count(False) == expected


def test_a_night_has_every_kind_of_exposure(night: Night) -> None:
    assert {each.image_type for each in night.exposures} == set(ImageType)


@settings(deadline=None, max_examples=30)
@given(nights)
def test_the_carousel_holds_the_filters_and_takes_its_time(night: Night) -> None:
    used = {each.filter for each in night.exposures}
    assert used <= set(FILTERS)
    assert len({each.slot for each in used}) == len(used)
    for before, after in pairwise(night.exposures):
        if after.filter != before.filter:
            assert after.filter_change is not None
            assert before.end_readout < after.filter_change
            assert after.start_integration - after.filter_change >= FILTER_CHANGE_S - 0.5
        else:
            assert after.filter_change is None


@settings(deadline=None, max_examples=30)
@given(nights)
def test_groups_are_visits_or_sequences(night: Night) -> None:
    groups: dict[str, list[Exposure]] = {}
    for each in night.exposures:
        groups.setdefault(each.group_id, []).append(each)
    for members in groups.values():
        assert [each.image_index for each in members] == list(range(1, len(members) + 1))
        assert {each.images_in_sequence for each in members} == {len(members)}


@settings(deadline=None, max_examples=30)
@given(nights)
def test_instants_are_whole_milliseconds(night: Night) -> None:
    for each in night.exposures:
        for instant in (each.start_integration, each.start_readout, each.end_readout):
            assert instant == round(instant, 3)


def test_a_night_without_a_start_begins_in_the_evening_of_its_day() -> None:
    start = night_start(DAY)
    assert group_id(start) == "2026-11-04T01:00:00.000"
    assert day_obs_at(start) == DAY


@pytest.mark.parametrize("day_obs", [20261301, 20260230, 7])
def test_a_day_that_does_not_exist_is_refused(day_obs: int) -> None:
    with pytest.raises(SettingsError, match="YYYYMMDD"):
        night_start(day_obs)


def test_the_day_changes_at_noon_tai() -> None:
    noon = TaiSeconds(night_start(DAY) + 11 * 3600)
    assert day_obs_at(TaiSeconds(math.nextafter(noon, 0) - 1)) == DAY
    assert day_obs_at(noon) == DAY + 1
