"""Batches that are lost on the way are put together again, whatever is lost."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from translators.audit.model import Batch, Item, Verdict, lost
from translators.audit.pieces import Done, Pieces


def blame(item: Item) -> Verdict:
    return lost(item, "audit.crashed", "it did it")


def verdicts(piece: Batch) -> list[Verdict]:
    return [Verdict(item.number, ()) for item in piece]


@given(
    st.lists(st.integers(1, 5), max_size=6),
    st.sets(st.integers(0, 29)),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_every_batch_comes_back_whole_with_the_bad_files_blamed(
    sizes: list[int], bad: set[int], chance: random.Random, at_once: int
) -> None:
    numbers = iter(range(100))
    batches = [tuple(Item(next(numbers), "a") for _ in range(size)) for size in sizes]
    pieces, flying, found = Pieces(iter(batches)), [], []

    def take(done: Done | None) -> None:
        if done is not None:
            found.append(done)

    while True:
        while len(flying) < at_once and (piece := pieces.next()):
            flying.append(piece)
        if not flying:
            break
        piece = flying.pop(chance.randrange(len(flying)))
        if any(item.number in bad for item in piece):
            take(pieces.lost(piece, blame))
        else:
            take(pieces.done(piece, verdicts(piece)))

    assert {batch for batch, _ in found} == set(batches)
    assert len(found) == len(batches)
    for batch, told in found:
        assert [verdict.number for verdict in told] == [item.number for item in batch]
        assert {verdict.number for verdict in told if verdict.images} == bad & {
            item.number for item in batch
        }


def test_file_is_blamed_at_once_where_nobody_else_can_have_done_it() -> None:
    piece = (Item(1, "a"),)
    pieces = Pieces([piece])
    assert pieces.next() == piece

    done = pieces.lost(piece, blame, certain=True)

    assert done is not None
    assert done[1][0].images[0].findings[0].code == "audit.crashed"
    assert pieces.next() is None


def test_file_is_looked_at_again_before_it_is_blamed() -> None:
    piece = (Item(1, "a"),)
    pieces = Pieces([piece])
    assert pieces.next() == piece
    assert pieces.lost(piece, blame) is None
    assert pieces.next() == piece
    assert pieces.done(piece, verdicts(piece)) == (piece, verdicts(piece))
