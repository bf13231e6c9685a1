"""Checks of the filter against its band and its slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from translators.checks.catalogue import found
from translators.checks.subject import HeaderSubject
from translators.findings import Finding
from translators.instruments import Instrument

_NONE = frozenset({"empty", "none", "unknown"})
"""Names that say that no filter, or which one nobody knows, was in the beam."""


def filter_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Check the name of the filter, its band and its slot."""
    card = subject.policy.filter_card
    name = None if card is None else subject.text(card)
    if subject.instrument is None or name is None:
        return
    bands = _bands(subject.instrument)
    known = name if name in bands else _numbered_empty(name)
    if known not in bands:
        yield found(
            "filter.unknown",
            f"{card} is {name}; {subject.instrument.name} has {', '.join(bands)}",
        )
    else:
        yield from _band_findings(subject, name, bands[known])
    yield from _slot_findings(subject, name)


def _bands(instrument: Instrument) -> Mapping[str, str]:
    return {each.name: each.band for each in instrument.filters}


def _numbered_empty(name: str) -> str:
    """Return the plain name of an empty place, which may carry a number."""
    return "empty" if name.lower().startswith("empty") else name.replace("NONE", "none")


def _band_findings(subject: HeaderSubject, name: str, band: str) -> Iterator[Finding]:
    stated = subject.text("FILTBAND")
    if stated is None or stated.lower() in {band, *_NONE, "other"} or name.lower() in _NONE:
        return
    if band == "white":
        # A pinhole or an empty frame is named by itself.
        return
    yield found("filter.band", f"FILTBAND is {stated}, and the band of {name} is {band}")


def _slot_findings(subject: HeaderSubject, name: str) -> Iterator[Finding]:
    changer, slot = subject.policy.filter_slots, subject.number("FILTSLOT")
    if changer is None or slot is None or _numbered_empty(name) in _NONE:
        return
    if not changer.first <= slot <= changer.last:
        yield found(
            "filter.slot",
            f"FILTSLOT is {slot:g}, not {changer.first} to {changer.last}, though FILTER is "
            f"{name}; the changer did not know what it holds",
        )
    elif name in changer.holds and slot not in changer.holds[name]:
        wanted = " or ".join(map(str, changer.holds[name]))
        yield found("filter.slot", f"FILTSLOT is {slot:g}, and {name} is in slot {wanted}")
