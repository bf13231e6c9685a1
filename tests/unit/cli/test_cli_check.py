"""`arriero check`, as a person or a program uses it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemons.cli.main import main
from daemons.simulators.night import ImageType
from tests.support.simulated_headers import image_of, simulated_file, simulated_header
from translators.checks.policy import PATH_VARIABLE, forget_policies
from translators.sidecar import sidecar_bytes

OBS_ID = image_of(ImageType.OBJECT).obs_id


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Arriero = Callable[..., Ran]


@pytest.fixture
def arriero(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Arriero:
    """Run `arriero check` in this process."""
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    monkeypatch.delenv("ARRIERO_CONFIG", raising=False)
    forget_policies()

    def run(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["check", *map(str, arguments)])
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return run


def sidecar(folder: Path, sensor: str = "R22_S11", **cards: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{OBS_ID}_{sensor}.json"
    path.write_bytes(sidecar_bytes(simulated_header(ImageType.OBJECT, sensor) | cards))
    return path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A file that only warns."""
    return sidecar(tmp_path / "odd", AMSTART=0.0)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file that is set aside."""
    path = simulated_file(tmp_path, ImageType.OBJECT, "R01_S20")
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def test_a_good_file_is_said_to_be_good(arriero: Arriero, tmp_path: Path) -> None:
    ran = arriero(simulated_file(tmp_path), "--fail-on", "warning")
    assert ran.code == 0
    assert "nothing is wrong" in ran.out
    assert "1 files, 0 unreadable" in ran.out
    assert ran.err == ""


def test_a_table_names_file_action_code_and_what_is_wrong(arriero: Arriero, broken: Path) -> None:
    ran = arriero(broken)
    assert ran.code == 1
    for word in (str(broken)[:40], "quarantine", "structure.truncated", "bytes are missing"):
        assert word in ran.out


def test_a_warning_fails_only_where_that_is_asked(arriero: Arriero, odd: Path) -> None:
    assert arriero(odd).code == 0
    assert arriero(odd, "--fail-on", "error").code == 0
    ran = arriero(odd, "--fail-on", "warning")
    assert ran.code == 1
    assert "header.impossible" in ran.out


def test_what_holds_an_exposure_is_an_error(arriero: Arriero, tmp_path: Path) -> None:
    cards = ("RA", "DEC", "ROTPA", "ELSTART", "AZSTART", "AMSTART", "HASTART")
    ran = arriero(sidecar(tmp_path, **dict.fromkeys(cards)), "--json")
    assert ran.code == 1
    (result,) = ran.json["results"]
    held = [each["code"] for each in result["findings"] if each["action"] == "hold"]
    assert held == ["header.null_block"]
    assert result["action"] == "hold"


def test_what_is_only_noted_is_listed_on_request(arriero: Arriero, odd: Path) -> None:
    policy = odd.with_name("policy.yaml")
    policy.write_text("version: 1\nnote: [header.impossible]\n")
    quiet = arriero(odd, "--policy", policy, "--fail-on", "warning")
    assert quiet.code == 0
    assert "header.impossible" not in quiet.out
    assert "1 to note" in quiet.out
    assert "header.impossible" in arriero(odd, "--policy", policy, "--verbose").out


def test_json_has_everything_for_a_program(arriero: Arriero, odd: Path) -> None:
    ran = arriero(odd, "--json")
    (result,) = ran.json["results"]
    assert result["file"] == str(odd)
    assert result["kind"] == "file"
    assert (result["instrument"], result["obs_id"], result["detector"], result["action"]) == (
        "LSSTCam",
        OBS_ID,
        "R22_S11",
        "warn",
    )
    (finding,) = result["findings"]
    assert finding["code"] == "header.impossible"
    assert finding["severity"] == "warning"
    assert "AMSTART is 0" in finding["sentence"]
    assert finding["advice"].startswith("The value was never filled in")
    assert ran.json["summary"] == {
        "kind": "summary",
        "files": 1,
        "clean": 0,
        "unreadable": 0,
        "exposures": 0,
        "note": 0,
        "warn": 1,
        "hold": 0,
        "quarantine": 0,
    }


def test_json_lines_are_one_object_for_each_file_exposure_and_the_end(
    arriero: Arriero, tmp_path: Path
) -> None:
    for sensor in ("R22_S11", "R22_S12", "R22_S10"):
        sidecar(tmp_path, sensor)
    ran = arriero(tmp_path, "--json-lines")
    assert ran.code == 0
    assert [line["kind"] for line in ran.lines] == ["file"] * 3 + ["exposure", "summary"]
    assert ran.lines[3]["files"] == 3
    assert ran.lines[4]["clean"] == 3


def test_a_detector_that_stands_apart_in_its_exposure_is_named(
    arriero: Arriero, tmp_path: Path
) -> None:
    for sensor in ("R22_S11", "R22_S12", "R22_S10"):
        sidecar(tmp_path, sensor, OBJECT="Vela" if sensor == "R22_S12" else "Virgo")
    ran = arriero(tmp_path, "--json", "--fail-on", "warning")
    assert ran.code == 1
    exposure = ran.json["results"][-1]
    assert (exposure["kind"], exposure["obs_id"]) == ("exposure", OBS_ID)
    assert exposure["findings"][0]["code"] == "agreement.differs"
    assert "R22_S12" in exposure["findings"][0]["sentence"]


def test_one_bad_file_does_not_stop_the_others(
    arriero: Arriero, tmp_path: Path, broken: Path, odd: Path
) -> None:
    text = tmp_path / "text.fits"
    text.write_text("no FITS at all")
    gone, pipe = tmp_path / "gone.fits", tmp_path / "pipe.fits"
    os.mkfifo(pipe)
    ran = arriero(gone, text, pipe, broken, odd, "--json")
    assert ran.code == 2
    found = {
        each["file"]: [one["code"] for one in each["findings"]]
        for each in ran.json["results"]
        if each["kind"] == "file"
    }
    assert found[str(gone)] == ["file.unreadable"]
    assert found[str(text)] == ["structure.not_fits"]
    assert found[str(pipe)] == ["file.unreadable"]
    assert "structure.truncated" in found[str(broken)]
    assert found[str(odd)] == ["header.impossible"]
    assert ran.json["summary"]["unreadable"] == 2


def test_a_folder_is_searched_and_each_image_checked_once(arriero: Arriero, tmp_path: Path) -> None:
    folder = tmp_path / "20261103" / OBS_ID
    folder.mkdir(parents=True)
    path = simulated_file(folder)
    sidecar(folder)
    (folder / f"{OBS_ID}_expectedSensors.json").write_text("{}")
    (folder / "notes.txt").write_text("not an image")
    other = simulated_file(tmp_path, ImageType.OBJECT, "R01_S20")
    wrapped = folder / f"{other.name}.gz"
    wrapped.write_bytes(gzip.compress(other.read_bytes(), 1))
    other.unlink()
    ran = arriero(tmp_path, "--json", "--fail-on", "warning")
    files = [each["file"] for each in ran.json["results"] if each["kind"] == "file"]
    assert sorted(files) == sorted([str(path), str(wrapped)])
    assert ran.code == 0
    chosen = arriero(tmp_path, "--json", "--pattern", "*R01*")
    assert [each["file"] for each in chosen.json["results"]] == [str(wrapped)]


def test_a_list_of_sensors_is_no_sidecar_where_it_is_named(
    arriero: Arriero, tmp_path: Path
) -> None:
    path = tmp_path / f"{OBS_ID}_expectedSensors.json"
    path.write_text("[]")
    ran = arriero(path, "--json")
    assert ran.json["results"][0]["findings"][0]["code"] == "sidecar.invalid"


def test_a_file_may_be_named_by_its_uri(arriero: Arriero, tmp_path: Path) -> None:
    ran = arriero(simulated_file(tmp_path).as_uri(), "--json", "--fail-on", "warning")
    assert ran.code == 0
    assert ran.json["summary"]["clean"] == 1


def test_a_site_decides_by_a_file_or_by_the_environment(
    arriero: Arriero, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "LSSTCam.yaml"
    policy.write_text("version: 1\nquarantine: [header.impossible]\n")
    assert arriero(odd, "--policy", policy).code == 1
    assert arriero(odd).code == 0
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    assert arriero(odd).code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument"),
        (("x.fits", "--fail-on", "never"), "is not one of"),
        (("x.fits", "--policy", "/no/such/policy.yaml"), "does not exist"),
        (("x.fits", "--json", "--json-lines"), "exclude each other"),
        (("s3://nowhere/x.fits",), "no store of the configuration"),
    ],
)
def test_wrong_usage_ends_with_two(arriero: Arriero, arguments: tuple[str, ...], said: str) -> None:
    ran = arriero(*arguments)
    assert ran.code == 2
    assert said in ran.err


def test_a_wrong_policy_ends_with_two_and_its_line(
    arriero: Arriero, odd: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nhold: []\nqarantine: []\n")
    ran = arriero(odd, "--policy", policy)
    assert ran.code == 2
    assert f"{policy}:3: unknown key qarantine" in ran.err
    as_json = arriero(odd, "--policy", policy, "--json")
    assert json.loads(as_json.err)["code"] == "check.impossible"


def test_a_configuration_that_is_wrong_ends_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("storess: {}\n")
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "check", "s3://raw/x.fits"])
    assert ended.value.code == 2
    assert "config.yaml:1" in capsys.readouterr().err
