"""Mean, least and greatest value over an exposure."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headerservice.summary import Point, Summary, summarize

BEGIN, END = 100.0, 130.0


def points(what: Callable[[float], float], times: list[float]) -> list[Point]:
    return [Point(time, what(time)) for time in times]


def grid(step: float, begin: float = BEGIN - 1, end: float = END + 1) -> list[float]:
    return [begin + index * step for index in range(int((end - begin) / step) + 1)]


def whole(found: Summary | None) -> Summary:
    assert found is not None
    return found


@given(
    offset=st.floats(-100, 100),
    slope=st.floats(-5, 5),
    step=st.floats(0.05, 3.0),
    phase=st.floats(0.0, 1.0),
)
def test_the_mean_of_what_moves_evenly_is_its_middle_whatever_the_samples(
    offset: float, slope: float, step: float, phase: float
) -> None:
    def value(time: float) -> float:
        return offset + slope * time

    times = grid(step, BEGIN - step * (1 + phase), END + step)
    found = whole(summarize(points(value, times), BEGIN, END, stepwise=False, max_age_s=5.0))
    ends = (value(BEGIN), value(END))
    assert found.mean == pytest.approx(sum(ends) / 2, abs=1e-6)
    assert found.least.value == pytest.approx(min(ends), abs=1e-6)
    assert found.greatest.value == pytest.approx(max(ends), abs=1e-6)
    assert found.covered == pytest.approx(1.0)
    assert found.hole_s == 0.0


@given(
    begin=st.floats(0, 359.99),
    speed=st.floats(-4, 4),
    step=st.floats(0.05, 1.0),
)
def test_an_angle_is_followed_across_its_wrap(begin: float, speed: float, step: float) -> None:
    times = grid(step)
    samples = points(lambda time: (begin + speed * (time - BEGIN)) % 360.0, times)
    found = whole(summarize(samples, BEGIN, END, stepwise=False, turn=360.0))
    middle = begin + speed * (END - BEGIN) / 2
    assert (found.mean - middle + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-6)
    reach = found.greatest.value - found.least.value
    assert reach == pytest.approx(abs(speed) * (END - BEGIN), abs=1e-5)


def test_more_samples_in_one_half_do_not_draw_the_mean_there() -> None:
    def value(time: float) -> float:
        return math.sin((time - BEGIN) / (END - BEGIN) * 2 * math.pi)

    times = [*grid(0.01, BEGIN - 1, BEGIN + 15), *grid(0.5, BEGIN + 15.5, END + 1)]
    found = whole(summarize(points(value, times), BEGIN, END, stepwise=False))
    assert found.mean == pytest.approx(0.0, abs=0.01)


def test_a_state_holds_until_the_next_one() -> None:
    samples = [Point(90.0, 1.0), Point(110.0, 4.0), Point(125.0, 2.0)]
    found = whole(summarize(samples, BEGIN, END, stepwise=True))
    assert found.mean == pytest.approx((10 * 1.0 + 15 * 4.0 + 5 * 2.0) / 30)
    assert (found.least.value, found.greatest.value) == (1.0, 4.0)
    assert found.greatest.time == 110.0


def test_a_hole_counts_for_nothing_and_is_told() -> None:
    times = [time for time in grid(0.5) if not 105.0 < time < 115.0]
    samples = points(lambda time: 100.0 if time > 105.0 else 0.0, times)
    found = whole(summarize(samples, BEGIN, END, stepwise=False, max_age_s=3.0))
    assert found.hole_s == pytest.approx(10.0)
    assert found.covered == pytest.approx(20 / 30)
    assert found.mean == pytest.approx(100.0 * 15 / 20)


def test_the_outermost_samples_stand_for_as_long_as_they_may_be_old() -> None:
    samples = points(lambda _: 7.0, grid(0.5, BEGIN + 2, END - 2))
    found = whole(summarize(samples, BEGIN, END, stepwise=False, max_age_s=3.0))
    assert (found.covered, found.hole_s) == (pytest.approx(1.0), 0.0)
    short = whole(summarize(samples, BEGIN - 5, END, stepwise=False, max_age_s=3.0))
    assert short.hole_s == pytest.approx(4.0)


def test_no_sample_in_reach_gives_nothing() -> None:
    assert summarize([], BEGIN, END, stepwise=False) is None
    assert summarize([Point(BEGIN - 60, 1.0)], BEGIN, END, stepwise=True, max_age_s=3.0) is None
    far = [Point(BEGIN - 60, 1.0), Point(END + 60, 2.0)]
    assert summarize(far, BEGIN, END, stepwise=False, max_age_s=3.0) is None


@pytest.mark.parametrize("stepwise", [True, False])
def test_an_exposure_of_no_length_has_the_value_at_its_instant(stepwise: bool) -> None:  # noqa: FBT001 - a parameter
    samples = [Point(BEGIN - 1, 1.0), Point(BEGIN + 1, 3.0)]
    found = whole(summarize(samples, BEGIN, BEGIN, stepwise=stepwise, max_age_s=3.0))
    assert found.mean == pytest.approx(1.0 if stepwise else 2.0)
    assert found.hole_s == 0.0
