"""The health board."""

from __future__ import annotations

from daemons.runtime.health import Dependency, HealthBoard


def test_an_expected_dependency_is_not_ready_before_it_was_reached() -> None:
    board = HealthBoard()
    assert board.ready
    board.expect("store")
    assert not board.ready
    assert board.dependencies["store"].reason == "not reached yet"


def test_expecting_again_keeps_what_was_reported() -> None:
    board = HealthBoard()
    board.report("store", ok=True, reason="s3://bucket")
    board.expect("store")
    assert board.ready


def test_since_moves_only_when_a_dependency_comes_or_goes() -> None:
    board = HealthBoard()
    board.report("broker", ok=False, reason="refused")
    first = board.dependencies["broker"].since
    board.report("broker", ok=False, reason="timed out")
    assert board.dependencies["broker"].since == first
    assert board.dependencies["broker"].reason == "timed out"
    board.report("broker", ok=True, reason="kafka://b")
    assert board.dependencies["broker"].since >= first
    assert board.ready


def test_listeners_hear_changes_and_not_repetitions() -> None:
    board = HealthBoard()
    heard: list[Dependency] = []
    board.on_change(heard.append)
    for ok in (False, False, True, True, False):
        board.report("broker", ok=ok, reason="")
    assert [dependency.ok for dependency in heard] == [False, True, False]


def test_one_missing_dependency_makes_the_whole_not_ready() -> None:
    board = HealthBoard()
    board.report("broker", ok=True, reason="")
    board.report("store", ok=False, reason="")
    assert not board.ready
