"""The life cycle of a file, and what a sighting means."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.forwarder.errors import ForbiddenMoveError
from daemons.forwarder.model import (
    TRANSITIONS,
    WAITING,
    FileIdentity,
    FileKind,
    FileState,
    JournalEntry,
    Reason,
    Sighting,
    blocking,
    check_move,
    judge_sighting,
    shown,
)
from translators.findings import Finding, Severity

identities = st.builds(
    FileIdentity,
    device=st.integers(0, 2),
    inode=st.integers(0, 3),
    size_bytes=st.integers(0, 2),
    ctime_ns=st.integers(0, 3),
)
entries = st.builds(
    JournalEntry,
    id=st.integers(1, 9),
    revision=st.just(1),
    path=st.just(b"/drop/a.fits"),
    location=st.sampled_from([b"/drop/a.fits", b"/quarantine/a.fits"]),
    identity=identities,
    kind=st.sampled_from(FileKind),
    state=st.sampled_from(FileState),
    seen_at=st.just(0.0),
    changed_at=st.just(0.0),
    reason=st.sampled_from([None, str(Reason.GONE), str(Reason.REFUSED)]),
)


def test_every_state_can_be_reached_and_only_released_is_the_end() -> None:
    reached, frontier = {FileState.DISCOVERED}, [FileState.DISCOVERED]
    while frontier:
        for after in TRANSITIONS[frontier.pop()] - reached:
            reached.add(after)
            frontier.append(after)
    assert reached == set(FileState)
    assert [state for state in FileState if not TRANSITIONS[state]] == [FileState.RELEASED]


def test_what_was_stored_never_goes_back() -> None:
    sent = {
        FileState.STORED,
        FileState.ANNOUNCED,
        FileState.REGISTERED,
        FileState.RELEASED,
    }
    for state in sent:
        assert TRANSITIONS[state] <= sent


@given(st.sampled_from(FileState), st.sampled_from(FileState))
def test_a_move_is_refused_exactly_where_the_table_has_none(
    before: FileState, after: FileState
) -> None:
    if after in TRANSITIONS[before]:
        check_move(before, after)
    else:
        with pytest.raises(ForbiddenMoveError, match=f"from {before} to {after}"):
            check_move(before, after)


@given(st.none() | entries, identities)
def test_a_sighting_never_drops_content_that_the_journal_does_not_know(
    known: JournalEntry | None, seen: FileIdentity
) -> None:
    sighting = judge_sighting(known, seen)
    if sighting is Sighting.KNOWN:
        assert known is not None
        assert known.identity == seen
        assert not (known.state is FileState.FAILED and known.reason == Reason.GONE)
    else:
        assert known is None or known.identity != seen or sighting is Sighting.RETURNED


@given(entries, identities)
def test_a_sighting_gives_up_an_entry_only_before_it_is_stored(
    known: JournalEntry, seen: FileIdentity
) -> None:
    if judge_sighting(known, seen) in {Sighting.GREW, Sighting.REPLACED}:
        assert known.state in WAITING
        assert known.location == known.path


@given(entries, identities)
def test_a_sighting_asks_only_for_moves_that_the_life_cycle_has(
    known: JournalEntry, seen: FileIdentity
) -> None:
    sighting = judge_sighting(known, seen)
    if sighting in {Sighting.GREW, Sighting.RETURNED}:
        check_move(known.state, FileState.DISCOVERED)
    if sighting is Sighting.REPLACED:
        check_move(known.state, FileState.FAILED)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_64_bit_inodes_fit_into_sqlite_and_stay_distinct(one: int, other: int) -> None:
    def identity(inode: int) -> FileIdentity:
        fields = [0o100644, inode, inode, 1, 0, 0, 7, 0, 0, 0]
        return FileIdentity.from_stat(os.stat_result(fields, {"st_ctime_ns": 5}))

    first, second = identity(one), identity(other)
    assert -(2**63) <= first.inode < 2**63
    assert first.same_inode(second) == (one == other)


@given(st.binary(min_size=1))
def test_any_name_can_be_shown_and_written_as_utf8(name: bytes) -> None:
    assert shown(name).encode("utf-8")


def test_only_errors_that_nobody_waived_set_a_file_aside() -> None:
    findings = (
        Finding("a", Severity.ERROR, "A"),
        Finding("b", Severity.WARNING, "B"),
        Finding("c", Severity.ERROR, "C"),
    )
    assert [finding.code for finding in blocking(findings, ())] == ["a", "c"]
    assert [finding.code for finding in blocking(findings, ("a",))] == ["c"]
    assert blocking((replace(findings[0], severity=Severity.INFO),), ()) == ()
