"""Find the images below folders, each once, whatever forms their headers are kept in."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from translators.errors import UnreadableFileError
from translators.index import INDEX_NAME
from translators.sidecar import FITS_NAME, sidecar_name


def find_files(paths: Iterable[Path], pattern: str | None = None) -> Iterator[Path]:
    """Yield files, and the files in folders and their folders, in a stable order.

    Parameters
    ----------
    paths
        Files, which are yielded as they are, and folders.
    pattern
        Which names to take in folders, as in the shell (`*_R22_*.json`). None: every
        image once, that is FITS files, and sidecars beside which there is no FITS
        file; index files are left out.

    Raises
    ------
    UnreadableFileError
        A path does not exist, or a folder cannot be read.

    Notes
    -----
    Memory is bounded by the largest folder. Links to folders are not followed.
    """
    for path in paths:
        if path.is_dir():
            yield from _below(path, pattern)
        elif path.exists():
            yield path
        else:
            raise UnreadableFileError(f"{path} does not exist")


def images(names: Iterable[str], pattern: str | None = None) -> list[str]:
    """Choose among the names in one folder, sorted."""
    if pattern is not None:
        return sorted(fnmatch.filter(names, pattern))
    known = list(names)
    fits = {name for name in known if FITS_NAME.search(name)}
    told = {sidecar_name(name) for name in fits} | {INDEX_NAME}
    sidecars = {name for name in known if name.endswith(".json")} - told
    return sorted(fits | sidecars)


def _below(folder: Path, pattern: str | None) -> Iterator[Path]:
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    except OSError as error:
        raise UnreadableFileError(f"{folder} cannot be listed: {error.strerror}") from error
    for name in images(files, pattern):
        yield folder / name
    for name in sorted(folders):
        yield from _below(folder / name, pattern)
