"""The generated files of `config/` and `docs/` are what the code says today."""

import json
from pathlib import Path

import pytest

from daemons.cli.generate import generated_files, write
from daemons.events import CATALOGUE
from translators.resources import config_root


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_a_generated_file_has_not_drifted(name: str) -> None:
    path = config_root().parent / name
    assert path.is_file(), f"{path} is missing: run `make schemas`"
    assert path.read_text() == generated_files()[name], f"{path} is out of date: run `make schemas`"


def test_every_event_type_has_a_schema_that_names_it() -> None:
    for name in CATALOGUE:
        schema = json.loads(generated_files()[f"config/events/{name}.json"])
        assert schema["$id"] == f"{name}.json"
        assert schema["description"]


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(generated_files())
    assert write(tmp_path) == ()
