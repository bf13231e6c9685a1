from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import ControlMessage
from headerservice import exposure as life
from headerservice.exposure import Action, Change, Exposure, Phase, Status, Timing
from headerservice.rules import Definitions, EventPlan
from tests.unit.headerservice.rig import OBS_ID, Image, lsstcam, message

TIMING = Timing(
    deadline_margin_s=30.0, settle_s=2.0, grace_s=1.0, revise_after_s=0.5, late_data_s=60.0
)
IMAGE = Image(OBS_ID, 1_795_273_000.0)
NAMES = {
    "start": "MTCamera.logevent_startIntegration",
    "readout": "MTCamera.logevent_startReadout",
    "end": "MTCamera.logevent_endOfImageTelemetry",
    "also": "MTCamera.logevent_imageReadoutParameters",
}


@pytest.fixture
def plan(definitions: Definitions) -> EventPlan:
    return definitions.events


def event(role: str, **changes: Any) -> ControlMessage:
    fields = {
        "start": IMAGE.start_fields(),
        "readout": IMAGE.readout_fields(),
        "end": IMAGE.end_fields(),
        "also": {"imageName": OBS_ID, "daqAnnotation": "x"},
    }[role]
    return message(NAMES[role], {**fields, **changes}, IMAGE.start)


def hear(exposure: Exposure, role: str, now: float, **changes: Any) -> Change:
    return life.heard(
        exposure, event(role, **changes), plan=lsstcam().events, timing=TIMING, now=now
    )


def test_an_exposure_in_order_is_sampled_then_early_then_finished() -> None:
    started = hear(life.opened(OBS_ID, now=0.0), "start", 0.0)
    assert started.actions == (Action.SAMPLE,)
    assert started.exposure.deadline == 15.0 + 20.0 + 30.0
    assert life.next_wake(started.exposure, timing=TIMING) == 2.0
    assert life.due(started.exposure, timing=TIMING, now=1.9) == ()
    assert life.due(started.exposure, timing=TIMING, now=2.0) == (Action.SAMPLE,)
    settled = life.sampled(started.exposure, now=2.0)
    assert life.next_wake(settled, timing=TIMING) == 65.0
    reading = hear(settled, "readout", 15.3)
    assert reading.actions == (Action.SAMPLE, Action.EARLY)
    assert reading.exposure.phase is Phase.READING_OUT
    ended = hear(life.early_published(reading.exposure), "end", 18.0)
    assert ended.actions == (Action.FINISH,)
    assert life.may_publish(ended.exposure, settled=True, timing=TIMING, now=18.0)
    assert not life.may_publish(ended.exposure, settled=False, timing=TIMING, now=18.5)
    assert life.may_publish(ended.exposure, settled=False, timing=TIMING, now=19.0)
    done = life.published(ended.exposure, status=Status.COMPLETE, improvable=False, now=18.1)
    assert (done.revision, done.phase) == (1, Phase.PUBLISHED)
    assert life.due(done, timing=TIMING, now=18.1) == (Action.RETIRE,)


def test_without_an_end_the_deadline_finishes_and_the_late_end_revises() -> None:
    started = hear(life.opened(OBS_ID, now=0.0), "start", 0.0).exposure
    assert Action.FINISH in life.due(started, timing=TIMING, now=65.0)
    assert life.may_publish(started, settled=False, timing=TIMING, now=65.0)
    partial = life.published(started, status=Status.PARTIAL, improvable=True, now=65.0)
    late = hear(partial, "end", 4000.0)
    assert late.actions == (Action.FINISH,)
    again = life.published(late.exposure, status=Status.COMPLETE, improvable=False, now=4000.0)
    assert again.revision == 2


def test_an_end_without_a_start_is_told_and_finished() -> None:
    change = hear(life.opened(OBS_ID, now=0.0), "end", 0.0)
    assert change.actions == (Action.FINISH,)
    assert [each.code for each in change.findings] == ["exposure.no_start"]


def test_a_repetition_changes_nothing_and_a_contradiction_is_told() -> None:
    started = hear(life.opened(OBS_ID, now=0.0), "start", 0.0).exposure
    again = hear(started, "start", 1.0)
    assert again.exposure is started
    assert again.actions == ()
    assert [each.code for each in again.findings] == ["exposure.duplicate_event"]
    other = hear(started, "start", 1.0, exposureTime=30.0)
    assert other.exposure is started
    (finding,) = other.findings
    assert finding.code == "exposure.contradiction"
    assert "exposureTime" in finding.sentence


@pytest.mark.parametrize(
    ("exposure_time", "timeout", "deadline"),
    [
        (15.0, 20.0, 65.0),
        (float("nan"), -3.0, 30.0),
        ("long", None, 30.0),
        (1e12, 0.0, 7230.0),
    ],
)
def test_the_deadline_stands_whatever_the_camera_says(
    exposure_time: Any, timeout: Any, deadline: float
) -> None:
    change = hear(
        life.opened(OBS_ID, now=0.0), "start", 0.0, exposureTime=exposure_time, timeout=timeout
    )
    assert change.exposure.deadline == deadline


def test_late_data_make_one_revision_after_they_were_collected() -> None:
    ended = hear(life.opened(OBS_ID, now=0.0), "end", 10.0).exposure
    partial = life.published(ended, status=Status.PARTIAL, improvable=True, now=11.0)
    assert life.next_wake(partial, timing=TIMING) == 71.0
    better = life.improved(partial, now=20.0)
    assert life.improved(better, now=20.3) is better
    assert life.due(better, timing=TIMING, now=20.4) == ()
    assert life.due(better, timing=TIMING, now=20.5) == (Action.REVISE,)
    assert life.due(partial, timing=TIMING, now=71.0) == (Action.RETIRE,)


def test_after_a_restart_there_is_time_for_what_was_missed() -> None:
    started = hear(life.opened(OBS_ID, now=0.0), "start", 0.0).exposure
    resumed = life.resumed(started, timing=TIMING, now=1000.0)
    assert resumed.deadline == 1030.0
    ended = hear(started, "end", 18.0).exposure
    assert life.resumed(ended, timing=TIMING, now=1000.0).ended_at == 1000.0


STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(NAMES)), st.floats(0.0, 40.0)), min_size=1, max_size=12
)


class Player:
    """Does for an exposure what a worker does."""

    def __init__(self, *, settled: bool) -> None:
        self.exposure = life.opened(OBS_ID, now=0.0)
        self.settled = settled
        self.now = 0.0
        self.finals: list[int] = []
        self.earlies = 0

    def do(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action is Action.EARLY:
                self.earlies += 1
                self.exposure = life.early_published(self.exposure)
            elif action is Action.SAMPLE:
                self.exposure = life.sampled(self.exposure, now=self.now)
            elif action is Action.FINISH:
                self.finish()

    def finish(self) -> None:
        if life.may_publish(self.exposure, settled=self.settled, timing=TIMING, now=self.now):
            ended = self.exposure.ended_at is not None
            status = Status.COMPLETE if ended and self.settled else Status.PARTIAL
            self.exposure = life.published(
                self.exposure, status=status, improvable=False, now=self.now
            )
            self.finals.append(self.exposure.revision)

    def let_pass(self, until: float) -> None:
        """Let the time go on, as far as something is due before."""
        while self.exposure.phase is not Phase.PUBLISHED:
            wake = life.next_wake(self.exposure, timing=TIMING)
            if wake > until:
                break
            self.now = max(self.now, wake)
            self.do(life.due(self.exposure, timing=TIMING, now=self.now))

    def hear(self, role: str) -> None:
        change = hear(self.exposure, role, self.now)
        self.exposure = change.exposure
        self.do(change.actions)


@given(steps=STEPS, settled=st.booleans())
def test_any_order_of_events_ends_in_exactly_one_first_header(
    steps: list[tuple[str, float]], *, settled: bool
) -> None:
    player = Player(settled=settled)
    player.hear("start" if settled else "end")
    for role, wait in steps:
        player.let_pass(player.now + wait)
        player.now += wait
        player.hear(role)
    player.let_pass(float("inf"))
    assert player.exposure.phase is Phase.PUBLISHED
    assert player.finals in ([1], [1, 2])
    assert player.earlies <= 1
