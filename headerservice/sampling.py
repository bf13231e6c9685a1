"""The value of a quantity at an instant, out of samples by their own times: pure.

Between two samples a value is interpolated, on the shorter arc for an angle. With
samples on one side only the nearest is held. A sample that says nothing (unset,
not applicable, of the wrong type) never takes part in an interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

from headerservice.quality import Method, Quality, Reading, Resolved, missing
from headerservice.reading import finish, read
from headerservice.rules import Interpolation, KeywordRule, ReadingRule, Source, Value
from headerservice.series import Sample, Series


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sample as it counts for one value."""

    sample: Sample
    reading: Reading
    distance: float
    """Between the sample and the instant, seconds; never negative."""


def sample_at(rule: KeywordRule, source: Source, series: Series, instant: float) -> Resolved:
    """Return the value at an instant, TAI seconds."""
    name = str(source)
    first = _candidate(rule, source, series.before(instant), instant)
    if rule.interpolation is Interpolation.STEP:
        if first is None:
            return missing(_nothing_before(source, series, instant), source=name)
        return _single(rule, source, first, instant, Method.STEP, settled=True)
    second = _candidate(rule, source, series.after(instant), instant)
    settled = second is not None
    if first is None and second is None:
        return missing(f"nothing was heard of {source.topic}", source=name)
    usable = [each for each in (first, second) if each is not None and each.reading.good]
    if len(usable) == 2 and all(_fresh(source, each) for each in usable):  # noqa: PLR2004 - a pair
        return _interpolated(rule, source, usable[0], usable[1], instant)
    nearest = min(usable, key=lambda each: each.distance, default=first or second)
    if nearest is None:
        return missing(f"nothing was heard of {source.topic}", source=name)
    return _single(rule, source, nearest, instant, Method.HELD, settled=settled)


def sample_over(
    rule: KeywordRule, source: Source, series: Series, begin: float, end: float
) -> Resolved:
    """Return the latest, least or greatest value from `begin` to `end`, TAI seconds."""
    name = str(source)
    first = series.before(begin)
    samples = ([] if first is None else [first]) + list(series.between(begin, end))
    candidates = [_candidate(rule, source, each, max(begin, each.time)) for each in samples]
    known = [each for each in candidates if each is not None]
    good = [each for each in known if each.reading.good and _fresh(source, each)]
    if not known:
        return missing(f"nothing was heard of {source.topic} until the readout", source=name)
    chosen = _choose(rule.pick, good) if good else known[-1]
    return _single(
        rule, source, chosen, max(begin, chosen.sample.time), Method.PICKED, settled=True
    )


def _choose(pick: str | None, candidates: list[_Candidate]) -> _Candidate:
    if pick == "min":
        return min(candidates, key=_magnitude)
    if pick == "max":
        return max(candidates, key=_magnitude)
    return max(candidates, key=lambda each: each.sample.time)


def _magnitude(candidate: _Candidate) -> tuple[float, str]:
    value = candidate.reading.value
    return (0.0, value) if isinstance(value, str) else (float(value or 0), "")


def _candidate(
    rule: KeywordRule, source: Source, sample: Sample | None, instant: float
) -> _Candidate | None:
    if sample is None:
        return None
    reading = read(rule.reading, source.field, sample.fields)
    return _Candidate(sample, reading, abs(instant - sample.time))


def _fresh(source: Source, candidate: _Candidate) -> bool:
    limit = source.dating.max_age_s
    return limit is None or candidate.distance <= limit


def _single(
    rule: KeywordRule,
    source: Source,
    candidate: _Candidate,
    instant: float,
    method: Method,
    *,
    settled: bool,
) -> Resolved:
    """Return what one sample gives."""
    sample, reading = candidate.sample, candidate.reading
    if reading.good and reading.value is not None:
        reading = finish(rule.reading, reading.value)
    if reading.good:
        reading = _aged(source, candidate, reading, instant)
    return Resolved(
        value=reading.value if reading.good else None,
        seen=None if reading.good else reading.value,
        quality=reading.quality,
        reason=reading.reason,
        method=method,
        source=str(source),
        time=sample.time,
        age_s=instant - sample.time,
        settled=settled,
    )


def _aged(source: Source, candidate: _Candidate, reading: Reading, instant: float) -> Reading:
    if not _fresh(source, candidate):
        limit = source.dating.max_age_s or 0.0
        reason = f"the nearest sample is {candidate.distance:.1f} s away, {limit:g} s are allowed"
        return Reading(reading.value, Quality.STALE, reason)
    expires = candidate.sample.expires
    if expires is not None and instant > expires:
        reason = f"the sample expired {instant - expires:.1f} s before"
        return Reading(reading.value, Quality.STALE, reason)
    return reading


def _interpolated(
    rule: KeywordRule, source: Source, first: _Candidate, second: _Candidate, instant: float
) -> Resolved:
    span = second.sample.time - first.sample.time
    fraction = (instant - first.sample.time) / span
    raw = between(rule.reading, first.reading.value, second.reading.value, fraction)
    reading = finish(rule.reading, raw)
    nearest = first if first.distance <= second.distance else second
    return Resolved(
        value=reading.value if reading.good else None,
        seen=None if reading.good else reading.value,
        quality=reading.quality,
        reason=reading.reason,
        method=Method.INTERPOLATED,
        source=str(source),
        time=nearest.sample.time,
        age_s=instant - nearest.sample.time,
    )


def between(rule: ReadingRule, first: Value | None, second: Value | None, fraction: float) -> float:
    """Return the value a fraction of the way from one to another, both in the unit of the bus.

    An angle takes the shorter arc, and stays within [0, turn) or [-turn/2, turn/2) where
    both ends do.
    """
    start, stop = float(first or 0.0), float(second or 0.0)
    turn = rule.period
    if turn is None:
        return start + (stop - start) * fraction
    arc = (stop - start + turn / 2) % turn - turn / 2
    value = start + arc * fraction
    for low in (0.0, -turn / 2):
        if all(low <= each < low + turn for each in (start, stop)):
            wrapped = low + (value - low) % turn
            return low if wrapped >= low + turn else wrapped
    return value


def _nothing_before(source: Source, series: Series, instant: float) -> str:
    later = series.after(instant)
    if later is None:
        return f"nothing was heard of {source.topic}"
    return f"{source.topic} was first heard {later.time - instant:.1f} s after the instant"
