"""The example configurations can be used as they are."""

from pathlib import Path

import pytest

from daemons.cli.settings import load
from translators.resources import config_root

EXAMPLES = sorted((config_root() / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_names_services_to_run(path: Path) -> None:
    settings = load(path).value
    assert settings.services
    for name in settings.services:
        assert getattr(settings, name) is not None


def test_there_are_examples_for_each_kind_of_site() -> None:
    assert {path.stem for path in EXAMPLES} == {"camera-host", "facility", "dome"}
