"""A forwarder is killed at every point of a file's way and taken up again: nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from daemons.events import decode
from tests.integration.forwarder_child import Goal, main
from tests.unit.forwarder.harness import (
    detectors,
    expected_sensors,
    obs_id,
    raw_key,
    raw_name,
    small_raw,
)

COMMITS = (
    "sight",
    "inspected",
    "stored",
    "published",
    "registered",
    "note",
    "quarantining",
    "quarantined",
    "expect",
)
POINTS = [
    *(f"{when} commit {label}" for label in COMMITS for when in ("before", "after")),
    *(f"{when} put {what}" for what in (".fits", ".json") for when in ("before", "after")),
    *(
        f"{when} publish {what}"
        for what in ("image.stored", "image.quarantined", "exposure.complete")
        for when in ("before", "after")
    ),
]
GOOD = detectors(5)
ROOT = Path(__file__).parents[2]

Forward = Callable[..., int | None]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the server process, which imports everything once
    context.set_forkserver_preload(["tests.integration.forwarder_child"])
    return context


@pytest.fixture
def forward(processes: ForkServerContext, tmp_path: Path) -> Forward:
    """Run a forwarder in a process of its own and return its exit code."""

    def run(
        goal: Goal, point: str | None = None, nth: int = 1, kill_after_s: float | None = None
    ) -> int | None:
        child = processes.Process(target=main, args=(str(tmp_path), point, nth, goal))
        child.start()
        child.join(60 if kill_after_s is None else kill_after_s)
        if child.is_alive():
            child.kill()
            child.join(10)
        code = child.exitcode
        child.close()
        return code

    return run


def fill(folder: Path) -> Goal:
    """Put an exposure into the drop directory: images, a list, and one file that is cut."""
    drop = folder / "drop"
    drop.mkdir()
    names = [f"{raft}_{sensor}" for raft, sensor in GOOD]
    (drop / f"{obs_id()}_expectedSensors.json").write_bytes(expected_sensors(1, names))
    for raft, sensor in GOOD:
        (drop / raw_name(1, raft, sensor)).write_bytes(small_raw(1, raft, sensor))
    (drop / raw_name(2)).write_bytes(small_raw(2)[:-3000])
    return Goal(registered=len(GOOD), quarantined=1)


def check(folder: Path) -> None:
    """See that everything arrived once, unaltered, announced and set aside as it should be."""
    bucket = folder / "bucket"
    for raft, sensor in GOOD:
        assert (bucket / raw_key(1, raft, sensor)).read_bytes() == small_raw(1, raft, sensor)
    objects = [path for path in (bucket / "LSSTCam").rglob("*") if path.is_file()]
    assert len(objects) == 2 * len(GOOD) + 1
    published = (folder / "published.jsonl").read_bytes().splitlines()
    events = [
        event for event in map(decode, published) if event.source.startswith("/arriero/forwarder/")
    ]
    kinds = Counter(event_type for event_type, _ in {(event.type, event.id) for event in events})
    assert kinds == {"image.stored": len(GOOD), "image.quarantined": 1, "exposure.complete": 1}
    numbers = {int(event.sequence or 0) for event in events}
    assert numbers == set(range(1, len(numbers) + 1))
    assert len(numbers) == sum(kinds.values())
    (aside,) = (folder / "quarantine").rglob("*.fits")
    assert aside.read_bytes() == small_raw(2)[:-3000]
    (note,) = (folder / "quarantine").rglob("*.reason.json")
    assert "structure.truncated" in json.loads(note.read_bytes())["codes"]
    assert not (folder / "drop" / raw_name(2)).exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_forwarder_killed_at_a_point_is_taken_up_there(
    point: str, tmp_path: Path, forward: Forward
) -> None:
    goal = fill(tmp_path)
    assert forward(goal, point) == -9, f"{point} was never passed"
    assert forward(goal) == 0
    check(tmp_path)


@pytest.mark.parametrize("nth", [2, 3, 4, 5])
def test_a_forwarder_killed_between_two_files_is_taken_up_there(
    nth: int, tmp_path: Path, forward: Forward
) -> None:
    goal = fill(tmp_path)
    assert forward(goal, "after commit stored", nth) == -9
    assert forward(goal, "after publish image.stored", 1) == -9
    assert forward(goal) == 0
    check(tmp_path)


@pytest.mark.slow
def test_a_forwarder_killed_at_random_again_and_again_loses_nothing(
    tmp_path: Path, forward: Forward
) -> None:
    seed = time.time_ns()
    chance = random.Random(seed)
    goal = fill(tmp_path)
    for _ in range(12):
        if forward(goal, kill_after_s=chance.uniform(0.05, 0.9)) == 0:
            break
    assert forward(goal) == 0, f"seed {seed}"
    check(tmp_path)
