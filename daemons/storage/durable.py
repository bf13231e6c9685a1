"""Folders and files that outlive a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a folder that somebody removed has none."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path, *, below: Path) -> None:
    """Make a folder and those that lead to it, durably, below one that must exist.

    Others may remove empty folders meanwhile.

    Raises
    ------
    FileNotFoundError
        `below` is not there: its file system is not mounted, perhaps.
    FileExistsError, NotADirectoryError
        A file stands where a folder is needed.
    """
    while not folder.is_dir():
        if folder == below:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(below))
        make_folders(folder.parent, below=below)
        try:
            folder.mkdir()
        except FileNotFoundError:  # a racing deletion took the empty parent
            continue
        except FileExistsError:
            if os.path.lexists(folder) and not folder.is_dir():
                raise
        else:
            sync_folder(folder.parent)
