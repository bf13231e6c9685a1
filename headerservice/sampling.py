"""The value of a quantity at an instant, out of samples by their own times: pure.

Between two samples a value is interpolated, on the shorter arc for an angle. With
samples on one side only the nearest is held. A sample that says nothing (unset,
not applicable, of the wrong type) never takes part in an interpolation. A value that is
interpolated over a gap in the samples says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headerservice.quality import Method, Quality, Reading, Resolved, missing
from headerservice.reading import finish, read
from headerservice.rules import Interpolation, KeywordRule, ReadingRule, Source, Value
from headerservice.series import Sample, Series
from headerservice.summary import Point, Summary, summarize

GAP = 4.0
"""Samples so many times further apart than usual have a gap between them."""
SHORTEST_GAP_S = 0.5
"""Samples that are nearer to each other have none, whatever is usual."""
COVERED = 0.5
"""A mean or an extreme of less than this part of an exposure is no value."""


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
        return _interpolated(
            rule, source, (usable[0], usable[1]), instant, series.usual_step(instant)
        )
    nearest = min(usable, key=lambda each: each.distance, default=first or second)
    if nearest is None:
        return missing(f"nothing was heard of {source.topic}", source=name)
    return _single(rule, source, nearest, instant, Method.HELD, settled=settled)


def sample_over(
    rule: KeywordRule, source: Source, series: Series, begin: float, end: float
) -> Resolved:
    """Return the latest, least, greatest or mean value from `begin` to `end`, TAI seconds."""
    name = str(source)
    first = series.before(begin)
    samples = ([] if first is None else [first]) + list(series.between(begin, end))
    candidates = [_candidate(rule, source, each, max(begin, each.time)) for each in samples]
    known = [each for each in candidates if each is not None]
    if not known:
        return missing(f"nothing was heard of {source.topic} until the readout", source=name)
    if rule.pick != "latest" and _is_measured(rule):
        after = _candidate(rule, source, series.after(end), end)
        return _summarized(rule, source, known if after is None else [*known, after], (begin, end))
    good = [each for each in known if each.reading.good and _fresh(source, each)]
    chosen = _choose(rule.pick, good) if good else known[-1]
    return _single(
        rule, source, chosen, max(begin, chosen.sample.time), Method.PICKED, settled=True
    )


def _is_measured(rule: KeywordRule) -> bool:
    """Return whether a value is a measured quantity, and not one of a few states."""
    return rule.reading.type == "float" and rule.reading.form is None


def _summarized(
    rule: KeywordRule, source: Source, known: list[_Candidate], span: tuple[float, float]
) -> Resolved:
    """Return what a measured quantity did over the exposure."""
    begin, end = span
    good = [each for each in known if each.reading.good]
    stepwise = rule.interpolation is Interpolation.STEP
    found = summarize(
        [Point(each.sample.time, float(each.reading.value or 0.0)) for each in good],
        begin,
        end,
        stepwise=stepwise,
        turn=rule.reading.period,
        max_age_s=source.dating.max_age_s,
    )
    newest = known[-1]
    settled = newest.sample.time >= end or (stepwise and source.dating.max_age_s is None)
    if found is None or found.covered < COVERED:
        unusable = next((each for each in reversed(known) if not each.reading.good), None)
        if not good and unusable is not None:
            return _single(rule, source, unusable, end, Method.PICKED, settled=settled)
        part = 0.0 if found is None else found.covered
        reason = f"samples cover only {part:.0%} of the exposure"
        reading, at = Reading(None, Quality.STALE, reason), newest.sample.time
    else:
        raw, at = _statistic(rule, found, end)
        values = [float(each.reading.value or 0.0) for each in good]
        reading = finish(rule.reading, wrapped(raw, values, rule.reading.period))
        if reading.good and found.hole_s > 0:
            reason = f"there is no sample for {found.hole_s:.1f} s of the exposure"
            reading = Reading(reading.value, Quality.BRIDGED, reason)
    return Resolved(
        value=reading.value if reading.good else None,
        seen=None if reading.good else reading.value,
        quality=reading.quality,
        reason=reading.reason,
        method=Method.MEAN if rule.pick == "mean" else Method.PICKED,
        source=str(source),
        time=at,
        age_s=end - at,
        settled=settled,
    )


def _statistic(rule: KeywordRule, found: Summary, end: float) -> tuple[float, float]:
    """Return the value that is wanted of a summary, and when it was true."""
    if rule.pick == "min":
        return found.least.value, found.least.time
    if rule.pick == "max":
        return found.greatest.value, found.greatest.time
    return found.mean, end


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
    rule: KeywordRule,
    source: Source,
    pair: tuple[_Candidate, _Candidate],
    instant: float,
    usual_s: float | None,
) -> Resolved:
    first, second = pair
    span = second.sample.time - first.sample.time
    fraction = (instant - first.sample.time) / span
    raw = between(rule.reading, first.reading.value, second.reading.value, fraction)
    reading = _bridged(finish(rule.reading, raw), span, usual_s)
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
    return wrapped(start + arc * fraction, (start, stop), turn)


def wrapped(value: float, known: Iterable[float], turn: float | None) -> float:
    """Return an angle within [0, turn) or [-turn/2, turn/2), where the known ones all are."""
    if turn is None:
        return value
    ends = tuple(known)
    for low in (0.0, -turn / 2):
        if all(low <= each < low + turn for each in ends):
            inside = low + (value - low) % turn
            return low if inside >= low + turn else inside
    return value


def _bridged(reading: Reading, span: float, usual_s: float | None) -> Reading:
    """Return a value between two samples, which says where samples are missing between them."""
    if not reading.good or usual_s is None or span <= max(GAP * usual_s, SHORTEST_GAP_S):
        return reading
    reason = f"{span:.1f} s are between the samples around the instant, usually {usual_s:.2g} s"
    return Reading(reading.value, Quality.BRIDGED, reason)


def _nothing_before(source: Source, series: Series, instant: float) -> str:
    later = series.after(instant)
    if later is None:
        return f"nothing was heard of {source.topic}"
    return f"{source.topic} was first heard {later.time - instant:.1f} s after the instant"
