"""Headers in an object store, translated and audited by their URIs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Moto
from translators.sidecar import sidecar_bytes

ROOT = Path(__file__).parents[2]
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

pytestmark = pytest.mark.server


@pytest.fixture
def config(moto: Moto, tmp_path: Path) -> Path:
    """Return a configuration whose store `images` is a bucket with a night below a prefix."""
    bucket = moto.create_bucket("summit-images")
    for number in range(1, 7):
        obs_id = f"MC_C_20211212_{number:06d}"
        header = HEADER | {"OBSID": obs_id, "SEQNUM": number}
        moto.client.put_object(
            Bucket=bucket,
            Key=f"raw/20211212/{obs_id}/{obs_id}_R22_S22.json",
            Body=sidecar_bytes(header) if number != 4 else b"{",
        )
    for name in ("access_key", "secret_key"):
        path = tmp_path / name
        path.write_text(getattr(moto, name))
        path.chmod(0o600)
    path = tmp_path / "arriero.yaml"
    path.write_text(
        f"""\
stores:
  images:
    url: s3://{bucket}/raw/
    endpoint_url: {moto.endpoint_url}
    access_key: {{file: {tmp_path}/access_key}}
    secret_key: {{file: {tmp_path}/secret_key}}
"""
    )
    return path


def arriero(*arguments: object) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "daemons.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_objects_are_translated_and_audited_by_their_uris(config: Path, tmp_path: Path) -> None:
    folder = "s3://summit-images/raw/20211212/"
    one = f"{folder}MC_C_20211212_000002/MC_C_20211212_000002_R22_S22.json"

    code, told, err = arriero("-c", config, "translate", one, "--json", "-p", "exposure_id")
    assert code == 0, err
    assert [each["observation"] for each in told] == [{"exposure_id": 3021121200002}]

    code, told, err = arriero("-c", config, "translate", folder, "--json", "-p", "exposure_id")
    assert code == 1, err
    assert [each["file"].rpartition("/")[2][14:20] for each in told] == [
        f"{number:06d}" for number in range(1, 7)
    ]
    assert [bool(each["observation"]) for each in told] == [True] * 3 + [False] + [True] * 2

    state, report = tmp_path / "audit.db", tmp_path / "report.jsonl"
    more = ("--state", state, "--report", report, "--workers", 1, "--json", "--all")
    code, summary, err = arriero("-c", config, "audit", folder, *more)
    assert code == 1, err
    assert summary["images"] == 6
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["place"] for line in lines] == [each["file"] for each in told]
    assert [finding["code"] for finding in lines[3]["findings"]] == ["sidecar.invalid"]

    code, _, err = arriero("-c", config, "translate", f"{folder}nothing.json", "--json")
    assert code == 1


def test_bucket_that_is_not_configured_is_told(config: Path) -> None:
    code, told, _ = arriero("-c", config, "translate", "s3://elsewhere/a.json", "--json")

    assert code == 1
    assert "no store of the configuration is s3://elsewhere" in told[0]["findings"][0]["sentence"]
