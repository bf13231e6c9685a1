"""Reading the drop directory, and what names stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from daemons.forwarder.model import FileIdentity
from daemons.forwarder.roles import Role, role_below, role_of
from daemons.forwarder.scan import Found, ScanBatch, look, scan
from daemons.forwarder.settings import ForwarderSettings
from daemons.runtime.settings import schema
from translators.findings import Finding


@pytest.fixture
def settings(tmp_path: Path) -> ForwarderSettings:
    return ForwarderSettings(
        drop_directory=tmp_path / "drop",
        state_directory=tmp_path / "state",
        quarantine_directory=tmp_path / "quarantine",
    )


@pytest.fixture
def root(settings: ForwarderSettings) -> Path:
    settings.drop_directory.mkdir()
    return settings.drop_directory


def everything(root: Path, settings: ForwarderSettings) -> ScanBatch:
    whole = ScanBatch()
    for batch in scan(os.fsencode(root), settings):
        whole.files += batch.files
        whole.unknown += batch.unknown
        whole.refused += batch.refused
    return whole


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("a.fits", Role.IMAGE),
        ("a.fits.fz", Role.IMAGE),
        ("a.json", Role.SIDECAR),
        ("MC_O_20250501_000001_expectedSensors.json", Role.ATTACHMENT),
        ("a.txt", Role.UNKNOWN),
        ("a.FITS", Role.UNKNOWN),
        (".a.fits", Role.IGNORED),
        ("a.fits.tmp", Role.IGNORED),
        ("a.fits.part", Role.IGNORED),
        ("a.fits~", Role.IGNORED),
    ],
)
def test_names_stand_for_roles(name: str, role: Role, settings: ForwarderSettings) -> None:
    assert role_of(name, settings) is role


def test_a_hidden_folder_hides_what_is_in_it(root: Path, settings: ForwarderSettings) -> None:
    base = os.fsencode(root)
    assert role_below(base + b"/.trash/a.fits", base, settings) is Role.IGNORED
    assert role_below(base + b"/night/a.fits", base, settings) is Role.IMAGE
    assert role_below(b"/elsewhere/a.fits", base, settings) is Role.IGNORED


def test_a_scan_finds_all_files_of_all_folders_in_batches(
    root: Path, settings: ForwarderSettings
) -> None:
    wanted = set()
    for number in range(1203):
        path = root / f"night{number % 7}" / "deep" / f"{number}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        wanted.add(os.fsencode(path))
    (root / ".hidden").mkdir()
    (root / ".hidden" / "a.fits").touch()
    (root / "a.json").touch()
    batches = list(scan(os.fsencode(root), settings))
    found = [file.path for batch in batches for file in batch.files]
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert max(map(len, batches)) <= 500


def test_links_are_refused_and_not_followed(
    root: Path, tmp_path: Path, settings: ForwarderSettings
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.fits").touch()
    (root / "folder").symlink_to(outside)
    (root / "file.fits").symlink_to(outside / "secret.fits")
    (root / "loop.fits").symlink_to(root / "loop.fits")
    os.mkfifo(root / "pipe.fits")
    (root / "directory.fits").mkdir()
    whole = everything(root, settings)
    assert whole.files == []
    codes = {os.path.basename(path): finding.code for path, finding in whole.refused}  # noqa: PTH119 - bytes
    assert codes == {
        b"file.fits": "file.symlink",
        b"loop.fits": "file.symlink",
        b"pipe.fits": "file.not_regular",
    }


def test_a_root_that_is_not_there_is_told_and_a_folder_that_vanishes_is_not(
    root: Path, settings: ForwarderSettings
) -> None:
    (root / "a").mkdir()
    (root / "b.fits").touch()
    batches: Iterator[ScanBatch] = scan(os.fsencode(root), settings)
    (root / "a").rmdir()
    assert [file.path for batch in batches for file in batch.files] == [
        os.fsencode(root / "b.fits")
    ]
    (root / "b.fits").unlink()
    root.rmdir()
    with pytest.raises(FileNotFoundError):
        list(scan(os.fsencode(root), settings))


def test_looking_at_one_file_tells_its_identity_or_why_not(root: Path) -> None:
    path = root / "a.fits"
    assert look(os.fsencode(path), Role.IMAGE) is None
    path.write_bytes(b"12345")
    found = look(os.fsencode(path), Role.IMAGE)
    assert isinstance(found, Found)
    assert found.identity == FileIdentity.from_stat(path.stat())
    os.link(path, root / "b.fits")
    again = look(os.fsencode(path), Role.IMAGE)
    assert isinstance(again, Found)
    assert again.links == 2
    path.unlink()
    path.symlink_to(root / "b.fits")
    assert isinstance(look(os.fsencode(path), Role.IMAGE), Finding)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"quarantine_directory": "drop/quarantine"}, "quarantine_directory .* is inside"),
        ({"state_directory": "drop"}, "state_directory .* is inside"),
        ({"key_template": "{night}/{file}"}, "uses {night}"),
        ({"run_templates": {"raw": "{obs_id}"}}, "uses {obs_id}"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_sentence(
    changed: dict[str, object], sentence: str
) -> None:
    fields = {
        "drop_directory": "drop",
        "state_directory": "state",
        "quarantine_directory": "quarantine",
    }
    with pytest.raises(ValidationError, match=sentence):
        ForwarderSettings.model_validate({**fields, **changed})


def test_every_setting_has_a_sentence() -> None:
    for name, field in schema(ForwarderSettings)["properties"].items():
        assert len(field.get("description", "")) > 15, name
