"""The wheel is whole: installed elsewhere, without the checkout, everything works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from daemons.cli.main import LazyGroup, cli

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_TRANSLATOR_NAMES = """
from importlib.metadata import entry_points
plugins = entry_points(group="astro_metadata_translators")
(ours,) = [each for each in plugins if each.name == "arriero"]
print(sorted(ours.load()()))
"""


@pytest.fixture(scope="module", name="wheel")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(CHECKOUT)],
        check=True,
        capture_output=True,
        timeout=110,
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module", name="arriero")
def _arriero(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel beside, not over, the dependencies of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
        timeout=110,
    )
    # The locked dependencies are those of the test environment; arriero itself is not
    # among them, for it is installed there by a path file that .pth entries do not follow.
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    for each in ours.iterdir():
        if "arriero" not in each.name and not (site / each.name).exists():
            (site / each.name).symlink_to(each)
    return folder / "env" / "bin" / "arriero"


def run(arriero: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [arriero, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_it_holds_the_data_and_neither_tests_nor_paths_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "translators/_config/instruments/LSSTCam/instrument.yaml" in names
    assert "translators/_config/instruments/LSSTCam/keywords.yaml" in names
    assert "translators/_config/events/asyncapi.yaml" in names
    assert "translators/_config/sal/topics.json" in names
    assert any(name.startswith("daemons/forwarder/schema/") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_every_command_explains_itself(arriero: Path, tmp_path: Path) -> None:
    assert isinstance(cli, LazyGroup)
    for command in cli.list_commands(None):  # type: ignore[arg-type]
        done = run(arriero, tmp_path, command, "--help")
        assert done.returncode == 0, done.stderr
        assert "Usage: arriero" in done.stdout


def test_the_demonstration_works_without_the_checkout(arriero: Path, tmp_path: Path) -> None:
    options = ("--small", "--exposures", "2", "--detectors", "2", "--json")
    done = run(arriero, tmp_path, "demo", "--directory", "night", *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["registered"] == 4
    assert (tmp_path / "night" / "store").is_dir()
    shutil.rmtree(tmp_path / "night")


def test_configuration_can_be_checked_shown_and_described(arriero: Path, tmp_path: Path) -> None:
    (tmp_path / "arriero.yaml").write_text("services: [forwarder]\nforwader: {}\n")
    wrong = run(arriero, tmp_path, "-c", "arriero.yaml", "config", "check")
    assert wrong.returncode == 78
    assert "arriero.yaml:2" in wrong.stderr
    assert "forwarder" in wrong.stderr
    assert run(arriero, tmp_path, "config", "show").returncode == 0
    schema = json.loads(run(arriero, tmp_path, "config", "schema").stdout)
    assert "forwarder" in schema["properties"]


def test_the_translators_are_published_under_their_entry_point(
    arriero: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            arriero.with_name("python"),
            "-c",
            _TRANSLATOR_NAMES,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "LSSTCam" in done.stdout
