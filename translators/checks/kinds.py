"""What the catalogue says of a kind of finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from translators.findings import Severity


class Subject(StrEnum):
    """What a finding is about."""

    FILE = "The file"
    STRUCTURE = "Structure and checksums"
    CARDS = "Cards of the primary header"
    IDENTITY = "Which image it is"
    TRANSLATION = "Translation and registration"
    TIME = "Times"
    POINTING = "Pointing and physics"
    FILTER = "Filter"
    AGREEMENT = "Detectors of one exposure"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One entry of the catalogue."""

    code: str
    """Stable and dotted."""
    subject: Subject
    severity: Severity
    """How much it matters where no policy says otherwise."""
    sentence: str
    """What is wrong, in general."""
    advice: str
    """What to do."""
    also: tuple[Severity, ...] = ()
    """Other severities that it is found with, by what exactly is wrong."""
    final: bool = False
    """Whether no policy can weaken it: with it nothing can be done with the file."""
