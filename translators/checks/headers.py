"""All checks of one header."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from astro_metadata_translator import fix_header

from translators.checks.cards import card_findings, registration_findings
from translators.checks.filters import filter_findings
from translators.checks.keywords import keyword_rules
from translators.checks.names import name_findings
from translators.checks.pointing import pointing_findings
from translators.checks.policy import CheckPolicy, policy_for
from translators.checks.subject import HeaderSubject
from translators.checks.times import time_findings
from translators.findings import Finding
from translators.inspection import CardValue
from translators.instruments import Instrument, instrument_of
from translators.offline import offline
from translators.plugin import TRANSLATORS

Check = Callable[[HeaderSubject], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    registration_findings,
    card_findings,
    name_findings,
)
"""Of every header."""

EXPOSURE_CHECKS: tuple[Check, ...] = (time_findings, filter_findings, pointing_findings)
"""Of headers that describe an exposure: all but those of guider stamps."""

_FIXED = "ASTRO METADATA FIX MODIFIED"
"""By this card astro-metadata-translator knows a header that was corrected already."""


def header_findings(
    header: Mapping[str, Any],
    *,
    path: str | None = None,
    policy: CheckPolicy | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """Check what a header says, known faults corrected; the translation is not part of it.

    Parameters
    ----------
    header
        Cards of a primary header, as a dict or of astropy; not changed.
    path
        Path or key of the file, with `/`; its folders are compared with the header.
    policy
        How strict; None: that of the header's instrument.
    units
        Units that the comments of its cards state, by keyword, as `card_units` finds them;
        None where the comments are not known.

    Returns
    -------
    tuple
        With the severities of the catalogue; `CheckPolicy.weighed` gives them those
        of the policy.

    Raises
    ------
    InstrumentDataError
        A file below `config/instruments`, or the site's policy, is wrong.
    """
    cards = plain_header(header)
    instrument = instrument_of(cards)
    name = None if instrument is None else instrument.name
    policy = policy_for(name) if policy is None else policy
    judged = cards if instrument is None else corrected(cards, instrument)
    subject = HeaderSubject(
        header=judged,
        policy=policy,
        rules=keyword_rules(*filter(None, (name, policy.like))),
        instrument=instrument,
        path=None if path is None else PurePosixPath(path),
        units=_still_stated(units or {}, cards, judged),
    )
    return tuple(finding for check in _checks(subject) for finding in check(subject))


def _still_stated(
    units: Mapping[str, str], written: Mapping[str, CardValue], judged: Mapping[str, CardValue]
) -> dict[str, str]:
    """Return the units of cards that no correction has changed: a comment is of the old value."""
    return {
        keyword: unit
        for keyword, unit in units.items()
        if written.get(keyword) == judged.get(keyword)
    }


def _checks(subject: HeaderSubject) -> tuple[Check, ...]:
    return CHECKS if subject.stamps else (*CHECKS, *EXPOSURE_CHECKS)


def corrected(header: Mapping[str, CardValue], instrument: Instrument) -> Mapping[str, CardValue]:
    """Return a header with its known faults corrected, as the translation sees it."""
    translator_class = TRANSLATORS.get(instrument.name)
    if translator_class is None:
        return header
    fixed: dict[str, Any] = dict(header)
    if _FIXED in fixed:
        # A corrected copy. In a header read from a file the card has lost its prefix.
        fixed[f"HIERARCH {_FIXED}"] = True
    with offline():
        fix_header(fixed, translator_class=translator_class)
    return plain_header(fixed)


def plain_header(header: Mapping[str, Any]) -> dict[str, CardValue]:
    """Return the cards of a header of any kind as plain values; commentary is left out."""
    return {
        str(card): _plain(header[card]) for card in header if card not in {"", "COMMENT", "HISTORY"}
    }


def _plain(value: Any) -> CardValue:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime):
        # A correction in YAML may hold an unquoted time.
        return value.isoformat(timespec="milliseconds")
    if type(value).__name__ == "Undefined":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return int(number) if math.isfinite(number) and number.is_integer() else number
