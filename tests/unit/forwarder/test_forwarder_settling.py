"""Waiting until a file is quiet, and for what may come later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemons.forwarder.model import FileIdentity, FileKind, FileState, JournalEntry
from daemons.forwarder.patience import longest_wait_s
from daemons.forwarder.roles import Role
from daemons.forwarder.scan import Found
from daemons.forwarder.settling import Settling
from daemons.forwarder.waiting import Later, WaitingRoom

PATH = b"/drop/a.fits"


def found(size_bytes: int) -> Found:
    return Found(PATH, FileIdentity(1, 2, size_bytes, size_bytes), Role.IMAGE)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=20))
def test_a_file_is_taken_only_after_it_was_unchanged_for_the_quiet_time(
    looks: list[tuple[float, bool]],
) -> None:
    settling = Settling()
    now, size, changed_at = 0.0, 0, 0.0
    settling.watch(found(size), quiet_s=0.5, witnessed=True, seen_at=7.0, now=now)
    for step, grows in looks:
        now += step
        if grows:
            size += 1
            changed_at = now
        for file in settling.take_due(now):
            quiet = settling.look_again(file, found(size), now)
            if quiet is not None:
                assert not grows
                assert now - changed_at >= 0.5 - 1e-9
                assert quiet.seen_at == 7.0
                return
            assert PATH in settling


def test_a_file_keeps_its_first_time_and_that_its_end_was_seen() -> None:
    settling = Settling()
    settling.watch(found(1), quiet_s=1.0, witnessed=True, seen_at=1.0, now=0.0)
    settling.watch(found(2), quiet_s=1.0, witnessed=False, seen_at=9.0, now=0.5)
    (file,) = settling.take_due(1.5)
    assert (file.seen_at, file.witnessed) == (1.0, True)
    assert settling.next_due is None


def test_a_file_that_a_notice_puts_back_meanwhile_is_left_to_the_notice() -> None:
    settling = Settling()
    settling.watch(found(1), quiet_s=1.0, witnessed=False, seen_at=1.0, now=0.0)
    (file,) = settling.take_due(2.0)
    settling.watch(found(2), quiet_s=0.2, witnessed=True, seen_at=2.0, now=2.0)
    assert settling.look_again(file, found(2), 2.1) is None
    assert settling.next_due == 2.2


def entry(size_bytes: int = 1) -> JournalEntry:
    return JournalEntry(
        id=5,
        revision=1,
        path=PATH,
        location=PATH,
        identity=FileIdentity(1, 2, size_bytes, 1),
        kind=FileKind.IMAGE,
        state=FileState.DISCOVERED,
        seen_at=0.0,
        changed_at=0.0,
    )


class Hand:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_patience_begins_anew_when_the_file_changes() -> None:
    clock = Hand()
    room = WaitingRoom(clock)
    assert room.waited(entry()) == 0.0
    clock.now = 10.0
    assert room.waited(entry()) == 10.0
    assert room.waited(entry(size_bytes=2)) == 0.0


def test_a_file_that_is_put_off_is_left_alone_until_its_time_or_until_it_is_hurried() -> None:
    clock = Hand()
    room = WaitingRoom(clock)
    room.put_off(1, Later(5.0))
    room.put_off(2, Later(50.0, tag="MC_O_20250501_000001"))
    assert room.put_off_now() == {1, 2}
    assert room.next_due_s == 5.0
    clock.now = 6.0
    assert room.put_off_now() == {2}
    room.hurry_tagged("MC_O_20250501_000002")
    assert room.put_off_now() == {2}
    room.hurry_tagged("MC_O_20250501_000001")
    assert room.put_off_now() == set()
    assert room.next_due_s is None


def test_tries_after_failures_come_ever_later_within_a_bound() -> None:
    room = WaitingRoom(Hand())
    waits = [room.next_try_s(1) for _ in range(40)]
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert waits[-1] == 60.0
    assert room.failures(1) == 40
    room.forget(1)
    assert room.failures(1) == 0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_waits_for_a_dependency_grow_with_the_outage_within_bounds(
    sooner: float, later: float
) -> None:
    sooner, later = sorted((sooner, later))
    first = longest_wait_s(sooner, first_s=0.25, most_s=30.0)
    second = longest_wait_s(later, first_s=0.25, most_s=30.0)
    assert 0.25 <= first <= second <= 30.0
