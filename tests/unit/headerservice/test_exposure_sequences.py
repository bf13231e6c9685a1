"""Events in any order, twice, or not at all, and restarts: one latest header per exposure."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headerservice import exposure as life
from headerservice.exposure import Action, Change, Exposure, Phase, Status, Timing
from headerservice.rules import Role
from tests.unit.headerservice.rig import CAMERA, OBS_ID, lsstcam, message

TIMING = Timing(
    deadline_margin_s=30.0, settle_s=2.0, grace_s=1.0, revise_after_s=0.5, late_data_s=60.0
)
NAMES = {
    "start": f"{CAMERA}.logevent_startIntegration",
    "readout": f"{CAMERA}.logevent_startReadout",
    "end": f"{CAMERA}.logevent_endOfImageTelemetry",
    "also": f"{CAMERA}.logevent_imageReadoutParameters",
}
DURATION = st.floats() | st.sampled_from([0.0, 15.0, -1.0, 1e300, 10**400, "soon", None, True])


class OneExposure(RuleBasedStateMachine):
    """Does for an exposure what a worker does, whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.exposure: Exposure = life.opened(OBS_ID, now=self.now)
        self.recorded: Exposure = self.exposure
        self.revisions: list[int] = []
        self.earlies = 0
        self.settled = False
        self.heard: set[str] = set()
        self.retired = False

    @initialize(settled=st.booleans())
    def begin(self, *, settled: bool) -> None:
        self.settled = settled

    def act(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action is Action.EARLY:
                self.earlies += 1
                self.exposure = life.early_published(self.exposure)
            elif action is Action.SAMPLE:
                self.exposure = life.sampled(self.exposure, now=self.now)
            elif action is Action.FINISH:
                self.finish()
            elif action is Action.REVISE:
                self.publish()
            elif action is Action.RETIRE:
                self.retired = True
        self.recorded = self.exposure

    def finish(self) -> None:
        if life.may_publish(self.exposure, settled=self.settled, timing=TIMING, now=self.now):
            self.publish()

    def publish(self) -> None:
        ended = self.exposure.has(lsstcam().events, Role.END)
        status = Status.COMPLETE if ended and self.settled else Status.PARTIAL
        self.exposure = life.published(self.exposure, status=status, improvable=True, now=self.now)
        self.revisions.append(self.exposure.revision)
        self.retired = False

    @rule(role=st.sampled_from(sorted(NAMES)), duration=DURATION, sequence=st.integers(1, 3))
    def hear(self, role: str, duration: object, sequence: int) -> None:
        fields = {"imageName": OBS_ID, "exposureTime": duration, "timeout": duration}
        heard = message(NAMES[role], fields, self.now, sequence=sequence)
        change: Change = life.heard(
            self.exposure, heard, plan=lsstcam().events, timing=TIMING, now=self.now
        )
        if role in self.heard:
            assert change.exposure is self.exposure
            assert change.actions == ()
            assert [each.code for each in change.findings] in (
                ["exposure.duplicate_event"],
                ["exposure.contradiction"],
            )
        self.heard.add(role)
        self.retired = False  # an event takes it up again
        self.exposure = change.exposure
        self.act(change.actions)

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(50):
            wake = life.next_wake(self.exposure, timing=TIMING)
            if wake > until or self.retired:
                break
            self.now = max(self.now, wake)
            self.act(life.due(self.exposure, timing=TIMING, now=self.now))
        else:
            raise AssertionError("there is always something to do at once: it would never rest")
        self.now = until

    @rule()
    def restart(self) -> None:
        """Begin anew from what was recorded; times of a session before are not kept."""
        self.exposure = replace(self.recorded, sample_at=(), improved_at=None, ended_at=None)
        if self.exposure.phase is not Phase.PUBLISHED:
            self.exposure = life.resumed(self.exposure, timing=TIMING, now=self.now)
        self.retired = False

    @precondition(lambda self: self.exposure.phase is Phase.PUBLISHED)
    @rule()
    def late_data_come(self) -> None:
        self.exposure = life.improved(self.exposure, now=self.now)

    @invariant()
    def revisions_count_up_from_one(self) -> None:
        assert self.revisions == list(range(1, len(self.revisions) + 1))
        assert self.exposure.revision == len(self.revisions)
        assert self.earlies <= 1
        assert (self.exposure.phase is Phase.PUBLISHED) == bool(self.revisions) or (
            self.exposure.phase is Phase.ENDED and self.revisions
        )

    def teardown(self) -> None:
        """In the end there is exactly one latest header."""
        if not self.heard:
            return
        self.wait(3 * life.LONGEST_EXPOSURE_S)
        assert self.revisions
        assert self.exposure.phase is Phase.PUBLISHED
        assert self.exposure.revision == self.revisions[-1]
        if {"start", "readout", "end"} <= self.heard and self.settled:
            assert self.exposure.status is Status.COMPLETE


OneExposure.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestOneExposure = OneExposure.TestCase
