"""The benchmarks run to their end and print their tables; no figure is judged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NOT_MEASURABLE = 77
_LONGEST_S = 240


def run(name: str, tmp_path: Path, *arguments: str) -> str:
    """Run a benchmark and return what it prints; skip where the machine cannot show it."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode == _NOT_MEASURABLE:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.startswith(f"$ python -m benchmarks.{name}")
    return done.stdout


def cells(out: str, *first: str) -> list[str]:
    """Return the cells of the row of a table whose first cells begin so."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.splitlines()
        if line.startswith("|")
    ]
    found = [row for row in rows if all(map(str.startswith, row, first))]
    assert found, out
    return found[0]


def test_the_journal_s_benchmark_measures_two_journals(tmp_path: Path) -> None:
    out = run("journal", tmp_path, "--quick", "--rows", "20000", "--exposures", "3")
    assert float(cells(out, "old")[1].split(" / ")[0]) > 0
    assert re.search(r"ratio old / young: \d+\.\d\d", out)
    assert "commits a file" in out


@pytest.mark.server
def test_memory_is_read_over_a_night_and_old_files_are_looked_through(tmp_path: Path) -> None:
    out = run("memory", tmp_path, "--quick", "--exposures", "4", "--old-files", "500")
    assert float(cells(out, "84")[1]) > 0
    assert cells(out, "first")[1] == "500"
    assert cells(out, "next")[1] == "500"


@pytest.mark.server
def test_loopback_measures_arriero_beside_raw_sockets_and_boto3(tmp_path: Path) -> None:
    few = ("--files", "3", "--rounds", "1", "--senders", "arriero", "raw", "boto3")
    out = run("loopback", tmp_path, "--quick", *few)
    for sender in ("arriero", "raw sockets", "boto3"):
        assert cells(out, sender)[-1] == "3 of 3"


@pytest.mark.server
def test_stored_files_are_heard_of_without_any_server(tmp_path: Path) -> None:
    few = ("--only", "embedded", "--single", "2", "--exposures", "1")
    out = run("stored_latency", tmp_path, "--quick", *few)
    assert cells(out, "embedded", "21")[2] == "21"


@pytest.mark.server
def test_an_exposure_arrives_over_an_emulated_wan(tmp_path: Path) -> None:
    short = ("--exposures", "2", "--cadence", "1", "--rtt", "40", "--rate", "1", "--warm-up", "2")
    out = run("wan", tmp_path, "--quick", "--senders", "arriero", "raw", *short)
    told = re.search(r"a connection opens in (\d+\.\d) ms", out)
    assert told, out
    assert float(told.group(1)) >= 40
    assert cells(out, "arriero")[-2] == "42 of 42"
    assert cells(out, "raw sockets")[-2] == "42 of 42"
    assert re.search(r"emulator: there packets=\d+ bytes=\d+", out)
