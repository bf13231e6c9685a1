from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headerservice.gaps import REORDER_S, SEQUENCE_MAX, GapWatch
from tests.unit.headerservice.rig import message


def heard(watch: GapWatch, sequence: int, now: float, origin: int = 1) -> int:
    said = message("MTMount.azimuth", {}, 0.0, sequence=sequence, origin=origin)
    return watch.heard(said, now=now)


@given(
    start=st.sampled_from([1, 500, SEQUENCE_MAX - 20]),
    lost=st.sets(st.integers(1, 48)),
    shuffle=st.randoms(use_true_random=False),
)
def test_lost_messages_are_counted_and_overtaking_ones_are_not(
    start: int, lost: set[int], shuffle: object
) -> None:
    watch = GapWatch()
    numbers = [step for step in range(50) if step not in lost]
    # Neighbours overtake each other, as the partitions of a topic let them.
    for index in range(1, len(numbers) - 2, 2):
        if shuffle.random() < 0.5:  # type: ignore[attr-defined]
            numbers[index], numbers[index + 1] = numbers[index + 1], numbers[index]
    counted = sum(heard(watch, (start + step - 1) % SEQUENCE_MAX + 1, 0.0) for step in numbers)
    assert counted == 0
    assert heard(watch, (start + 50 - 1) % SEQUENCE_MAX + 1, REORDER_S + 1) == len(lost)
    assert heard(watch, (start + 51 - 1) % SEQUENCE_MAX + 1, REORDER_S + 2) == 0


def test_a_sender_that_begins_anew_has_lost_nothing() -> None:
    watch = GapWatch()
    heard(watch, 1_000_000, 0.0)
    heard(watch, 1, 1.0, origin=2)
    assert heard(watch, 2, 10.0, origin=2) == 0
    heard(watch, 5_000_000, 11.0)
    assert heard(watch, 5_000_001, 30.0) == 0
