"""Missed events, by their numbers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from daemons.events.gaps import GapWatch

SOURCE = "/arriero/forwarder/camera-host"


def missing(watch: GapWatch) -> set[int]:
    return {number for _, gap in watch.gaps() for number in range(gap.first, gap.last + 1)}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_what_is_missing_is_what_was_not_seen_between_those_that_were(numbers: list[int]) -> None:
    watch = GapWatch(patience_s=1.0)
    seen: set[int] = set()
    for number in numbers:
        assert watch.see(SOURCE, number, now=0.0) == (number not in seen)
        seen.add(number)
    expected = set(range(min(seen), max(seen) + 1)) - seen
    assert missing(watch) == expected
    again = GapWatch(patience_s=1.0)
    again.load(json.loads(json.dumps(watch.to_json())))
    assert missing(again) == expected
    assert again.give_up(SOURCE, expected) == len(expected)
    assert not again.gaps()


def test_a_gap_is_asked_for_after_a_while_and_then_ever_more_rarely() -> None:
    watch = GapWatch(patience_s=10.0)
    watch.see(SOURCE, 1, now=0.0)
    watch.see(SOURCE, 4, now=0.0)
    assert watch.ask(now=9.9) == []
    ((source, gap),) = watch.ask(now=10.0)
    assert (source, gap.first, gap.last) == (SOURCE, 2, 3)
    assert watch.ask(now=29.9) == []
    watch.see(SOURCE, 3, now=29.9)
    ((_, gap),) = watch.ask(now=30.0)
    assert (gap.first, gap.last) == (2, 2)
    assert watch.ask(now=69.9) == []
    assert len(watch.ask(now=70.0)) == 1


def test_sources_count_for_themselves() -> None:
    watch = GapWatch(patience_s=1.0)
    watch.see("a", 5, now=0.0)
    watch.see("b", 9, now=0.0)
    watch.see("a", 6, now=0.0)
    assert watch.gaps() == []
    assert watch.give_up("nobody", [1]) == 0
