"""The whole service, told of exposures in any order, twice, in pieces, and over restarts."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemons.bus.control.memory import MemoryControlBroker
from daemons.bus.stream.memory import MemoryBroker
from tests.unit.headerservice.rig import Image, Rig, settings_for

IMAGES = 3
SAYINGS = ("start", "readout", "annotation", "end")
Step = tuple[str, int]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from((*SAYINGS, *SAYINGS, "telemetry", "restart")), st.integers(0, 2)),
    min_size=1,
    max_size=14,
)


class Story:
    """Tells a service what happens, and begins a new service where the story says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control, self.events = MemoryControlBroker(), MemoryBroker()
        self.rigs: list[Rig] = []
        self.started: set[str] = set()
        self.images: list[Image] = []

    def rig(self) -> Rig:
        own = settings_for(self.folder, deadline_margin_s=0.2, grace_s=0.1, settle_s=0.05)
        made = Rig(self.folder, own, control_broker=self.control, event_broker=self.events)
        if self.rigs:
            made.hand.at, made.t0, made.sky = self.rigs[-1].hand.at, self.t0, self.rigs[0].sky
        self.rigs.append(made)
        return made

    @property
    def t0(self) -> float:
        return self.rigs[0].t0

    async def tell(self, steps: Sequence[Step]) -> None:
        sessions: list[list[Step]] = [[]]
        for step in steps:
            if step[0] == "restart":
                sessions.append([])
            else:
                sessions[-1].append(step)
        for place, session in enumerate(sessions):
            rig = self.rig()
            if not self.images:
                self.images = [
                    Image(f"MC_O_20251121_{number:06d}", rig.t0 + number * 0.1, exposure_time=0.05)
                    for number in range(1, IMAGES + 1)
                ]
            async with rig.running():
                if place == 0:
                    await rig.set_the_scene(rig.t0 - 1)
                for what, number in session:
                    await self.say(rig, what, self.images[number])
                if place == len(sessions) - 1:
                    await rig.eventually(self.all_is_told)
                await rig.service.drain()

    async def say(self, rig: Rig, what: str, image: Image) -> None:
        if what == "telemetry":
            await rig.say_all(rig.sky.telemetry(image.start), at=image.start)
        elif what == "start":
            self.started.add(image.obs_id)
            fields = image.start_fields(timeout=0.0)
            await rig.say("MTCamera.logevent_startIntegration", fields, at=image.start)
        else:
            await getattr(rig, what)(image)

    def all_is_told(self) -> bool:
        rig = self.rigs[-1]
        told = {each.obs_id for rig in self.rigs for each in rig.events if each.status != "early"}
        on_bus = {each["id"] for rig in self.rigs for each in rig.announced}
        status = rig.service.status()
        open_ones = [each for each in status["exposures"] if not each["revision"]]
        waiting = status["waiting_headers"] or open_ones
        return self.started <= told & on_bus and not waiting


async def check(steps: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        story = Story(Path(folder))
        await story.tell(steps)
        # Each listener hears everything from the beginning; repetitions are the same fact.
        events = {
            (each.obs_id, each.revision, each.sha256)
            for rig in story.rigs
            for each in rig.events
            if each.status != "early"
        }
        announced = {
            (each["id"], int(each["version"]), each["checkSum"])
            for rig in story.rigs
            for each in rig.announced
        }
        for obs_id in story.started | {each for each, _, _ in events}:
            revisions = sorted(revision for each, revision, _ in events if each == obs_id)
            assert revisions == list(range(1, len(revisions) + 1)), (obs_id, revisions)
            on_bus = sorted(revision for each, revision, _ in announced if each == obs_id)
            assert on_bus == revisions
        crashes = [rig.counter("arriero_header_crashes_total") for rig in story.rigs]
        assert sum(crashes) == 0


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(steps=STEPS)
@example(steps=[("start", 0), ("end", 0), ("end", 0), ("start", 0), ("readout", 0)])
@example(steps=[("end", 1), ("restart", 0), ("start", 1), ("readout", 1)])
@example(steps=[("start", 0), ("restart", 0), ("readout", 0), ("restart", 0), ("end", 0)])
@example(steps=[("start", 2), ("start", 1), ("end", 2), ("start", 0), ("end", 0), ("end", 1)])
def test_each_started_exposure_ends_in_exactly_one_latest_header(steps: list[Step]) -> None:
    asyncio.run(check(steps))
