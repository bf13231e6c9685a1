"""Where secrets come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from daemons.runtime.errors import SettingsError
from daemons.runtime.secrets import SecretRef


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_read_without_its_line_break(tmp_path: Path) -> None:
    assert SecretRef(file=write(tmp_path / "s", "hunter2\n")).read() == "hunter2"


def test_a_rotated_secret_is_picked_up(tmp_path: Path) -> None:
    path = write(tmp_path / "s", "old")
    secret = SecretRef(file=path)
    assert secret.read() == "old"
    write(path, "new")
    assert secret.read() == "new"


def test_a_file_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s", "hunter2", 0o644)
    with pytest.raises(SettingsError, match="chmod o-rwx"):
        SecretRef(file=path).read()


def test_an_empty_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is empty"):
        SecretRef(file=write(tmp_path / "s", "\n")).read()
    with pytest.raises(SettingsError, match="No such file"):
        SecretRef(file=tmp_path / "absent").read()


def test_a_credential_is_found_in_the_folder_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "s3-key", "hunter2", 0o444)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert SecretRef(credential="s3-key").read() == "hunter2"


def test_a_credential_without_systemd_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError, match="LoadCredential"):
        SecretRef(credential="s3-key").read()


@pytest.mark.parametrize("given", [{}, {"file": "/a", "credential": "b"}])
def test_exactly_one_place_must_be_named(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        SecretRef.model_validate(given)
