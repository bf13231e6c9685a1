"""The headers of the sensors, out of one event about the whole focal plane: pure.

Some keywords may come from another event of the exposure that names its sensors itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from daemons.bus import Topic
from headerservice.quality import Quality, Reading
from headerservice.reading import read_and_finish, split_list
from headerservice.rules import SensorPlan, SensorRule, Value


class Card(NamedTuple):
    """One card of a header."""

    keyword: str
    value: Value | None
    comment: str


@dataclass(frozen=True, slots=True)
class Hdu:
    """One header."""

    name: str
    """EXTNAME; `PRIMARY` for the first."""
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class SensorProblem:
    """Sensors for which a keyword has no value, and why."""

    keyword: str
    quality: Quality
    required: bool
    sensors: tuple[str, ...]
    reason: str
    """Of the first of them."""


@dataclass(frozen=True, slots=True)
class SensorTable:
    """The headers of all sensors."""

    names: tuple[str, ...]
    hdus: tuple[Hdu, ...]
    problems: tuple[SensorProblem, ...]


def build_table(
    plan: SensorPlan,
    fields: Mapping[str, Any],
    events: Mapping[Topic, Mapping[str, Any]] = MappingProxyType({}),
) -> SensorTable | None:
    """Return the sensors of an event; None where it names none.

    Parameters
    ----------
    plan
        Which keywords a sensor has.
    fields
        The payload of the event.
    events
        The payloads of other events of the exposure.
    """
    places = _places(fields.get(plan.source.field))
    names = tuple(places)
    if not names:
        return None
    order = list(places.values())
    columns = [
        _column(plan, rule, fields, order)
        if rule.topic is None
        else _other_column(rule, events.get(rule.topic), names)
        for rule in plan.rules
    ]
    hdus = tuple(
        Hdu(
            plan.hdu.format(sensor=name),
            tuple(
                Card(rule.keyword, column[row].value if column[row].good else None, rule.comment)
                for rule, column in zip(plan.rules, columns, strict=True)
            ),
        )
        for row, name in enumerate(names)
    )
    problems = tuple(
        problem
        for rule, column in zip(plan.rules, columns, strict=True)
        for problem in _problems(rule, names, column)
    )
    return SensorTable(names, hdus, problems)


def _column(
    plan: SensorPlan, rule: SensorRule, fields: Mapping[str, Any], order: Sequence[int]
) -> list[Reading]:
    """Return one keyword of every sensor."""
    field = plan.size_field if rule.field is None else rule.field
    values = _elements(fields.get(field or ""))
    column = []
    for place in order:
        if place >= len(values):
            reason = f"{field} has {len(values)} values for {len(order)} sensors"
            column.append(Reading(None, Quality.MISSING, reason))
        elif rule.field is None:
            column.append(_size(plan, values[place]))
        else:
            column.append(read_and_finish(rule.reading, rule.field, {rule.field: values[place]}))
    return column


def _places(text: Any) -> dict[str, int]:
    """Return the place of each sensor in a list of names; of one named twice, the first."""
    places: dict[str, int] = {}
    for place, name in enumerate(split_list(text) if isinstance(text, str) else ()):
        if name.strip():
            places.setdefault(name.strip(), place)
    return places


def _other_column(
    rule: SensorRule, fields: Mapping[str, Any] | None, names: Sequence[str]
) -> list[Reading]:
    """Return one keyword of every sensor, out of an event that lists its sensors itself."""
    if fields is None:
        reading = Reading(None, Quality.MISSING, f"no {rule.topic} has come")
        return [reading] * len(names)
    field = rule.field or ""
    places, values = _places(fields.get(rule.names_field)), _elements(fields.get(field))
    column = []
    for name in names:
        place = places.get(name)
        if place is None or place >= len(values):
            reason = f"{rule.topic} has no {field} of {name}"
            column.append(Reading(None, Quality.MISSING, reason))
        else:
            column.append(read_and_finish(rule.reading, field, {field: values[place]}))
    return column


def _elements(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return split_list(value) if value else ()
    if isinstance(value, Sequence):
        return value
    return () if value is None else (value,)


def _size(plan: SensorPlan, value: Any) -> Reading:
    size = plan.sizes.get(value) if isinstance(value, str) else None
    if size is None:
        known = ", ".join(plan.sizes)
        return Reading(None, Quality.INVALID, f"no size is known for {value!r}, only for {known}")
    columns, rows = size
    return Reading(f"[1:{columns},1:{rows}]", Quality.GOOD)


def _problems(
    rule: SensorRule, names: Sequence[str], column: Sequence[Reading]
) -> list[SensorProblem]:
    by_quality: dict[Quality, list[int]] = {}
    for row, reading in enumerate(column):
        if not reading.good:
            by_quality.setdefault(reading.quality, []).append(row)
    return [
        SensorProblem(
            keyword=rule.keyword,
            quality=quality,
            required=rule.required,
            sensors=tuple(names[row] for row in rows),
            reason=column[rows[0]].reason,
        )
        for quality, rows in by_quality.items()
    ]
