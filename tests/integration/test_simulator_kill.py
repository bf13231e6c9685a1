"""A simulated night whose process is killed again and again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemons.simulators.manifest import Manifest

CHILD = Path(__file__).with_name("simulator_child.py")
ROOT = Path(__file__).parents[2]


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )


def _finish(folder: Path) -> None:
    with _start(folder) as process:
        out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert out.endswith("over 8\n")


def _kill_when_written(folder: Path, files: int) -> bool:
    """Kill a run when it has written so many files more; False when it ended before."""
    before = len(Manifest.read(folder / "manifest.jsonl"))
    with _start(folder) as process:
        while process.poll() is None:
            if len(Manifest.read(folder / "manifest.jsonl")) >= before + files:
                process.kill()
                process.communicate(timeout=30)
                return True
            time.sleep(0.001)
        process.communicate(timeout=30)
    return False


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder / "drop").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "drop").rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_night_that_is_killed_gives_the_files_of_one_that_is_not(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    _finish(undisturbed)
    kills = [_kill_when_written(killed, files) for files in (7, 3, 16, 12)]
    assert sum(kills) >= 2
    _finish(killed)
    assert _digests(killed) == _digests(undisturbed)
    listed = {
        file: entry.sha256 for file, entry in Manifest.read(killed / "manifest.jsonl").items()
    }
    assert listed == _digests(killed)


@pytest.mark.slow
def test_a_night_that_is_over_has_nothing_left_to_do(tmp_path: Path) -> None:
    _finish(tmp_path)
    before = (tmp_path / "manifest.jsonl").read_bytes()
    _finish(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_bytes() == before
