"""Says in words what keyword definitions say: for `check-config` and for the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headerservice.rules import (
    Definitions,
    Gate,
    Interpolation,
    KeywordRule,
    ReadingRule,
    SensorPlan,
    SensorRule,
    Source,
)

PRIMARY = "PRIMARY"

_INSTANTS: Mapping[str, str] = MappingProxyType(
    {
        "start_of_integration": "start of integration",
        "start_of_readout": "start of readout",
        "end": "end",
        "over_exposure": "over the exposure",
    }
)
_BETWEEN: Mapping[Interpolation, str] = MappingProxyType(
    {
        Interpolation.LINEAR: "interpolated",
        Interpolation.ANGULAR: "interpolated as an angle",
        Interpolation.STEP: "the last one before",
    }
)
_PICKED: Mapping[str, str] = MappingProxyType(
    {
        "latest": "the latest",
        "min": "the least",
        "max": "the greatest",
        "mean": "mean over time",
    }
)
_FORMS: Mapping[str, str] = MappingProxyType({"iso_tai": "as a date", "mjd_tai": "as an MJD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordRow:
    """One keyword in words."""

    keyword: str
    hdu: str
    """EXTNAME."""
    section: str
    type: str
    comment: str
    """With the unit of the header before it."""
    required: str
    """`yes`, `no`, or the image types that need it."""
    at: str
    """When the value is wanted; empty where it does not matter."""
    sources: tuple[str, ...]
    """Topic and field, or what the service knows; the first with a good value wins."""
    rules: tuple[str, ...]
    """How the value is found, and what does not count as one."""


def rows(definitions: Definitions) -> tuple[KeywordRow, ...]:
    """Return every keyword of an instrument, in header order."""
    return (*_primary(definitions), *_sensors(definitions.sensors))


def _primary(definitions: Definitions) -> Iterator[KeywordRow]:
    for section, rules in definitions.sections:
        for rule in rules:
            yield KeywordRow(
                keyword=rule.keyword,
                hdu=PRIMARY,
                section=section,
                type=rule.reading.type,
                comment=rule.comment,
                required=_required(rule.required),
                at=_INSTANTS.get(rule.at or "", ""),
                sources=_sources(rule),
                rules=tuple(_rules(rule)),
            )


def _sensors(plan: SensorPlan | None) -> Iterator[KeywordRow]:
    for rule in () if plan is None else plan.rules:
        if plan is not None:
            yield KeywordRow(
                keyword=rule.keyword,
                hdu=plan.hdu,
                section="Sensors",
                type=rule.reading.type,
                comment=rule.comment,
                required=_required(rule.required),
                at=_INSTANTS[plan.at if rule.topic is None else "end"],
                sources=(_sensor_source(plan, rule),),
                rules=(*_limits(rule.reading),),
            )


def _required(required: bool | frozenset[str]) -> str:  # noqa: FBT001 - a value, not a switch
    if isinstance(required, bool):
        return "yes" if required else "no"
    return ", ".join(sorted(required))


def _sources(rule: KeywordRule) -> tuple[str, ...]:
    if rule.fixed is not None:
        return (f"always {rule.fixed!r}",)
    if rule.compute is not None:
        return (f"the service's own {rule.compute}",)
    return tuple(_source(each, rule.reading) for each in rule.sources)


def _source(source: Source, reading: ReadingRule) -> str:
    if reading.item is not None:
        return f"{source}[{reading.item}]"
    return f"{source}[{reading.key}]" if reading.key is not None else str(source)


def _sensor_source(plan: SensorPlan, rule: SensorRule) -> str:
    if rule.field is None:
        return f"size of the detector by {plan.source.topic}.{plan.size_field}"
    return f"{rule.topic or plan.source.topic}.{rule.field}"


def _rules(rule: KeywordRule) -> Iterator[str]:
    reading = rule.reading
    sampled = [source for source in rule.sources if source.role is None]
    if rule.pick is not None:
        yield _PICKED[rule.pick]
    elif sampled:
        yield _BETWEEN[rule.interpolation]
    if any(source.dating.array_step_s is not None for source in sampled):
        yield "the elements of the array are samples"
    if reading.enum is not None:
        yield "name of an enumeration's member"
    if reading.form is not None:
        yield _FORMS[reading.form]
    if reading.scale != 1.0:
        yield f"times {reading.scale:.15g}"
    ages = sorted({age for source in sampled if (age := source.dating.max_age_s) is not None})
    if ages:
        yield f"at most {' or '.join(f'{age:g}' for age in ages)} s away"
    yield from _limits(reading)


def _limits(reading: ReadingRule) -> Iterator[str]:
    low, high = reading.range
    if low is not None and high is not None:
        yield f"from {low:g} to {high:g}"
    elif low is not None:
        yield f"at least {low:g}"
    elif high is not None:
        yield f"at most {high:g}"
    unset = sorted(repr(value) for value in reading.unset if value != "")
    if unset:
        yield f"not {' or '.join(unset)}"
    if reading.unset_when:
        names = ", ".join(f"{name} {value!r}" for name, value in reading.unset_when)
        yield f"not when {names}"
    if reading.gate is not None:
        yield f"only when {_gate(reading.gate)}"


def _gate(gate: Gate) -> str:
    if gate.one_of is not None:
        return f"{gate.field} is {' or '.join(sorted(map(str, gate.one_of)))}"
    parts = []
    if gate.minimum is not None:
        parts.append(f"at least {gate.minimum:g}")
    if gate.maximum is not None:
        parts.append(f"at most {gate.maximum:g}")
    return f"{gate.field} is {' and '.join(parts) or 'a number'}"
