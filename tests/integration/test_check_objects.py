"""`arriero check` of objects in a real S3 store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemons.cli.main import main
from daemons.simulators.night import ImageType
from tests.support.servers.moto import Moto
from tests.support.simulated_headers import image_of, simulated_file

pytestmark = pytest.mark.server


def _config(moto: Moto, bucket: str, folder: Path) -> Path:
    for name, secret in (("access", moto.access_key), ("secret", moto.secret_key)):
        path = folder / name
        path.write_text(secret)
        path.chmod(0o600)
    config = folder / "config.yaml"
    config.write_text(
        "stores:\n"
        "  facility:\n"
        f"    url: s3://{bucket}/raw\n"
        f"    endpoint_url: {moto.endpoint_url}\n"
        f"    access_key: {{file: {folder / 'access'}}}\n"
        f"    secret_key: {{file: {folder / 'secret'}}}\n"
        "    retry: {attempts: 1}\n"
    )
    return config


def test_objects_are_checked_like_files_and_by_their_keys(
    moto: Moto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, image = moto.create_bucket(), image_of(ImageType.OBJECT)
    prefix = f"s3://{bucket}/raw/LSSTCam"
    good = simulated_file(tmp_path)
    for day in (image.day_obs, "20261104"):
        key = f"raw/LSSTCam/{day}/{image.obs_id}/{good.name}"
        moto.client.put_object(Bucket=bucket, Key=key, Body=good.read_bytes())
    moto.client.put_object(Bucket=bucket, Key="raw/LSSTCam/cut.fits", Body=b"SIMPLE  =")
    config = _config(moto, bucket, tmp_path)
    arguments = ["--config", str(config), "check", "--json", f"{prefix}/", f"{prefix}/gone.fits"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    results = json.loads(capsys.readouterr().out)["results"]
    found = {
        each["file"].removeprefix(f"{prefix}/"): [one["code"] for one in each["findings"]]
        for each in results
        if each["kind"] == "file"
    }
    assert found == {
        f"{image.day_obs}/{image.obs_id}/{good.name}": [],
        f"20261104/{image.obs_id}/{good.name}": ["identity.path_disagrees"],
        "cut.fits": ["structure.truncated"],
        "gone.fits": ["file.unreadable"],
    }
    exposures = [each for each in results if each["kind"] == "exposure"]
    assert [each["findings"][0]["code"] for each in exposures] == ["agreement.detector_twice"]
