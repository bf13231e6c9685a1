"""Checks of single cards: required, undefined, type, range, unit, allowed values."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from translators.checks.catalogue import found
from translators.checks.keywords import Keyword
from translators.checks.subject import HeaderSubject, listed
from translators.checks.units import in_defined_unit, stated_otherwise
from translators.findings import Finding
from translators.inspection import CardValue

_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
)
_TYPE_NAMES = MappingProxyType(
    {"str": "a text", "int": "a whole number", "float": "a number", "bool": "T or F"}
)
_NO_NUMBERS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"})
_AIRMASS_CARDS = ("AMSTART", "AMEND", "AIRMASS")
_LEAST_AIRMASS = 0.999
_PAIRS = (("RA", "DEC"), ("RASTART", "DECSTART"), ("RAEND", "DECEND"))
"""Both exactly zero: never filled in."""
_NOTES = ("ASTRO METADATA FIX ", "ARRIERO ORIGINAL ")
"""What a correction notes in a header, behind HIERARCH."""

Conversion = tuple[str, Callable[[float], float]]
_OTHER_UNITS: Mapping[str, tuple[Conversion, ...]] = MappingProxyType(
    {
        "Pa": (("hPa", lambda x: x * 100.0), ("kPa", lambda x: x * 1000.0)),
        "hPa": (("Pa", lambda x: x / 100.0), ("kPa", lambda x: x * 10.0)),
        "deg_C": (("K", lambda x: x - 273.15), ("deg_F", lambda x: (x - 32.0) / 1.8)),
        "s": (("ms", lambda x: x / 1000.0), ("us", lambda x: x / 1e6)),
        "mm": (("um", lambda x: x / 1000.0), ("nm", lambda x: x / 1e6)),
        "h": (("deg", lambda x: x / 15.0),),
        "arcsec": (("deg", lambda x: x * 3600.0), ("mas", lambda x: x / 1000.0)),
        "m/s": (("km/h", lambda x: x / 3.6),),
        "nm": (("um", lambda x: x * 1000.0), ("Angstrom", lambda x: x / 10.0)),
    }
)


def card_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Check the cards of a header one by one."""
    impossible, unset = dict(_no_measurements(subject)), dict(_unset_pointing(subject))
    if subject.image_type not in subject.policy.calibrations:
        impossible |= unset
    elif unset:
        told = listed([f"{card} is {why}" for card, why in unset.items()])
        yield found("header.idle_pointing", f"{told}; nothing was tracked")
    if impossible:
        told = listed([f"{card} is {why}" for card, why in impossible.items()])
        yield found("header.impossible", f"{told}; no measurement gives this")
    if subject.stamps:
        return
    yield from _missing_findings(subject)
    yield from _definition_findings(subject, frozenset({*impossible, *unset}))
    yield from _allowed_findings(subject)


def registration_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Tell which cards lack that a registration needs."""
    if subject.stamps:
        return
    lacking = [
        " or ".join(cards)
        for cards in subject.policy.registration
        if not any(subject.defined(card) for card in cards)
    ]
    if lacking:
        yield found(
            "header.registration", f"no value in {listed(lacking)}; the image cannot be registered"
        )


def _missing_findings(subject: HeaderSubject) -> Iterator[Finding]:
    lacking = [
        card
        for card in subject.rules.required(subject.image_type)
        if card not in subject.policy.optional and not subject.defined(card)
    ]
    undefined = [card for card in lacking if card in subject.header]
    limit = subject.policy.limits.null_cards
    if len(undefined) > limit:
        yield found(
            "header.null_block",
            f"{len(undefined)} required cards are undefined, more than {limit}: "
            f"{listed(undefined)}; the header service's values did not reach the file",
        )
        lacking = [card for card in lacking if card not in subject.header]
    if lacking:
        yield found(
            "header.missing",
            f"{len(lacking)} required cards have no value: {listed(lacking)}; they are "
            "absent or undefined",
        )


def _definition_findings(subject: HeaderSubject, passed: frozenset[str]) -> Iterator[Finding]:
    wrong_type, out_of_range, wrong_unit = [], [], []
    for keyword in subject.rules.keywords.values():
        value = subject.header.get(keyword.name)
        known = keyword.name in subject.policy.exempt or keyword.name in passed
        if value is None or value == "" or known:
            continue
        if not has_type(value, keyword.type):
            wrong_type.append(f"{keyword.name} is {value!r}, not {_TYPE_NAMES[keyword.type]}")
        elif (number := subject.number(keyword.name)) is not None:
            stated = subject.units.get(keyword.name)
            if stated is not None and stated_otherwise(stated, keyword):
                wrong_unit.append(_stated(number, stated, keyword))
            elif within(number, keyword):
                continue
            elif (unit := other_unit(number, keyword)) is not None:
                wrong_unit.append(
                    f"{keyword.name} is {number:g} where {_range(keyword)} is meant; it looks "
                    f"like {unit}"
                )
            else:
                out_of_range.append(f"{keyword.name} is {number:g}, not {_range(keyword)}")
    for code, told in (
        ("header.type", wrong_type),
        ("header.range", out_of_range),
        ("header.unit", wrong_unit),
    ):
        if told:
            yield found(code, listed(told))


def has_type(value: CardValue, name: str) -> bool:
    """Tell whether a value is of a type of the definitions; a whole number is also a float."""
    types = _TYPES.get(name)
    if types is None:
        return True
    return isinstance(value, types) and isinstance(value, bool) == (name == "bool")


def within(number: float, keyword: Keyword) -> bool:
    """Tell whether a number is in the range of its definition."""
    above = keyword.low is None or number >= keyword.low
    return above and (keyword.high is None or number <= keyword.high)


def other_unit(number: float, keyword: Keyword) -> str | None:
    """Return the unit in which a number out of range would be in it; None: in none."""
    if keyword.low is None or keyword.high is None:
        return None
    for name, convert in _OTHER_UNITS.get(keyword.unit, ()):
        if within(convert(number), keyword):
            return name
    return None


def _stated(number: float, stated: str, keyword: Keyword) -> str:
    """Tell what the value says of a card that states another unit than its definition."""
    text = f"{keyword.name} states [{stated}] where {keyword.unit} is defined"
    if keyword.low is None and keyword.high is None:
        return text
    converted = in_defined_unit(number, stated, keyword)
    in_stated = converted is not None and within(converted, keyword)
    if in_stated and not within(number, keyword):
        return f"{text}, and its value {number:g} is in [{stated}]"
    if within(number, keyword) and not in_stated:
        return f"{text}, though its value {number:g} is in {keyword.unit}: the comment is wrong"
    if in_stated:
        return f"{text}; its value {number:g} could be in either"
    return f"{text}; its value {number:g} is plausible in neither"


def _range(keyword: Keyword) -> str:
    low = "any" if keyword.low is None else f"{keyword.low:g}"
    high = "any" if keyword.high is None else f"{keyword.high:g}"
    return f"{low} to {high} {keyword.unit}".rstrip()


def _allowed_findings(subject: HeaderSubject) -> Iterator[Finding]:
    wrong = [
        f"{card} is {subject.header[card]!r}, not {' or '.join(texts)}"
        for card, texts in subject.policy.allowed.items()
        if subject.defined(card) and str(subject.header[card]).strip().upper() not in texts
    ]
    if wrong:
        yield found("header.value", listed(wrong))


def _no_measurements(subject: HeaderSubject) -> Iterator[tuple[str, str]]:
    for card, value in subject.header.items():
        if isinstance(value, float):
            if (why := _no_measurement(value)) and not card.removeprefix("HIERARCH ").startswith(
                _NOTES
            ):
                yield card, why
        elif isinstance(value, str) and value.strip().lower() in _NO_NUMBERS:
            definition = subject.rules.keywords.get(card)
            if definition is not None and definition.type in {"float", "int"}:
                yield card, repr(value)


def _unset_pointing(subject: HeaderSubject) -> Iterator[tuple[str, str]]:
    """Yield what the telescope's control leaves where nothing is tracked."""
    for card in _AIRMASS_CARDS:
        number = subject.number(card)
        if number is not None and number < _LEAST_AIRMASS and not _no_measurement(number):
            yield card, f"{number:g}"
    for longitude, latitude in _PAIRS:
        if subject.number(longitude) == subject.number(latitude) == 0.0:
            yield f"{longitude} and {latitude}", "0 both"


def _no_measurement(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value != 0.0 and abs(value) < sys.float_info.min:
        return f"{value!r}, a denormal number"
    return ""
