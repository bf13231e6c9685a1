"""Where instruments are described: in the distribution, and in folders that a site names.

Each instrument has a folder of its name with `instrument.yaml`, or with
`translator.yaml` where headers are translated by rules and not by a class.
"""

from __future__ import annotations

import os
from pathlib import Path

from translators.resources import config_root

INSTRUMENTS_PATH_VARIABLE = "ARRIERO_INSTRUMENTS_PATH"
"""Environment variable with further folders of instruments, separated as in PATH."""

DATA_FILE = "instrument.yaml"
"""Facts of an instrument whose headers a class translates."""
TRANSLATOR_FILE = "translator.yaml"
"""Facts of an instrument and the rules by which its headers are translated."""

_added: list[Path] = []


def add_folder(path: Path) -> None:
    """Look for instruments in a further folder, after those that are known.

    What was remembered of instruments before is not forgotten; call
    `translators.plugin.load_folder`, which does both.
    """
    if path not in _added:
        _added.append(path)


def folders(root: Path | None = None) -> tuple[Path, ...]:
    """Return the folders with instruments, in the order in which they count.

    Parameters
    ----------
    root
        The distribution's `config`; None: where it is installed.
    """
    own = (config_root() if root is None else root) / "instruments"
    named = filter(None, os.environ.get(INSTRUMENTS_PATH_VARIABLE, "").split(os.pathsep))
    return tuple(dict.fromkeys((own, *map(Path, named), *_added)))


def instrument_folders(root: Path | None = None) -> dict[str, Path]:
    """Return the folders of all instruments by their names, sorted.

    Where two folders describe an instrument of the same name the first counts.
    """
    found: dict[str, Path] = {}
    for folder in folders(root):
        for file_name in (DATA_FILE, TRANSLATOR_FILE):
            for path in folder.glob(f"*/{file_name}"):
                found.setdefault(path.parent.name, path.parent)
    return dict(sorted(found.items()))


def instrument_folder(name: str, root: Path | None = None) -> Path | None:
    """Return the folder of an instrument, None where nobody describes it."""
    for folder in folders(root):
        if any((folder / name / each).is_file() for each in (DATA_FILE, TRANSLATOR_FILE)):
            return folder / name
    return None


def instrument_file(name: str, file_name: str, root: Path | None = None) -> Path | None:
    """Return a file of an instrument, the first that there is, None where there is none."""
    candidates = (folder / name / file_name for folder in folders(root))
    return next((path for path in candidates if path.is_file()), None)
