"""Checks of the times in a header against each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from translators.checks.catalogue import found
from translators.checks.subject import HeaderSubject, listed, mjd_seconds
from translators.findings import Finding
from translators.lsst.ids import parse_day_obs

_NAMES = ("OBS", "BEG", "AVG", "END", "TRG")
_DATES = ("DATE", *(f"DATE-{name}" for name in _NAMES))
_MJDS = ("MJD", *(f"MJD-{name}" for name in _NAMES))
_SHUT = frozenset({"BIAS", "DARK"})
_MANY_TIMES = frozenset({"STUTTERED"})
"""Types of images for which the shutter opens more often than once."""
_SHUTTER_S, _SHUTTER_PART = 0.5, 0.1
"""How far the time that the shutter was open may be from the exposure time."""
_FIRST_S = 365 * 86_400.0
"""A date before 1971 is a clock that was never set; no image here is as old."""


def time_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Check the times of a header; a clock that was never set is told alone."""
    unset = [*_unset(subject)]
    if unset:
        yield found(
            "time.unset", f"{listed(unset)}: the clock was not set when the value was written"
        )
        return
    unreadable = [
        f"{card} is {subject.header[card]!r}"
        for card in _DATES
        if subject.defined(card) and subject.seconds(card) is None
    ]
    if unreadable:
        yield found("time.unreadable", f"{listed(unreadable)}; a date is 2025-05-01T23:59:59.999")
    yield from _mjd_findings(subject)
    yield from _order_findings(subject)
    yield from _shutter_findings(subject)
    yield from _day_findings(subject)


def _unset(subject: HeaderSubject) -> Iterator[str]:
    for card in _DATES:
        seconds = subject.seconds(card)
        if seconds is not None and seconds < _FIRST_S:
            yield f"{card} is {subject.header[card]}"
    for card in _MJDS:
        mjd = subject.number(card)
        if mjd is not None and mjd_seconds(mjd) < _FIRST_S:
            yield f"{card} is {mjd:g}"


def _mjd_findings(subject: HeaderSubject) -> Iterator[Finding]:
    apart = []
    for date, card in zip(_DATES, _MJDS, strict=True):
        seconds, mjd = subject.seconds(date), subject.number(card)
        if seconds is None or mjd is None:
            continue
        difference = mjd_seconds(mjd) - seconds
        if abs(difference) > subject.policy.limits.mjd_s:
            apart.append(f"{card} is {difference:+.3f} s from {date}")
    if apart:
        yield found("time.mjd", f"{listed(apart)}; they are to be the same instant")


def _order_findings(subject: HeaderSubject) -> Iterator[Finding]:
    limits, faults = subject.policy.limits, []
    begin, end = subject.begin, subject.seconds("DATE-END")
    exposed = subject.number("EXPTIME")
    if begin is not None and end is not None:
        lasted = end - begin
        if lasted < 0:
            faults.append(f"DATE-END is {-lasted:.3f} s before the begin")
        elif exposed is not None and lasted < exposed - limits.early_end_s:
            faults.append(f"begin to end is {lasted:.3f} s, shorter than EXPTIME, {exposed:g} s")
        elif exposed is not None and lasted > max(exposed, 0.0) + limits.late_end_s:
            faults.append(f"begin to end is {lasted:.3f} s, and EXPTIME is {exposed:g} s")
    observed, begun = subject.seconds("DATE-OBS"), subject.seconds("DATE-BEG")
    if observed is not None and begun is not None and observed > begun + limits.early_end_s:
        faults.append(f"DATE-OBS is {observed - begun:.3f} s after DATE-BEG")
    dark, opened = subject.number("DARKTIME"), subject.number("SHUTTIME")
    if dark is not None and opened is not None and 0 <= dark < opened - limits.early_end_s:
        faults.append(f"DARKTIME, {dark:g} s, is shorter than SHUTTIME, {opened:g} s")
    if faults:
        yield found("time.order", listed(faults))


def _shutter_findings(subject: HeaderSubject) -> Iterator[Finding]:
    opened, exposed = subject.number("SHUTTIME"), subject.number("EXPTIME")
    if opened is None or exposed is None or opened < 0 or subject.image_type in {"", *_MANY_TIMES}:
        return
    if subject.image_type in _SHUT:
        if opened > 0:
            yield found(
                "time.shutter", f"SHUTTIME is {opened:g} s in an image that is {subject.image_type}"
            )
    elif abs(opened - exposed) > max(_SHUTTER_S, _SHUTTER_PART * exposed):
        yield found("time.shutter", f"SHUTTIME is {opened:g} s, and EXPTIME is {exposed:g} s")


def _day_findings(subject: HeaderSubject) -> Iterator[Finding]:
    rule, begin = subject.policy.observing_day, subject.begin
    if rule is None or begin is None or not subject.defined("DAYOBS"):
        return
    try:
        day_obs = parse_day_obs(subject.header["DAYOBS"])
        moment = datetime.fromtimestamp(begin, tz=UTC) - timedelta(hours=rule.rollover_hours)
    except (ValueError, OverflowError, OSError, TypeError):
        return
    true_day = int(f"{moment:%Y%m%d}")
    if day_obs >= rule.since and day_obs != true_day:
        yield found(
            "time.day_obs",
            f"DAYOBS is {day_obs}, and the exposure began on the observing day {true_day}",
        )
