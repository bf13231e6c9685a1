"""`arriero demo` on embedded defaults, as a person runs it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.host import ARRIERO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUICK = ("--small", "--exposures", "3", "--detectors", "4")


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ARRIERO, "demo", "--directory", str(folder), *QUICK, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_every_file_arrives_whole_and_is_registered_once(tmp_path: Path) -> None:
    done = demo(tmp_path / "night", "--json", "--guiders")

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["ok"] is True
    assert summary["faults"] == []
    assert summary["made"] == summary["stored"] == summary["identical"]
    assert summary["images"] == summary["registered"] > 12
    assert set(summary["headers"].values()) == {"complete"}


def test_the_table_for_people_says_that_everything_arrived(tmp_path: Path) -> None:
    done = demo(tmp_path / "night")
    assert done.returncode == 0, done.stderr
    assert "everything arrived" in done.stdout
    assert "12 of 12" in done.stdout


def test_a_file_that_is_altered_in_the_store_is_a_fault(tmp_path: Path) -> None:
    """The proof can fail: it reads the store, it does not believe the events."""
    assert demo(tmp_path / "night").returncode == 0
    stored = next((tmp_path / "night" / "store").rglob("MC_O_*_R22_S01.fits"))
    with stored.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")

    again = demo(tmp_path / "night", "--json", "--patience", "5")

    assert again.returncode == 1
    (fault,) = json.loads(again.stdout)["faults"]
    assert fault.startswith(stored.name)


def test_a_demonstration_that_is_over_ends_at_once_when_it_is_run_again(tmp_path: Path) -> None:
    """What an earlier run registered is not waited for: no event tells of it again."""
    assert demo(tmp_path / "night").returncode == 0
    again = demo(tmp_path / "night", "--json", "--patience", "100000")
    assert again.returncode == 0
    assert json.loads(again.stdout)["registered"] == 12


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    done = demo(tmp_path, "--fresh")
    assert done.returncode == 64
    assert "holds no demonstration" in done.stderr
    assert (tmp_path / "precious").read_text() == "data"


def test_a_demonstration_that_is_killed_again_and_again_ends_whole(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    chance = random.Random(20261121)
    kills = 0
    for _round in range(6):
        process = subprocess.Popen(
            [*ARRIERO, "demo", "--directory", str(folder), *QUICK],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(2.0, 6.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()

    done = demo(folder, "--json")

    assert kills >= 1
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["faults"] == []
    assert summary["images"] == summary["registered"] == 12
