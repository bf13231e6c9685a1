"""What a name in the drop directory stands for. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from daemons.forwarder.model import FileKind
from daemons.forwarder.settings import ForwarderSettings


class Role(StrEnum):
    """What a file is for, by its name."""

    IMAGE = "image"
    ATTACHMENT = "attachment"
    SIDECAR = "sidecar"
    """JSON that goes with the image of the same name."""
    IGNORED = "ignored"
    UNKNOWN = "unknown"
    """Reported once and left alone."""

    @property
    def kind(self) -> FileKind | None:
        """What it is to the journal; None where the journal does not take it."""
        if self is Role.IMAGE:
            return FileKind.IMAGE
        return FileKind.ATTACHMENT if self is Role.ATTACHMENT else None


def role_of(name: str, settings: ForwarderSettings) -> Role:
    """Return what a file of this name is."""
    if ignored(name, settings):
        return Role.IGNORED
    if _fits(name, settings.attachment_patterns):
        return Role.ATTACHMENT
    if _fits(name, settings.file_patterns):
        return Role.IMAGE
    return Role.SIDECAR if name.endswith(".json") else Role.UNKNOWN


def ignored(name: str, settings: ForwarderSettings) -> bool:
    """Return whether files and folders of this name are never looked at."""
    return _fits(name, settings.ignore_patterns)


def role_below(path: bytes, root: bytes, settings: ForwarderSettings) -> Role:
    """Return what a path below a folder is; a part of it that is ignored hides the rest."""
    try:
        parts = Path(os.fsdecode(path)).relative_to(os.fsdecode(root)).parts
    except ValueError:
        return Role.IGNORED
    if any(ignored(part, settings) for part in parts[:-1]):
        return Role.IGNORED
    return role_of(parts[-1], settings)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
