"""Audits over a real Dask cluster on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.ports import free_port
from translators.audit.cluster import ClusterError, ClusterPool
from translators.audit.judge import judge_batch
from translators.sidecar import sidecar_bytes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEADLINE_S = 100.0
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
}
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
    "FILTER": "SDSSi",
}

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Return the address of a scheduler with two workers."""
    cluster = subprocess.Popen(
        [sys.executable, str(HERE / "audit_cluster_child.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://127.0.0.1:"), cluster.communicate()[1]
        yield address
    finally:
        try:
            cluster.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            cluster.kill()
            cluster.communicate()


@pytest.fixture
def night(tmp_path: Path) -> Path:
    folder = tmp_path / "night"
    folder.mkdir()
    for number in range(1, 41):
        obs_id = f"MC_C_20211212_{number:06d}"
        header = HEADER | {"OBSID": obs_id, "SEQNUM": number}
        (folder / f"{obs_id}_R22_S22.json").write_bytes(sidecar_bytes(header))
    (folder / "MC_C_20211212_000007_R22_S22.json").write_text("{")
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=DEADLINE_S,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


def audit(night: Path, state: Path, *more: object) -> tuple[int, dict[str, Any], bytes]:
    report = state.with_suffix(".jsonl")
    command = ("-m", "daemons.cli.main", "audit", night, "--state", state, "--report", report)
    code, out, err = run(*command, "--all", "--json", "--batch", 5, *more)
    assert code in {0, 1}, err
    return code, json.loads(out), report.read_bytes()


def test_cluster_and_processes_end_with_the_identical_report(
    scheduler: str, night: Path, tmp_path: Path
) -> None:
    by_processes = audit(night, tmp_path / "processes.db", "--workers", 1)
    by_cluster = audit(night, tmp_path / "cluster.db", "--scheduler", scheduler)

    assert by_cluster == by_processes
    assert by_cluster[0] == 1
    assert by_cluster[1]["images"] == 40


def test_file_that_kills_workers_of_the_cluster_is_found(
    scheduler: str, night: Path, tmp_path: Path
) -> None:
    paths = sorted(night.iterdir())[:6]
    bad = paths[3].with_name("dies.json")
    paths[3].rename(bad)
    paths[3] = bad
    note = tmp_path / "looks"
    note.mkdir()

    code, out, err = run(HERE / "audit_child.py", note, scheduler, 3, 60, *paths)

    assert code == 0, err
    found: dict[str, Sequence[str]] = {}
    for line in out.splitlines():
        places, told = json.loads(line)
        found.update(zip(map(os.path.basename, places), told, strict=True))
    assert set(found) == {path.name for path in paths}
    assert "audit.crashed" in found["dies.json"][0]
    assert "KilledWorker" in found["dies.json"][0]
    others = [finding for name, told in found.items() if name != "dies.json" for finding in told]
    assert not any("audit." in finding for finding in others)


def test_scheduler_that_does_not_answer_is_told() -> None:
    port = free_port()

    with pytest.raises(ClusterError, match=rf"tcp://127.0.0.1:{port} does not answer"):
        ClusterPool(judge_batch, f"tcp://127.0.0.1:{port}", timeout_s=1.0)


def test_missing_library_is_told_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(ClusterError, match=r"pip install 'arriero\[dask\]'"):
        ClusterPool(judge_batch, "tcp://127.0.0.1:1")
