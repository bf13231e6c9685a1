"""What each SAL topic carries: names, types, units and counts, read from `config/sal/topics.json`.

The dictionary knows the topics that this suite writes and reads. Any component,
named in the file or not, has the generic topics (state, heartbeat, log, commands,
acknowledgement), so a service of our own is commandable without an entry. A
component that the file does not name is taken as indexed, so that the services of
several hosts can share its name.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from daemons.bus.interface import BusError, Topic
from daemons.runtime.errors import SettingsError
from translators.resources import config_root

AVRO_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "boolean": "boolean",
        "byte": "int",
        "short": "int",
        "int": "int",
        "long": "int",
        "unsigned short": "int",
        "unsigned int": "long",
        "long long": "long",
        "float": "float",
        "double": "double",
        "string": "string",
    }
)
"""Avro type of each SAL type. SAL's `long` has 32 bits."""

_ZEROS: Mapping[str, Any] = MappingProxyType(
    {"boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": ""}
)
_BITS: Mapping[str, int] = MappingProxyType({"int": 32, "long": 64})


def _integer(bits: int) -> Callable[[Any], int]:
    limit = 1 << (bits - 1)

    def convert(value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError as error:
            raise TypeError(f"{value!r} is no whole number") from error
        if not -limit <= number < limit:
            raise ValueError(f"{number} does not fit {bits} bits")
        return number

    return convert


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return str(value)


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError(f"{value!r} is no number")
    return float(value)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "boolean": bool,
        "int": _integer(_BITS["int"]),
        "long": _integer(_BITS["long"]),
        "float": _number,
        "double": _number,
        "string": _string,
    }
)


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a topic."""

    name: str
    sal_type: str
    units: str
    """Empty: the value has no unit."""
    count: int = 1
    """Length of the array; 1: a scalar."""
    nullable: bool = False

    @property
    def avro_type(self) -> str:
        """The Avro type of one element."""
        return AVRO_TYPES[self.sal_type]

    @property
    def zero(self) -> Any:
        """What an unset field holds: null where it may, else zero, false or the empty text."""
        if self.nullable:
            return None
        zero = _ZEROS[self.avro_type]
        return [zero] * self.count if self.count > 1 else zero

    def convert(self, value: Any) -> Any:
        """Return the value as the wire has it.

        Raises
        ------
        ValueError, TypeError
            The value is not of this field's type.
        """
        if value is None:
            if self.nullable:
                return None
            raise TypeError("null where SAL has no null")
        one = _CONVERTERS[self.avro_type]
        if self.count == 1:
            return one(value)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"{value!r} is no array")
        return [one(element) for element in value]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: what a message of it carries."""

    component: str
    name: str
    indexed: bool
    """True: messages carry a `salIndex`."""
    fields: tuple[FieldSpec, ...]
    private_last: bool = False
    """True for the cameras' own telemetry, whose private fields come after the payload."""

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return every field of the topic: those given, converted, and zeros for the rest.

        Raises
        ------
        BusError
            A field that the topic does not have, or a value of the wrong type.
        """
        unknown = fields.keys() - {spec.name for spec in self.fields}
        if unknown:
            raise BusError(
                f"{self.component}.{self.name} has no field {', '.join(sorted(unknown))}; "
                f"it has {', '.join(spec.name for spec in self.fields) or 'none'}"
            )
        whole = {}
        for spec in self.fields:
            if spec.name not in fields:
                whole[spec.name] = spec.zero
                continue
            try:
                whole[spec.name] = spec.convert(fields[spec.name])
            except (TypeError, ValueError, OverflowError) as error:
                raise BusError(
                    f"{self.component}.{self.name}.{spec.name} ({spec.sal_type}): {error}"
                ) from error
        return whole


@dataclass(frozen=True, slots=True)
class _Component:
    indexed: bool
    topics: Mapping[str, TopicSpec]


@dataclass(frozen=True, slots=True)
class SalDictionary:
    """The topics of all known components and their enumerations."""

    components: Mapping[str, _Component]
    generics: Mapping[str, tuple[FieldSpec, ...]]
    enums: Mapping[str, Mapping[str, int]]
    """Members by name of `Component.Enumeration`."""

    def find(self, topic: Topic) -> TopicSpec | None:
        """Return what a topic carries, or nothing when the dictionary does not have it."""
        known = self.components.get(topic.component)
        if known is not None and topic.name in known.topics:
            return known.topics[topic.name]
        fields = self.generics.get(topic.name)
        if fields is None:
            return None
        return TopicSpec(topic.component, topic.name, self.is_indexed(topic.component), fields)

    def get(self, topic: Topic) -> TopicSpec:
        """Return what a topic carries.

        Raises
        ------
        BusError
            The dictionary does not have the topic, or the component has no index.
        """
        spec = self.find(topic)
        if spec is None:
            raise BusError(
                f"the SAL dictionary has no topic {topic.component}.{topic.name}: "
                "add it to a dictionary file"
            )
        if topic.index and not spec.indexed:
            raise BusError(f"{topic.component} is not indexed, so there is no {topic}")
        return spec

    def is_indexed(self, component: str) -> bool:
        """Return whether a component's messages carry an index."""
        known = self.components.get(component)
        return True if known is None else known.indexed

    def complete(self, topic: Topic, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a topic's whole payload; that of an unknown topic is taken as it is.

        Raises
        ------
        BusError
            An unknown field of a known topic, a wrong type, or an index too many.
        """
        if self.find(topic) is None:
            return dict(fields)
        return self.get(topic).complete(fields)

    def enum_name(self, component: str, enumeration: str, value: int) -> str | None:
        """Return the name of an enumeration's member, or nothing when it has no such member."""
        members = self.enums.get(f"{component}.{enumeration}", {})
        return next((name for name, number in members.items() if number == value), None)


def load_dictionary(extra: Sequence[Path] = ()) -> SalDictionary:
    """Return the shipped dictionary, with files of the site's own laid over it.

    Parameters
    ----------
    extra
        Files of the same form as `config/sal/topics.json`; later ones win.

    Raises
    ------
    SettingsError
        A file cannot be read or is not of that form.
    """
    return _load(tuple(extra))


@lru_cache(maxsize=8)
def _load(extra: tuple[Path, ...]) -> SalDictionary:
    generics: dict[str, tuple[FieldSpec, ...]] = {}
    components: dict[str, _Component] = {}
    enums: dict[str, Mapping[str, int]] = {}
    for path in (config_root() / "sal" / "topics.json", *extra):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            generics |= {name: _fields(rows) for name, rows in document.get("generics", {}).items()}
            for name, entry in document.get("components", {}).items():
                components[name] = _component(name, entry, components.get(name))
            enums |= document.get("enums", {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(f"the SAL dictionary {path} cannot be used: {error!r}") from error
    return SalDictionary(
        components=MappingProxyType(components),
        generics=MappingProxyType(generics),
        enums=MappingProxyType(enums),
    )


def _component(name: str, entry: Mapping[str, Any], before: _Component | None) -> _Component:
    indexed = bool(entry["indexed"])
    private_last = set(entry.get("private_last", ()))
    topics = dict(before.topics) if before is not None else {}
    for topic, rows in entry["topics"].items():
        topics[topic] = TopicSpec(name, topic, indexed, _fields(rows), topic in private_last)
    return _Component(indexed, MappingProxyType(topics))


def _fields(rows: Sequence[Sequence[Any]]) -> tuple[FieldSpec, ...]:
    return tuple(_field(str(name), sal_type, units, count) for name, sal_type, units, count in rows)


@cache
def _field(name: str, sal_type: str, units: str, count: int) -> FieldSpec:
    bare = sal_type.removesuffix("?")
    if bare not in AVRO_TYPES:
        raise ValueError(f"field {name}: {sal_type!r} is no SAL type")
    return FieldSpec(name, bare, units, int(count), nullable=bare != sal_type)
