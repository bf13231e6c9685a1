"""What is wrong with a file, as values: a code, a severity and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    """Worth knowing."""
    WARNING = "warning"
    """The file is used; somebody should look."""
    ERROR = "error"
    """The file is set aside until a person decides."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    code: str
    """Stable and dotted, such as `structure.truncated`."""
    severity: Severity
    sentence: str
    """What is wrong, where, and what to do, for a person."""
    hdu: int | None = None
    """Index of the HDU, from 0, where it concerns one."""
