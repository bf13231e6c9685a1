"""The headers of one exposure against each other: what the detectors share must agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from translators.checks.catalogue import found
from translators.checks.subject import listed
from translators.findings import Finding
from translators.inspection import CardValue

Header = Mapping[str, CardValue]
Values = Mapping[str, CardValue]
"""Detector to value."""


def agreement_findings(
    headers: Sequence[tuple[str, Header]], *, own: Collection[str]
) -> tuple[Finding, ...]:
    """Compare the headers of one exposure, and say which detectors stand apart.

    Parameters
    ----------
    headers
        Name of the detector and its primary header, one for each file. Files of
        guider stamps do not belong here: their header describes no exposure.
    own
        Cards that differ between detectors. A card that a header does not have at
        all is no disagreement.
    """
    by_detector: dict[str, Header] = {}
    twice: dict[str, None] = {}
    for detector, header in headers:
        if detector in by_detector:
            twice[detector] = None
        by_detector.setdefault(detector, header)
    findings = []
    if twice:
        findings.append(
            found(
                "agreement.detector_twice",
                f"{listed(list(twice))}: more than one file says that it is this detector of the "
                "exposure; the first of each was compared",
            )
        )
    keywords = dict.fromkeys(card for header in by_detector.values() for card in header)
    shared = {
        card: {name: header[card] for name, header in by_detector.items() if card in header}
        for card in keywords
        if card not in own
    }
    findings += _undefined(shared)
    findings += _differing(shared)
    return tuple(findings)


def _undefined(shared: Mapping[str, Values]) -> Iterator[Finding]:
    """Tell which detectors lack values that others have, those that lack the same together."""
    lacking: dict[str, list[str]] = defaultdict(list)
    for card, values in shared.items():
        without = [name for name, value in values.items() if value is None]
        if len(without) < len(values):
            for name in without:
                lacking[name].append(card)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, cards in lacking.items():
        alike[tuple(cards)].append(name)
    for missing, names in alike.items():
        yield found(
            "agreement.undefined",
            f"{listed(names)} ({len(names)} detectors): {len(missing)} cards are undefined that "
            f"other detectors of the exposure have: {listed(list(missing))}",
        )


def _differing(shared: Mapping[str, Values]) -> Iterator[Finding]:
    """Tell which detectors say otherwise than most, those that differ in the same cards once."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for card, values in shared.items():
        stated = {name: value for name, value in values.items() if value is not None}
        apart = _apart(stated)
        if apart:
            alike[tuple(apart)].append(_difference(card, stated, apart))
    for group, differences in alike.items():
        yield found(
            "agreement.differs",
            f"{listed(list(group))} stand apart in {len(differences)} cards: {listed(differences)}",
        )


def _apart(stated: Values) -> list[str]:
    """Return the detectors that do not have the value of most; without a majority all."""
    counts = Counter(map(_key, stated.values()))
    if len(counts) < 2:  # noqa: PLR2004 - one value is agreement
        return []
    common, count = counts.most_common(1)[0]
    if count * 2 <= len(stated):
        return list(stated)
    return [name for name, value in stated.items() if _key(value) != common]


def _difference(card: str, stated: Values, apart: Collection[str]) -> str:
    most = next((value for name, value in stated.items() if name not in apart), None)
    values = list(dict.fromkeys(repr(stated[name]) for name in apart))
    if most is None:
        return f"{card} is {' and '.join(values[:3])}"
    return f"{card} is {' or '.join(values[:3])}, {most!r} for the other {len(stated) - len(apart)}"


def _key(value: CardValue) -> str:
    """Return what is the same for equal values; not a number equals itself here."""
    return repr(value)
