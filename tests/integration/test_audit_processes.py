"""Audits over real processes: what kills one of them, and what kills the whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemons.runtime.lock import InstanceLock
from translators.sidecar import sidecar_bytes

CHILD = Path(__file__).with_name("audit_child.py")
ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0
HEADER = {
    "INSTRUME": "lsstCam",
    "TELESCOP": "LSST",
    "CONTRLLR": "C",
    "DAYOBS": "20211212",
    "RAFTBAY": "R22",
    "CCDSLOT": "S22",
    "IMGTYPE": "FLAT",
    "EXPTIME": 7.5,
    "DARKTIME": 7.5,
    "DATE-OBS": "2021-12-13T04:58:56.398",
    "MJD-OBS": 59561.207597198896,
    "FILTER": "SDSSi",
}


def write_sidecars(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = []
    for number in range(count):
        obs_id = f"MC_C_20211212_{number + 1:06d}"
        path = folder / f"{obs_id}_R22_S22.json"
        path.write_bytes(sidecar_bytes(HEADER | {"OBSID": obs_id, "SEQNUM": number + 1}))
        paths.append(path)
    return paths


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


def run_child(note: Path, *arguments: object) -> dict[str, list[str]]:
    """Return what was found, by the name of the file."""
    note.mkdir(exist_ok=True)
    child = start(CHILD, note, *arguments, env={**os.environ, "PYTHONPATH": str(ROOT)})
    out, err = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, err
    found = {}
    for line in out.splitlines():
        places, told = json.loads(line)
        for place, findings in zip(places, told, strict=True):
            assert place not in found
            found[Path(place).name] = findings
    return found


def looks(note: Path) -> Counter[str]:
    return Counter(path.name.split(".")[0] for path in note.iterdir())


@pytest.mark.parametrize(("name", "how"), [("dies", "signal SIGSEGV"), ("exits", "exit code 3")])
def test_file_that_kills_its_process_is_found_and_the_others_have_verdicts(
    name: str, how: str, tmp_path: Path
) -> None:
    paths = write_sidecars(tmp_path / "night", 12)
    bad = paths[7].with_name(f"{name}.json")
    paths[7].rename(bad)
    paths[7] = bad

    found = run_child(tmp_path / "looks", 2, 5, 60, *paths)

    assert set(found) == {path.name for path in paths}
    crashed = {file: told for file, told in found.items() if "audit.crashed" in " ".join(told)}
    assert list(crashed) == [f"{name}.json"]
    assert str(bad) in crashed[bad.name][0]
    assert how in crashed[bad.name][0]
    seen = looks(tmp_path / "looks")
    assert seen[paths[0].stem] == 1
    assert seen[paths[6].stem] == 2
    assert seen[name] == 3


@pytest.mark.slow
def test_file_that_hangs_is_given_up_and_named(tmp_path: Path) -> None:
    paths = write_sidecars(tmp_path / "night", 3)
    bad = paths[1].with_name("hangs.json")
    paths[1].rename(bad)

    found = run_child(tmp_path / "looks", 2, 3, 10, paths[0], bad, paths[2])

    assert "audit.hung" in found["hangs.json"][0]
    assert not any(
        "audit." in each for told in (found[paths[0].name], found[paths[2].name]) for each in told
    )


@pytest.mark.parametrize("size", [1, 4])
def test_process_that_is_killed_once_blames_no_file(size: int, tmp_path: Path) -> None:
    paths = write_sidecars(tmp_path / "night", 4)
    paths[2].rename(once := paths[2].with_name("once.json"))
    paths[2] = once

    found = run_child(tmp_path / "looks", 1, size, 60, *paths)

    assert set(found) == {path.name for path in paths}
    assert not any("audit." in finding for told in found.values() for finding in told)
    assert looks(tmp_path / "looks")["once"] == 2


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def audit(folder: Path, state: Path, report: Path, *more: object) -> subprocess.Popen[str]:
    return start(
        *("-m", "daemons.cli.main", "audit", folder, "--state", state, "--report", report),
        *("--json", "--workers", 2, "--batch", 10, *more),
    )


def finished(running: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = running.communicate(timeout=DEADLINE_S)
    assert running.returncode in {0, 1}, err
    return running.returncode, json.loads(out)


def done_in(state: Path) -> dict[int, int]:
    """Return the numbers of what is recorded as done."""
    if not state.exists():
        return {}
    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as database:
            return dict(database.execute("SELECT number, done FROM items WHERE done"))
    except sqlite3.Error:
        return {}


def killed_at(enough: int, running: subprocess.Popen[str], state: Path) -> bool:
    """Kill an audit when it has done so much; tell whether it was not over before."""
    wait_for(lambda: len(done_in(state)) >= enough or running.poll() is not None)
    was_running = running.poll() is None
    running.kill()
    running.communicate()
    return was_running


@pytest.mark.slow
def test_killed_audit_goes_on_and_ends_with_the_identical_report(tmp_path: Path) -> None:
    night = tmp_path / "night"
    paths = write_sidecars(night, 240)
    paths[5].write_text("{")
    paths[200].write_bytes(sidecar_bytes(HEADER | {"OBSID": "MC_C_20211212_000007", "SEQNUM": 7}))
    code, whole = finished(audit(night, tmp_path / "whole.db", tmp_path / "whole.jsonl"))
    assert code == 1

    state, report = tmp_path / "killed.db", tmp_path / "killed.jsonl"
    kills = 0
    for enough in (20, 120):
        kills += killed_at(enough, audit(night, state, report), state)
    assert kills >= 1
    before = len(done_in(state))
    assert before >= 20

    resumed = audit(night, state, report)
    assert finished(resumed) == (code, whole)

    assert report.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert whole["files"] == 240
    assert whole["images"] == 240
    with sqlite3.connect(state) as database:
        assert database.execute("SELECT count(*) FROM images").fetchone() == (240,)


@pytest.mark.slow
def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    night = tmp_path / "night"
    paths = write_sidecars(night, 30)
    state, report = tmp_path / "a.db", tmp_path / "a.jsonl"
    _, whole = finished(audit(night, state, report, "--all"))
    first = report.read_bytes()

    # Nothing is left of the files: a second look at any would be seen.
    for path in paths:
        path.write_text("{")
    assert finished(audit(night, state, report, "--all"))[1] == whole
    assert report.read_bytes() == first

    _, again = finished(audit(night, state, report, "--restart"))
    assert again["findings"]["error"] >= 30


def test_processes_of_a_killed_audit_end(tmp_path: Path) -> None:
    night = tmp_path / "night"
    write_sidecars(night, 240)
    running = audit(night, tmp_path / "a.db", tmp_path / "a.jsonl")
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    wait_for(lambda: done_in(tmp_path / "a.db") or running.poll() is not None)
    started = [int(each) for each in children.read_text().split()] if children.exists() else []
    running.kill()
    running.communicate()

    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_state_of_another_audit_is_not_taken(tmp_path: Path) -> None:
    write_sidecars(tmp_path / "night", 2)
    write_sidecars(tmp_path / "other", 2)
    finished(audit(tmp_path / "night", tmp_path / "a.db", tmp_path / "a.jsonl"))

    running = audit(tmp_path / "other", tmp_path / "a.db", tmp_path / "a.jsonl")
    _, err = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 64
    assert "is of another audit" in err


@pytest.mark.slow
def test_interrupted_audit_says_how_to_go_on(tmp_path: Path) -> None:
    night = tmp_path / "night"
    write_sidecars(night, 240)
    state, report = tmp_path / "a.db", tmp_path / "a.jsonl"
    running = audit(night, state, report)
    wait_for(lambda: done_in(state) or running.poll() is not None)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 130, err
    assert "the same command goes on" in err
    assert not report.exists()
    assert finished(audit(night, state, report))[1]["images"] == 240


def test_two_audits_do_not_share_a_state_file(tmp_path: Path) -> None:
    write_sidecars(tmp_path / "night", 1)
    state = tmp_path / "a.db"

    with InstanceLock(tmp_path / "a.db.lock", purpose="a test"):
        running = audit(tmp_path / "night", state, tmp_path / "a.jsonl")
        _, err = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 75
    assert json.loads(err)["code"] == "already_running"


def test_path_that_does_not_exist_is_told_and_can_be_corrected(tmp_path: Path) -> None:
    night = tmp_path / "night"
    running = audit(night, tmp_path / "a.db", tmp_path / "a.jsonl")
    _, err = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 1
    assert "does not exist" in json.loads(err)["message"]

    write_sidecars(night, 3)
    assert finished(audit(night, tmp_path / "a.db", tmp_path / "a.jsonl"))[1]["images"] == 3
