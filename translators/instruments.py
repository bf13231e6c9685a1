"""The instruments: facts as data in `config/instruments/<name>/` and in a site's own folders.

`instrument.yaml` describes an instrument whose headers a class translates,
`translator.yaml` one whose headers are translated by rules. A file is read once,
validated, and refused with its path where it is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from translators.errors import InstrumentDataError
from translators.generic.definition import read_definition
from translators.inspection import CardValue
from translators.instruments_folders import (
    DATA_FILE,
    TRANSLATOR_FILE,
    instrument_folder,
    instrument_folders,
)
from translators.instruments_model import (
    FileRules,
    FilterData,
    FocalPlane,
    GratingData,
    Instrument,
    Millimetres,
    RaftPlace,
    SensorPlace,
    SensorSize,
)
from translators.resources import config_root

__all__ = [
    "FileRules",
    "FilterData",
    "FocalPlane",
    "GratingData",
    "Instrument",
    "Millimetres",
    "RaftPlace",
    "SensorPlace",
    "SensorSize",
    "corrections_folder",
    "forget",
    "instrument",
    "instrument_names",
    "instrument_of",
]

_SHARED = ("focal_plane", "filters")
"""Keys whose value may be the name of another instrument that has the same."""


@lru_cache(maxsize=1)
def instrument_names() -> tuple[str, ...]:
    """Return the names of all instruments, sorted.

    One whose `translator.yaml` is wrong is left out, so that the others go on;
    `translators.plugin.faults` tells what is wrong with it.
    """
    return tuple(
        name for name, folder in instrument_folders(config_root()).items() if _is_usable(folder)
    )


def _is_usable(folder: Path) -> bool:
    if (folder / DATA_FILE).is_file():
        return True
    try:
        read_definition(folder / TRANSLATOR_FILE)
    except InstrumentDataError:
        return False
    return True


@lru_cache(maxsize=64)
def instrument(name: str) -> Instrument:
    """Return the data of an instrument.

    Raises
    ------
    InstrumentDataError
        There is none of this name, or its file is wrong.
    """
    folder = instrument_folder(name, config_root())
    if folder is None:
        raise InstrumentDataError(
            f"no instrument {name!r}; known are {', '.join(instrument_names())}. To add one, "
            f"write {config_root() / 'instruments' / name / DATA_FILE} or {TRANSLATOR_FILE}"
        )
    path = folder / DATA_FILE
    if not path.is_file():
        return read_definition(folder / TRANSLATOR_FILE).instrument()
    data = _read(path)
    if data.name != name:
        raise InstrumentDataError(
            f"{path}: it names itself {data.name!r}; folder and name must agree"
        )
    return data


def _read(path: Path) -> Instrument:
    try:
        content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        return Instrument.model_validate(_with_shared(content))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise InstrumentDataError(f"{path}: {error}") from error


def _with_shared(content: Any) -> Any:
    """Put in what is said to be the same as another instrument's."""
    if not isinstance(content, dict):
        return content
    shared = {
        key: getattr(instrument(content[key]), key)
        for key in _SHARED
        if isinstance(content.get(key), str)
    }
    return content | shared


def instrument_of(header: Mapping[str, CardValue]) -> Instrument | None:
    """Return the instrument that wrote a header, None where it is none of ours."""
    for name in instrument_names():
        candidate = instrument(name)
        if candidate.recognises(header):
            return candidate
    return None


@lru_cache(maxsize=64)
def corrections_folder(name: str) -> Path | None:
    """Return where an instrument's corrections of single exposures are, None for none."""
    folder = instrument_folder(name, config_root())
    corrections = None if folder is None else folder / "corrections"
    return corrections if corrections is not None and corrections.is_dir() else None


def forget() -> None:
    """Read all files anew when they are asked for next."""
    instrument.cache_clear()
    corrections_folder.cache_clear()
    instrument_names.cache_clear()
