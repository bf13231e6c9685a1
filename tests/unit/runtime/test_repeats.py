"""Lines that repeat are counted, never lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemons.runtime.repeats import RepeatLimiter

LINES = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.floats(min_value=0, max_value=30)), max_size=200
)


@given(LINES, st.integers(1, 5), st.integers(2, 4))
def test_every_line_is_written_or_counted(
    lines: list[tuple[str, float]], burst: int, max_keys: int
) -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(burst=burst, window_s=10, max_keys=max_keys)
    written = counted = 0
    now = 0.0
    for key, gap_s in lines:
        now += gap_s
        counted += sum(repeated.count for repeated in limiter.over(now))
        written += limiter.passes(key, now)
        assert len(limiter._windows) <= max_keys
    counted += sum(repeated.count for repeated in limiter.drain())
    assert written + counted == len(lines)
    assert not limiter._windows


def test_a_burst_passes_then_lines_are_held_back_until_the_window_ends() -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(burst=2, window_s=10)
    assert [limiter.passes("a", float(second)) for second in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert limiter.passes("b", 5.0)
    assert list(limiter.over(9.9)) == []
    (repeated,) = limiter.over(10.0)
    assert (repeated.key, repeated.count) == ("a", 3)
    assert limiter.passes("a", 10.0)


def test_a_clock_that_goes_back_ends_windows_instead_of_holding_lines_for_ever() -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(burst=1, window_s=10)
    limiter.passes("a", 1000.0)
    limiter.passes("a", 1001.0)
    assert [repeated.count for repeated in limiter.over(3.0)] == [1]
