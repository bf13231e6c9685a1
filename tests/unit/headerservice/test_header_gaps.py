from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headerservice.gaps import REORDER_S, SEQUENCE_MAX, GapWatch
from tests.unit.headerservice.rig import message


def heard(
    watch: GapWatch, sequence: int, now: float, origin: int = 1, sent: float | None = None
) -> int:
    at = now if sent is None else sent
    said = message("MTMount.azimuth", {}, at, sequence=sequence, origin=origin)
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


def test_a_count_that_begins_anew_in_the_same_process_is_no_loss() -> None:
    # In a container every process has the number 1, and identity stays what it was.
    watch = GapWatch()
    for step in range(50):
        assert heard(watch, 900 + step, float(step), sent=1000.0 + step) == 0
    lost = [heard(watch, 1 + step, 60.0 + step, sent=1100.0 + step) for step in range(30)]
    assert lost == [0] * 30


def test_a_loss_after_a_new_count_is_noticed() -> None:
    watch = GapWatch()
    heard(watch, 900, 0.0, sent=1000.0)
    heard(watch, 1, 1.0, sent=1001.0)
    heard(watch, 5, 2.0, sent=1005.0)
    assert heard(watch, 6, 2.0 + REORDER_S + 1, sent=1006.0) == 3


def test_an_outage_of_thousands_of_messages_is_counted_at_once() -> None:
    watch = GapWatch()
    heard(watch, 1, 0.0)
    assert heard(watch, 3002, 60.0) == 3000
    assert heard(watch, 3003, 61.0) == 0


def test_a_message_that_came_twice_is_no_loss_and_no_new_count() -> None:
    watch = GapWatch()
    assert [heard(watch, number, 0.0) for number in (7, 7, 8, 8, 9)] == [0] * 5
    assert heard(watch, 10, REORDER_S + 1) == 0
