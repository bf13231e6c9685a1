"""Keyword definitions as the service works with them: checked, compiled, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from daemons.bus import Topic
from headerservice.crosschecks_data import CrossChecks
from headerservice.definitions import Computation, InstantName, ValueType
from headerservice.wcs_data import NominalWcs

Value = str | int | float | bool
"""A header value that exists."""


class Role(StrEnum):
    """What an event of an exposure tells."""

    START = "start"
    READOUT = "readout"
    END = "end"
    ALSO = "also"


class Interpolation(StrEnum):
    """How the value between two samples is found."""

    STEP = "step"
    LINEAR = "linear"
    ANGULAR = "angular"


@dataclass(frozen=True, slots=True)
class Dating:
    """When a message is true, and for how long."""

    time_field: str | None = None
    """Field with the time; None: the time of sending."""
    scale: str = "tai"
    """`tai`, `utc` (seconds) or `utc_ms` (milliseconds)."""
    expires_field: str | None = None
    max_age_s: float | None = None
    array_step_s: float | None = None
    """Set where the arrays of a message are samples, so far apart."""
    stream: bool = False
    """True for an event that is sent as often as telemetry."""


@dataclass(frozen=True, slots=True)
class Source:
    """One field of one topic, dated."""

    topic: Topic
    field: str
    dating: Dating
    role: Role | None = None
    """Set where the topic is an event of the exposure itself, matched by its name."""

    def __str__(self) -> str:
        return f"{self.topic}.{self.field}"


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold in the same message for a value to mean anything."""

    field: str
    minimum: float | None = None
    maximum: float | None = None
    one_of: frozenset[object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRule:
    """How a field of a message becomes a header value."""

    type: ValueType
    item: int | None = None
    key: str | None = None
    keys_field: str | None = None
    enum: Mapping[int, str] | None = None
    form: str | None = None
    scale: float = 1.0
    """From the unit on the bus to the one in the header."""
    period: float | None = None
    """A full turn in the unit on the bus, for an angle that wraps."""
    range: tuple[float | None, float | None] = (None, None)
    unset: frozenset[object] = frozenset()
    unset_when: tuple[tuple[str, object], ...] = ()
    gate: Gate | None = None
    decimals: int | None = None

    @property
    def raw_type(self) -> ValueType:
        """Type of the field itself."""
        if self.enum is not None:
            return "int"
        return "float" if self.form is not None else self.type

    @property
    def extra_fields(self) -> frozenset[str]:
        """Fields that are read besides the value's own."""
        names = {name for name, _ in self.unset_when}
        if self.gate is not None:
            names.add(self.gate.field)
        if self.keys_field is not None:
            names.add(self.keys_field)
        return frozenset(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordRule:
    """One keyword of the primary header."""

    keyword: str
    comment: str
    required: bool | frozenset[str]
    """True, False, or the image types that need it."""
    reading: ReadingRule
    sources: tuple[Source, ...] = ()
    at: InstantName | None = None
    interpolation: Interpolation = Interpolation.STEP
    pick: str | None = None
    fixed: Value | None = None
    compute: Computation | None = None

    def is_required(self, image_type: str | None) -> bool:
        """Return whether an image of this type needs the keyword."""
        if isinstance(self.required, bool):
            return self.required
        return image_type is not None and image_type.upper() in self.required


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorRule:
    """One keyword of every sensor."""

    keyword: str
    comment: str
    required: bool
    reading: ReadingRule
    field: str | None
    """None: the detector's size."""
    topic: Topic | None = None
    """Another event of the exposure that has the field; None: the one of all sensors."""
    names_field: str = ""
    """Field of that event with the names of its sensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorPlan:
    """Where the headers of the sensors come from."""

    source: Source
    """The event; its field holds the names."""
    at: InstantName
    hdu: str
    size_field: str | None
    sizes: Mapping[str, tuple[int, int]]
    rules: tuple[SensorRule, ...]

    @property
    def events(self) -> frozenset[Topic]:
        """Events of the exposure that some keywords come from."""
        return frozenset(rule.topic for rule in self.rules if rule.topic is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPlan:
    """The events that tell the life of an exposure."""

    roles: Mapping[Topic, Role]
    name_field: str
    exposure_time_field: str
    timeout_field: str
    """Empty where the camera does not say."""
    date_field: str
    image_type_keyword: str


@dataclass(frozen=True)
class Definitions:
    """Everything that the keyword definitions of an instrument say."""

    instrument: str
    events: EventPlan
    instants: Mapping[InstantName, tuple[Source, ...]]
    sections: tuple[tuple[str, tuple[KeywordRule, ...]], ...]
    """Heading and keywords, in header order."""
    sensors: SensorPlan | None
    digest: str
    """SHA-256 of the file and of those that it extends, hexadecimal."""
    files: tuple[Path, ...] = ()
    """Those files, the file itself last."""
    witnesses: tuple[KeywordRule, ...] = ()
    """Values that are read for the cross-checks only."""
    crosschecks: CrossChecks | None = None
    wcs: NominalWcs | None = None

    @cached_property
    def rules(self) -> tuple[KeywordRule, ...]:
        """Every keyword of the primary header, in header order."""
        return tuple(rule for _, rules in self.sections for rule in rules)

    @cached_property
    def needed(self) -> Mapping[Topic, frozenset[str]]:
        """The topics to read, and the fields of them that are used."""
        fields: dict[Topic, set[str]] = {topic: set() for topic in self.events.roles}
        for source, extra in self._uses():
            of_topic = fields.setdefault(source.topic, set())
            of_topic.add(source.field)
            of_topic.update(extra)
            dating = source.dating
            of_topic.update(name for name in (dating.time_field, dating.expires_field) if name)
        return MappingProxyType({topic: frozenset(names) for topic, names in fields.items()})

    def _uses(self) -> Iterator[tuple[Source, frozenset[str]]]:
        for rule in (*self.rules, *self.witnesses):
            for source in rule.sources:
                yield source, rule.reading.extra_fields
        for sources in self.instants.values():
            for source in sources:
                yield source, frozenset()
        if self.sensors is not None:
            own = (rule for rule in self.sensors.rules if rule.topic is None)
            names = {rule.field for rule in own if rule.field is not None}
            if self.sensors.size_field is not None:
                names.add(self.sensors.size_field)
            yield self.sensors.source, frozenset(names)

    @cached_property
    def datings(self) -> Mapping[Topic, tuple[Dating, ...]]:
        """The ways in which the messages of each sampled topic are dated."""
        found: dict[Topic, dict[Dating, None]] = {}
        for source, _ in self._uses():
            if source.role is None:
                found.setdefault(source.topic, {})[source.dating] = None
        return MappingProxyType({topic: tuple(datings) for topic, datings in found.items()})

    @property
    def event_topics(self) -> frozenset[Topic]:
        """Topics whose last message is kept for those who come later."""
        return frozenset(self.needed) - self.telemetry_topics

    @property
    def telemetry_topics(self) -> frozenset[Topic]:
        """Topics that are sampled all the time."""
        streams = {
            topic
            for topic, datings in self.datings.items()
            if any(dating.stream for dating in datings)
        }
        return frozenset(topic for topic in self.needed if not topic.is_event or topic in streams)


def keywords_of(definitions: Definitions) -> Iterator[str]:
    """Yield every keyword that a header of this instrument can have."""
    for rule in definitions.rules:
        yield rule.keyword
    if definitions.sensors is not None:
        for sensor_rule in definitions.sensors.rules:
            yield sensor_rule.keyword
