"""Reads a keyword definition file and checks it against what the topics carry."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from daemons.runtime.problems import Problem
from daemons.runtime.settings_errors import explain
from headerservice.catalogue import Catalogue
from headerservice.compiler import Compiler
from headerservice.definitions import KeywordFile
from headerservice.layers import Layers, raise_for, read_layers
from headerservice.rules import Definitions
from translators.resources import config_root


def definitions_path(instrument: str, index: int = 0) -> Path:
    """Return where the shipped keyword definitions of an instrument are.

    Parameters
    ----------
    instrument
        Butler name of the instrument.
    index
        `salIndex`, for an instrument whose cameras differ: where there is a file for that
        one, it is returned.
    """
    folder = config_root() / "instruments" / instrument
    own = folder / f"keywords-{index}.yaml"
    return own if own.is_file() else folder / "keywords.yaml"


def shipped_definitions() -> tuple[Path, ...]:
    """Return every shipped definition file, in the order of the instruments' names."""
    return tuple(sorted((config_root() / "instruments").glob("*/keywords*.yaml")))


def load_definitions(path: Path, catalogue: Catalogue) -> Definitions:
    """Read, check and compile keyword definitions.

    Parameters
    ----------
    path
        The file.
    catalogue
        What the topics carry, such as the SAL dictionary: every field must exist, with the
        declared unit.

    Raises
    ------
    SettingsError
        One line, with file and line number, for each thing that is wrong.
    """
    layers = read_layers(path)
    file = _validated(layers)
    compiler = Compiler(file, catalogue, layers.where)
    definitions = compiler.definitions(layers.digest, layers.files)
    raise_for(layers, compiler.problems)
    return definitions


def _validated(layers: Layers) -> KeywordFile:
    problems: list[Problem] = []
    try:
        return KeywordFile.model_validate(layers.data)
    except ValidationError as error:
        problems.extend(explain(error, KeywordFile, layers.data, layers.where))
        raise_for(layers, problems)
        raise
