"""When a Kafka consumer counts as stuck."""

from __future__ import annotations

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus.kafka_watchdog import Position, Progress, StallJudge

PARTITION = TopicPartition("events", 0)
OTHER = TopicPartition("events", 1)


def look(
    at: float,
    position: int | None = 0,
    end: int = 0,
    *,
    is_member: bool = True,
    polled_at: float | None = None,
    is_held_up: bool = False,
) -> Progress:
    return Progress(
        at=at,
        positions={PARTITION: Position(position, end)},
        is_member=is_member,
        polled_at=at if polled_at is None else polled_at,
        is_held_up=is_held_up,
    )


def verdicts(looks: list[Progress], stall_after_s: float = 30.0) -> list[str | None]:
    judge = StallJudge(stall_after_s)
    return [judge.judge(one) for one in looks]


def test_a_consumer_at_the_end_is_never_stuck() -> None:
    assert verdicts([look(at, 5, 5) for at in range(0, 1000, 5)]) == [None] * 200


def test_one_that_is_behind_and_does_not_move_is_stuck_after_a_while() -> None:
    given_up = verdicts([look(0, 5, 6), look(29, 5, 7), look(30, 5, 7)])
    assert given_up[:2] == [None, None]
    assert given_up[2] == "events[0] stays at 5 of 7 for 30 s"


def test_one_that_moves_is_not_stuck_however_far_it_is_behind() -> None:
    assert verdicts([look(at, at, 10_000) for at in range(0, 500, 10)]) == [None] * 50


def test_catching_up_once_begins_the_count_anew() -> None:
    looks = [look(0, 5, 6), look(20, 6, 6), look(25, 6, 7), look(50, 6, 7), look(55, 6, 7)]
    assert [verdict is not None for verdict in verdicts(looks)] == [False] * 4 + [True]


def test_one_that_never_finds_out_its_position_is_stuck() -> None:
    assert verdicts([look(0, None, 0), look(30, None, 0)])[1] is not None


def test_one_that_the_group_does_not_know_is_stuck_even_without_news() -> None:
    given_up = verdicts([look(0, is_member=False), look(15, is_member=False)])
    assert given_up == [None, None]
    given_up = verdicts([look(at, is_member=at == 15) for at in (0, 15, 30, 45, 60)])
    assert [verdict is not None for verdict in given_up] == [False, False, False, False, True]


def test_one_that_does_not_ask_for_records_is_stuck() -> None:
    given_up = verdicts([look(0, polled_at=0), look(29, polled_at=0), look(30, polled_at=0)])
    assert [verdict is not None for verdict in given_up] == [False, False, True]


def test_time_without_a_broker_counts_for_nothing() -> None:
    judge = StallJudge(30.0)
    assert judge.judge(look(0, 5, 6)) is None
    judge.forget()  # an hour without a broker; nothing was read, nothing could be
    assert judge.judge(look(3600, 5, 6, polled_at=0)) is None
    assert judge.judge(look(3629, 5, 6, polled_at=0)) is None
    assert judge.judge(look(3630, 5, 6, polled_at=0)) is not None


def test_an_application_that_takes_nothing_is_not_the_consumers_fault() -> None:
    looks = [look(at, 5, 6, polled_at=0, is_held_up=True) for at in range(0, 3600, 60)]
    assert verdicts(looks) == [None] * 60


def test_a_partition_that_was_given_away_is_forgotten() -> None:
    judge = StallJudge(30.0)
    assert judge.judge(look(0, 5, 6)) is None
    away = Progress(at=20, positions={OTHER: Position(1, 1)}, is_member=True, polled_at=20)
    assert judge.judge(away) is None
    assert judge.judge(look(40, 5, 6)) is None


def test_lag_sums_what_is_known() -> None:
    positions = {PARTITION: Position(3, 10), OTHER: Position(None, 99)}
    assert Progress(at=0, positions=positions, is_member=True, polled_at=0).lag == 7


@given(
    st.lists(
        st.tuples(st.floats(0.1, 20), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60
    )
)
def test_a_stuck_verdict_always_comes_after_a_stall_and_never_before(
    steps: list[tuple[float, int, int]],
) -> None:
    judge = StallJudge(30.0)
    at, position, end = 0.0, 0, 0
    still_since: float | None = None
    for seconds, moved, sent in steps:
        at += seconds
        end += sent
        before, position = position, min(end, position + moved)
        if position >= end:
            still_since = None
        elif still_since is None or position != before:
            still_since = at
        verdict = judge.judge(look(at, position, end))
        assert (verdict is not None) == (still_since is not None and at - still_since >= 30.0)
