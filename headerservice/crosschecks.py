"""Looks whether the values of a header can all be true together: pure, and never raises.

A check that lacks an input says so; it never passes for want of data. What fails is a
finding: the header goes out all the same, and says in its own cards which checks failed.
The accuracy of the formulae is told in `headerservice.crosschecks_sky`; the tolerances are the
instrument's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from headerservice.crosschecks_data import (
    AirmassCheck,
    Check,
    CrossChecks,
    DateCheck,
    FilterCheck,
    GeocentreCheck,
    HorizontalCheck,
    HourAngleCheck,
    LoadedFilterCheck,
    RotatorCheck,
    SampledAt,
    ShutterCheck,
    SiteKeywords,
    TargetCheck,
    VignettingCheck,
    inputs_of,
)
from headerservice.crosschecks_sky import (
    Horizontal,
    Site,
    airmass,
    geocentric,
    horizontal,
    separation_deg,
    wrap,
)
from headerservice.quality import Resolved
from headerservice.reading import split_list
from translators.errors import InstrumentDataError
from translators.findings import Finding, Severity
from translators.focalplane import physical_filters

CODE_PREFIX = "crosscheck."
"""Of the codes of findings; the name of the check follows."""

_MJD_OF_EPOCH = 40587.0
_DAY_S = 86400.0
_HOURS = 24.0


class Verdict(StrEnum):
    """What a check has shown."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"
    """An input is missing."""
    NOT_APPLICABLE = "not_applicable"
    """The check means nothing for this exposure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check has shown."""

    check: str
    keywords: tuple[str, ...]
    verdict: Verdict
    sentence: str = ""
    """Why it failed, was not made, or does not apply."""
    deviation: float | None = None
    """How far apart the compared values are."""
    tolerance: float | None = None
    unit: str = ""

    def finding(self) -> Finding:
        """Return a failed check as a finding."""
        return Finding(f"{CODE_PREFIX}{self.check}", Severity.WARNING, self.sentence)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        told: dict[str, Any] = {
            "check": self.check,
            "keywords": list(self.keywords),
            "verdict": self.verdict.value,
        }
        if self.sentence:
            told["sentence"] = self.sentence
        if self.deviation is not None and math.isfinite(self.deviation):
            told["deviation"] = round(self.deviation, 7)
            told["tolerance"] = self.tolerance
            told["unit"] = self.unit
        return told


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What all checks of a header have shown."""

    outcomes: tuple[Outcome, ...] = ()

    def with_verdict(self, verdict: Verdict) -> tuple[Outcome, ...]:
        """Return the outcomes of one kind."""
        return tuple(each for each in self.outcomes if each.verdict is verdict)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed, each once."""
        return tuple(dict.fromkeys(each.check for each in self.with_verdict(Verdict.FAILED)))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The failed checks as findings."""
        return tuple(each.finding() for each in self.with_verdict(Verdict.FAILED))


@dataclass(frozen=True, slots=True)
class _Said:
    """What a comparison gives."""

    deviation: float
    tolerance: float
    unit: str
    sentence: str
    """What is said if the deviation is too great."""


class _AbsentError(Exception):
    """An input of a check is missing; never leaves this module."""


class _PointlessError(Exception):
    """The check means nothing here; never leaves this module."""


class _WrongError(Exception):
    """The values contradict each other without a measure of it; never leaves this module."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """The values of a header, as checks ask for them."""

    values: Mapping[str, Resolved]
    instants: Mapping[str, float]
    instrument: str
    stands: SiteKeywords
    skies: dict[tuple[str, str, str], Horizontal] = field(default_factory=dict)
    """Directions that were computed already; several checks need the same."""

    def number(self, keyword: str) -> float:
        value = self._good(keyword)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _AbsentError(f"{keyword} is {value!r}, no number")
        try:
            return float(value)
        except OverflowError as error:
            raise _AbsentError(f"{keyword} is too large a number") from error

    def text(self, keyword: str) -> str:
        value = self._good(keyword)
        if not isinstance(value, str):
            raise _AbsentError(f"{keyword} is {value!r}, no text")
        return value

    def seconds(self, keyword: str) -> float:
        """Return a date as seconds since 1970 in its own scale."""
        try:
            moment = datetime.fromisoformat(self.text(keyword))
        except ValueError as error:
            raise _AbsentError(f"{keyword} is no date: {error}") from error
        return moment.replace(tzinfo=UTC).timestamp()

    def _good(self, keyword: str) -> Any:
        found = self.values.get(keyword)
        if found is None or not found.good or found.value is None:
            reason = "is not in the header" if found is None else f"has no value: {found.reason}"
            raise _AbsentError(f"{keyword} {reason}".rstrip(": "))
        return found.value

    def site(self) -> Site:
        stands = self.stands
        return Site(
            self.number(stands.longitude), self.number(stands.latitude), self.number(stands.height)
        )

    def sky(self, ra: str, dec: str, at: SampledAt) -> Horizontal:
        """Return where the direction of two keywords stood at an instant."""
        found = self.skies.get((ra, dec, at))
        if found is None:
            place = self.number(ra), self.number(dec)
            instant = self.instants.get(at)
            if instant is None:
                raise _AbsentError(f"the instant {at} is not known")
            try:
                found = horizontal(*place, instant, self.site())
            except ValueError as error:
                raise _AbsentError(f"the sky at {at} cannot be computed: {error}") from error
            self.skies[ra, dec, at] = found
        return found


def cross_check(
    checks: CrossChecks | None,
    values: Mapping[str, Resolved],
    instants: Mapping[Any, float],
    *,
    instrument: str,
) -> CheckReport:
    """Return what the checks of an instrument show of a header.

    Parameters
    ----------
    checks
        The checks; None: the instrument has none.
    values
        Keywords and witnesses.
    instants
        TAI seconds.
    instrument
        Butler name of the instrument, for its filters.
    """
    if checks is None:
        return CheckReport()
    facts = _Facts(values, instants, instrument, checks.site)
    return CheckReport(tuple(_outcome(check, facts) for check in checks.checks))


def _outcome(check: Check, facts: _Facts) -> Outcome:
    name, keywords = check.check, inputs_of(check)

    def told(verdict: Verdict, sentence: str = "", said: _Said | None = None) -> Outcome:
        return Outcome(
            check=name,
            keywords=keywords,
            verdict=verdict,
            sentence=sentence,
            deviation=None if said is None else said.deviation,
            tolerance=None if said is None else said.tolerance,
            unit="" if said is None else said.unit,
        )

    try:
        _must_apply(check, facts)
        said = _COMPARISONS[name](check, facts)
    except _PointlessError as reason:
        return told(Verdict.NOT_APPLICABLE, str(reason))
    except _AbsentError as reason:
        return told(Verdict.NOT_CHECKED, str(reason))
    except _WrongError as reason:
        return told(Verdict.FAILED, str(reason))
    if said is None or said.deviation <= said.tolerance:
        return told(Verdict.PASSED, said=said)
    return told(Verdict.FAILED, said.sentence, said)


def _must_apply(check: Check, facts: _Facts) -> None:
    for keyword, wanted in check.when.items():
        value = facts.text(keyword)
        if value.upper() not in {each.upper() for each in wanted}:
            raise _PointlessError(f"{keyword} is {value}")


def _geocentre(check: GeocentreCheck, facts: _Facts) -> _Said:
    said = [facts.number(name) for name in (check.x, check.y, check.z)]
    expected = geocentric(facts.site())
    apart = max(abs(one - other) for one, other in zip(said, expected, strict=True))
    return _Said(
        apart,
        check.tolerance_m,
        "m",
        f"{check.x}, {check.y} and {check.z} are {apart:.0f} m from where longitude, latitude and "
        "height say that the telescope stands: correct the site in the keyword definitions",
    )


def _dates(check: DateCheck, facts: _Facts) -> _Said:
    days = facts.number(check.mjd) - _MJD_OF_EPOCH
    apart = abs(days * _DAY_S - facts.seconds(check.iso))
    return _Said(
        apart,
        check.tolerance_s,
        "s",
        f"{check.mjd} and {check.iso} are {apart:.3f} s apart: they must be the same instant",
    )


def _hour_angle(check: HourAngleCheck, facts: _Facts) -> _Said:
    said = facts.number(check.hour_angle)
    expected = facts.sky(check.ra, check.dec, check.at).hour_angle_h
    apart = abs((said - expected + _HOURS / 2) % _HOURS - _HOURS / 2)
    return _Said(
        apart,
        check.tolerance_h,
        "h",
        f"{check.hour_angle} is {said:.5f} h, but sidereal time minus {check.ra} is "
        f"{expected:.5f} h: look at the clock and the units of the pointing component",
    )


def _horizontal(check: HorizontalCheck, facts: _Facts) -> _Said:
    azimuth, elevation = facts.number(check.azimuth), facts.number(check.elevation)
    expected = facts.sky(check.ra, check.dec, check.at)
    apart = separation_deg((azimuth, elevation), (expected.azimuth_deg, expected.elevation_deg))
    return _Said(
        apart,
        check.tolerance_deg,
        "deg",
        f"{check.azimuth} {azimuth:.4f} and {check.elevation} {elevation:.4f} deg are {apart:.4f} "
        f"deg from where {check.ra} and {check.dec} stood ({expected.azimuth_deg:.4f}, "
        f"{expected.elevation_deg:.4f}): look at mount and pointing component",
    )


def _airmass(check: AirmassCheck, facts: _Facts) -> _Said:
    said, elevation = facts.number(check.airmass), facts.number(check.elevation)
    if elevation < check.lowest_deg:
        raise _PointlessError(f"{check.elevation} is below {check.lowest_deg:g} deg")
    expected = airmass(elevation)
    apart = abs(said / expected - 1.0)
    return _Said(
        apart,
        check.tolerance,
        "",
        f"{check.airmass} is {said:.4f}, but at {check.elevation} {elevation:.3f} deg it is "
        f"{expected:.4f}",
    )


def _target(check: TargetCheck, facts: _Facts) -> _Said:
    target = facts.number(check.ra), facts.number(check.dec)
    mount = facts.number(check.mount_ra), facts.number(check.mount_dec)
    apart = separation_deg(target, mount)
    return _Said(
        apart,
        check.tolerance_deg,
        "deg",
        f"the mount points {apart:.4f} deg from {check.ra} and {check.dec}: the target of an "
        "earlier exposure, or a mount that had not arrived",
    )


def _rotator(check: RotatorCheck, facts: _Facts) -> _Said:
    said, rotator = facts.number(check.sky_angle), facts.number(check.rotator)
    expected = facts.sky(check.ra, check.dec, check.at).parallactic_deg - rotator + check.offset_deg
    apart = abs(wrap(said - expected))
    return _Said(
        apart,
        check.tolerance_deg,
        "deg",
        f"{check.sky_angle} is {said:.4f} deg, but parallactic angle and {check.rotator} give "
        f"{expected % 360.0:.4f}: look at the convention of the position angle",
    )


def _filter(check: FilterCheck, facts: _Facts) -> None:
    name, band = facts.text(check.filter), facts.text(check.band)
    try:
        bands = {each.name: each.band for each in physical_filters(facts.instrument)}
    except InstrumentDataError as error:
        raise _AbsentError(f"the filters of {facts.instrument} are not known: {error}") from error
    if name not in bands:
        raise _WrongError(
            f"{check.filter} is {name}, which {facts.instrument} has not: add it to the "
            "instrument's data if it is new"
        )
    if bands[name] != band:
        raise _WrongError(f"{check.band} is {band}, but {name} is of the band {bands[name]}")


def _loaded_filter(check: LoadedFilterCheck, facts: _Facts) -> None:
    name = facts.text(check.filter)
    loaded = [each.strip() for each in split_list(facts.text(check.loaded))]
    if name not in loaded:
        raise _WrongError(
            f"{check.filter} is {name}, but the camera has {', '.join(loaded)}: its filter event "
            "is of an earlier configuration"
        )


def _shutter(check: ShutterCheck, facts: _Facts) -> _Said:
    opened = facts.number(check.shutter)
    lasted = facts.seconds(check.end) - facts.seconds(check.begin)
    apart = abs(lasted - opened)
    return _Said(
        apart,
        check.tolerance_s,
        "s",
        f"{check.shutter} is {opened:.3f} s, but {check.end} minus {check.begin} is {lasted:.3f} s",
    )


def _vignetting(check: VignettingCheck, facts: _Facts) -> None:
    least, most = facts.text(check.least).upper(), facts.text(check.most).upper()
    fully = {each.upper() for each in check.fully}
    opened = [facts.number(each) for each in check.shutters]
    if all(each < check.shut_at for each in opened):
        if least not in fully:
            raise _WrongError(
                f"the dome is shut, but {check.least} says {least}: look at the dome trajectory "
                "component"
            )
        return
    if not all(each >= check.open_at for each in opened):
        raise _PointlessError("the dome is neither open nor shut")
    away = abs(wrap(facts.number(check.dome_azimuth) - facts.number(check.azimuth)))
    if away > check.aligned_deg:
        raise _PointlessError(f"the dome is turned {away:.1f} deg away from the telescope")
    if most in fully and least in fully:
        raise _WrongError(
            f"the dome is open {away:.1f} deg from where the telescope points, but {check.least} "
            f"says {least}: look at the dome trajectory component"
        )


_COMPARISONS: Mapping[str, Callable[[Any, _Facts], _Said | None]] = MappingProxyType(
    {
        "geocentre": _geocentre,
        "dates": _dates,
        "hour_angle": _hour_angle,
        "horizontal": _horizontal,
        "airmass": _airmass,
        "target": _target,
        "rotator": _rotator,
        "filter": _filter,
        "filter_loaded": _loaded_filter,
        "shutter_time": _shutter,
        "vignetting": _vignetting,
    }
)
"""How each kind of check compares."""
