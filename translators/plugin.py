"""Entry point `astro_metadata_translators`: loading it registers the translators.

Classes for the cameras of the Rubin Observatory, and one made of rules for every
`translator.yaml` of the distribution and of the folders in
`$ARRIERO_INSTRUMENTS_PATH`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from translators import focalplane, instruments
from translators.cardtranslator import CardTranslator
from translators.corrections import RULES_FILE, read_rules, rules_of
from translators.errors import InstrumentDataError
from translators.generic.definition import Definition, read_definition
from translators.generic.translator import GenericTranslator, class_of
from translators.instruments_folders import (
    DATA_FILE,
    TRANSLATOR_FILE,
    add_folder,
    instrument_folders,
)
from translators.lsst.laboratory import (
    LsstTs3Translator,
    LsstTs8Translator,
    LsstUcdCamTranslator,
)
from translators.lsst.latiss import LatissTranslator
from translators.lsst.simonyi import (
    LsstCamSimTranslator,
    LsstCamTranslator,
    LsstComCamSimTranslator,
    LsstComCamTranslator,
)
from translators.lsst.simulated import LsstCamImSimTranslator, LsstCamPhoSimTranslator

_log = logging.getLogger(__name__)

_translators: dict[str, type[CardTranslator]] = {
    translator.data_name: translator
    for translator in (
        LsstCamTranslator,
        LsstComCamTranslator,
        LatissTranslator,
        LsstCamSimTranslator,
        LsstComCamSimTranslator,
        LsstTs8Translator,
        LsstTs3Translator,
        LsstUcdCamTranslator,
        LsstCamImSimTranslator,
        LsstCamPhoSimTranslator,
    )
}
_faults: dict[Path, str] = {}

TRANSLATORS: Mapping[str, type[CardTranslator]] = MappingProxyType(_translators)
"""Our translator classes by the name of their instrument; what `load_folder` adds appears
here, too."""


def translator_names() -> list[str]:
    """Return the names under which the translators are registered."""
    return [str(translator.name) for translator in TRANSLATORS.values()]


def faults() -> Mapping[Path, str]:
    """Return what is wrong with a `translator.yaml` that was left out, by its path."""
    return MappingProxyType(_faults)


def load_folder(folder: Path) -> tuple[str, ...]:
    """Register the instruments of a further folder, each in a folder of its own.

    Returns
    -------
    tuple
        Names of the instruments there.

    Raises
    ------
    InstrumentDataError
        There is none, or the rules of one are wrong; nothing is registered.
    """
    paths = sorted(folder.glob(f"*/{TRANSLATOR_FILE}"))
    if not paths:
        raise InstrumentDataError(
            f"{folder} has no instrument: write {folder / '<name>' / TRANSLATOR_FILE}"
        )
    made = [(path, _checked(path)) for path in paths]
    add_folder(folder)
    for each in (instruments, focalplane):
        each.forget()
    rules_of.cache_clear()
    for path, definition in made:
        _translators[definition.name] = class_of(definition, path.parent)
    return tuple(definition.name for _, definition in made)


def _checked(path: Path) -> Definition:
    """Read an instrument's rules, and its corrections so that faults are told at once."""
    corrections = path.parent / RULES_FILE
    if corrections.is_file():
        read_rules(corrections)
    return read_definition(path)


def _of_rules() -> Iterator[tuple[str, type[GenericTranslator]]]:
    """Register what is described by rules; a fault is logged and told by `faults`."""
    for name, folder in instrument_folders().items():
        path = folder / TRANSLATOR_FILE
        if (folder / DATA_FILE).is_file():
            continue
        try:
            yield name, class_of(_checked(path), folder)
        except InstrumentDataError as error:
            _faults[path] = str(error)
            _log.error("%s is left out: %s", path, error)


_translators.update(_of_rules())
