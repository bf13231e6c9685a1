"""Checks what a definition says of a field against what the topic carries."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import FieldSpec
from daemons.runtime.problems import KeyPath
from headerservice import units
from headerservice.catalogue import Catalogue
from headerservice.definitions import KeywordEntry, SensorEntry, ValueType
from headerservice.rules import Source

_READABLE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "str": frozenset({"string"}),
        "bool": frozenset({"boolean", "int", "long"}),
        "int": frozenset({"int", "long"}),
        "float": frozenset({"float", "double", "int", "long"}),
    }
)
"""Avro types that can be read as each type of value."""


class Complain(Protocol):
    """Takes note of a problem: where it is, what it is, what to do."""

    def __call__(self, path: KeyPath, what: str, hint: str = "") -> None:
        """Take note."""
        ...


class FieldChecks:
    """Looks fields up, and complains.

    Parameters
    ----------
    catalogue
        What the topics carry.
    complain
        Takes note of what is wrong.
    """

    def __init__(self, catalogue: Catalogue, complain: Complain) -> None:
        self._catalogue = catalogue
        self._complain = complain

    def field(self, topic: Topic, name: str, path: KeyPath) -> FieldSpec | None:
        """Return what a topic says of a field; None where there is no such field."""
        if not topic.component[:1].isupper():
            return None  # an unknown name among `components`, which was told already
        try:
            spec = self._catalogue.get(topic)
        except BusError as error:
            self._complain(path, str(error))
            return None
        for candidate in spec.fields:
            if candidate.name == name:
                return candidate
        known = ", ".join(candidate.name for candidate in spec.fields) or "none"
        self._complain(path, f"{topic} has no field {name}", f"it has {known}")
        return None

    def kind(self, topic: Topic, name: str, wanted: ValueType, path: KeyPath) -> None:
        """Check that a field is there and can be read as a type."""
        spec = self.field(topic, name, path)
        if spec is not None and spec.avro_type not in _READABLE[wanted]:
            self._complain(path, f"{topic}.{name} is a {spec.sal_type}, not a {wanted}")

    def use(self, source: Source, entry: KeywordEntry, unit: str | None, path: KeyPath) -> None:
        """Check type, count and unit of a keyword's field, and the fields read beside it."""
        others = [*entry.unset_when, *([entry.keys] if entry.keys else [])]
        if entry.valid_when is not None:
            others.append(entry.valid_when.field)
        for name in others:
            self.field(source.topic, name, path)
        spec = self.field(source.topic, source.field, (*path, "from"))
        if spec is None:
            return
        raw = "int" if entry.enum else "float" if entry.form else entry.type
        raw = "str" if entry.key else raw
        if spec.avro_type not in _READABLE[raw]:
            self._complain((*path, "type"), f"{source} is a {spec.sal_type}, not a {raw}")
        self._count(source, spec, entry.item, path)
        if entry.form is None:
            self._unit(spec, unit, path)
        told = entry.type if entry.key else "str" if spec.avro_type == "string" else "float"
        for value in entry.unset:
            if isinstance(value, str) != (told == "str"):
                self._complain((*path, "unset"), f"{source} is never {value!r}", f"it is a {told}")

    def sensor(self, topic: Topic, name: str, entry: SensorEntry, path: KeyPath) -> None:
        """Check type and unit of a field with a value for each sensor."""
        spec = self.field(topic, name, path)
        if spec is None:
            return
        if spec.avro_type not in _READABLE[entry.type]:
            self._complain(
                (*path, "type"), f"{topic}.{name} is a {spec.sal_type}, not a {entry.type}"
            )
        self._unit(spec, entry.unit, path)

    def _count(self, source: Source, spec: FieldSpec, item: int | None, path: KeyPath) -> None:
        """Check that an element of an array is named, and only of an array."""
        if source.dating.array_step_s is not None:
            if item is not None:
                self._complain((*path, "item"), f"the elements of {source} are samples")
            return
        if (spec.count > 1) != (item is not None) or (item or 0) >= max(spec.count, 1):
            self._complain(
                (*path, "item"), f"{source} has {spec.count} element(s)", "set `item` accordingly"
            )

    def _unit(self, spec: FieldSpec, unit: str | None, path: KeyPath) -> None:
        if not spec.units:
            return
        try:
            fits = unit is not None and units.same(spec.units, unit)
            plain = units.is_plain(spec.units)
        except ValueError:
            return  # the topic has units that are none; then nothing can be said
        if not fits and not plain:
            self._complain(
                (*path, "unit"),
                f"the bus has it in {spec.units}, the definition says {unit or 'no unit'}",
                f"write `unit: {{from: {spec.units}, to: ...}}`",
            )
