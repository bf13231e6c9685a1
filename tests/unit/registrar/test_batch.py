"""Images of an exposure are registered together, none is lost, none waits for ever."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from daemons.registrar.batch import Batcher
from tests.support.bare_facts import bare_image

LINGER, LONGEST = 0.15, 1.0


def new_batcher(batch_max: int = 250) -> Batcher[int]:
    return Batcher(linger_s=LINGER, max_wait_s=LONGEST, batch_max=batch_max)


def test_an_exposure_is_due_when_it_has_been_quiet() -> None:
    batcher = new_batcher()
    batcher.add(bare_image(detector=0), 0, now=10.0)
    batcher.add(bare_image(detector=1), 1, now=10.1)

    assert batcher.take_due(10.24) == []
    assert batcher.next_due() == 10.25
    (batch,) = batcher.take_due(10.25)
    assert [token for _image, token in batch.items] == [0, 1]
    assert batcher.next_due() is None


def test_a_stream_that_never_pauses_is_cut_at_the_longest_wait() -> None:
    batcher = new_batcher()
    for step in range(12):
        batcher.add(bare_image(detector=step), step, now=step * 0.1)
    assert len(batcher.take_due(LONGEST)) == 1


def test_a_full_batch_is_due_at_once() -> None:
    batcher = new_batcher(batch_max=2)
    batcher.add(bare_image(detector=0), 0, now=5.0)
    batcher.add(bare_image(detector=1), 1, now=5.0)
    assert len(batcher.take_due(5.0)) == 1


def test_exposures_and_dataset_types_are_kept_apart() -> None:
    batcher = new_batcher()
    batcher.add(bare_image(exposure_id=1), 0, now=0.0)
    batcher.add(bare_image(exposure_id=2), 1, now=0.0)
    batcher.add(bare_image(exposure_id=1, dataset_type="guider_raw"), 2, now=0.0)
    assert len(batcher.take_due(1.0)) == 3


@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 0.5, allow_nan=False)), max_size=60
    ),
    batch_max=st.integers(1, 10),
)
def test_every_image_comes_out_exactly_once_and_in_time(
    arrivals: list[tuple[int, float]], batch_max: int
) -> None:
    batcher = new_batcher(batch_max)
    now, out, added = 0.0, [], {}
    for token, (exposure, pause) in enumerate(arrivals):
        now += pause
        for batch in batcher.take_due(now):
            out += [(each, now) for _image, each in batch.items]
        batcher.add(bare_image(exposure_id=exposure, file_id=uuid4()), token, now=now)
        added[token] = now
    assert len(batcher) == len(arrivals) - len(out)
    due = batcher.next_due()
    while due is not None:
        for batch in batcher.take_due(max(now, due)):
            out += [(each, max(now, due)) for _image, each in batch.items]
        due = batcher.next_due()
    assert sorted(token for token, _when in out) == list(range(len(arrivals)))
    # A step of the clock is at most 0.5 s here, so nothing is late by more than one step.
    assert all(when - added[token] <= LONGEST + 0.5 + 1e-9 for token, when in out)
