"""The catalogue of findings: every code that this package gives, with what to do about it.

Codes are stable: programs, dashboards and policies name them. A code is added
here before anything raises it; a test compares the catalogue with the sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from translators.checks import kinds_file, kinds_header
from translators.checks.kinds import FindingKind, Subject
from translators.findings import Finding, Severity


def _catalogue() -> Iterator[tuple[str, FindingKind]]:
    for kind in (*kinds_file.KINDS, *kinds_header.KINDS):
        yield kind.code, kind


CATALOGUE: Mapping[str, FindingKind] = MappingProxyType(dict(_catalogue()))
"""Every kind of finding by its code, in the order of the reference page."""


def kind_of(code: str) -> FindingKind | None:
    """Return the kind of a finding, None for a code of another package."""
    return CATALOGUE.get(code)


def found(
    code: str, sentence: str, *, hdu: int | None = None, severity: Severity | None = None
) -> Finding:
    """Return a finding of the catalogue.

    Parameters
    ----------
    code
        One of `CATALOGUE`.
    sentence
        What is wrong, where, and what to do.
    hdu
        Index of the HDU, where it concerns one.
    severity
        Where it is not the one of the catalogue.

    Raises
    ------
    KeyError
        The catalogue has no such code.
    """
    return Finding(code, severity or CATALOGUE[code].severity, sentence, hdu)


def advice(code: str) -> str:
    """Return what to do about a finding; empty for a code of another package."""
    kind = kind_of(code)
    return "" if kind is None else kind.advice


__all__ = ["CATALOGUE", "FindingKind", "Subject", "advice", "found", "kind_of"]
