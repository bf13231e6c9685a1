"""A drop directory full of old files that the journal knows."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

_PER_FOLDER = 410
"""Files of an exposure's folder: 205 images and as many sidecars."""
_EXPOSURES_A_NIGHT = 1000
_AGE_S = 86_400.0


def make_old_files(drop: Path, files: int) -> None:
    """Make empty files in folders by night and exposure, as a camera leaves them."""
    made = number = 0
    while made < files:
        day = 20260101 + number // _EXPOSURES_A_NIGHT
        name = f"MC_O_{day}_{number % _EXPOSURES_A_NIGHT + 1:06d}"
        folder = drop / str(day) / name
        folder.mkdir(parents=True, exist_ok=True)
        for detector in range(min(_PER_FOLDER, files - made)):
            descriptor = os.open(folder / f"{name}_R{detector:03d}.fits", os.O_CREAT | os.O_WRONLY)
            os.close(descriptor)
            made += 1
        number += 1


def known_files(journal: Path, drop: Path) -> None:
    """Enter every file of a drop directory into a closed journal, as announced long ago."""
    base = sqlite3.connect(journal)
    then = time.time() - _AGE_S
    rows = []
    for folder, _, names in os.walk(os.fsencode(drop)):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - bytes, as the journal has them
            status = os.lstat(path)
            rows.append((path, path, status.st_dev, status.st_ino, status.st_ctime_ns, then, then))
    base.executemany(
        "INSERT INTO files (path, location, device, inode, size_bytes, ctime_ns, kind, state, "
        "seen_at, changed_at) VALUES (?, ?, ?, ?, 0, ?, 'image', 'registered', ?, ?)",
        rows,
    )
    base.commit()
    base.close()
