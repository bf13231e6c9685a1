"""The form of a keyword definition file, `config/instruments/<instrument>/keywords.yaml`.

These models say what a person may write, once the files that a file extends are laid
below it (`headerservice.layers`); `headerservice.rules` is what the service works with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from daemons.bus import Topic
from daemons.runtime.settings import SectionModel
from headerservice.crosschecks_data import CrossChecks
from headerservice.wcs_data import NominalWcs

InstantName = Literal["start_of_integration", "start_of_readout", "end", "over_exposure"]
"""When a value is wanted; `over_exposure` is from start of integration to start of readout."""

ValueType = Literal["str", "int", "float", "bool"]
"""Type of a header value."""

Computation = Literal[
    "date_utc",
    "file_name",
    "software_version",
    "definitions_digest",
    "test_stand",
    "revision",
    "status",
    "missing_count",
    "stale_count",
    "failed_checks",
    "failed_check_count",
    "unmade_check_count",
]
"""What the service itself knows."""

_TOPIC = re.compile(r"([A-Za-z0-9_]+)(?::(\d+))?\.([A-Za-z0-9_]+)")
_ALIAS = re.compile(r"[a-z][a-z0-9_]*")
_COMPONENT = re.compile(r"([A-Z][A-Za-z0-9_]*)(?::(\d+))?")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|HIERARCH [A-Z0-9_ -]{1,40}")
COMMENT_LENGTH = 45
"""Longest comment, in characters: it must fit a card beside a number and its unit."""


class SourceName(NamedTuple):
    """One field of one topic."""

    topic: Topic
    field: str

    def __str__(self) -> str:
        return f"{self.topic}.{self.field}"


def parse_topic(value: Any) -> Any:
    """Return `Component[:index].topic` as a topic; a topic stays one.

    Raises
    ------
    ValueError
        It is of another form.
    """
    if isinstance(value, Topic):
        return value
    match = _TOPIC.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not of the form Component[:index].topic")
    return Topic(match[1], match[3], int(match[2] or 0))


def parse_source(value: Any) -> Any:
    """Return `Component[:index].topic.field` as topic and field.

    Raises
    ------
    ValueError
        It is of another form.
    """
    if isinstance(value, SourceName):
        return value
    topic, dot, field = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    if not dot or not field.isidentifier():
        raise ValueError(f"{value!r} is not of the form Component[:index].topic.field")
    return SourceName(parse_topic(topic), field)


@dataclass(frozen=True, slots=True)
class ComponentName:
    """A component of the control bus, with its index."""

    name: str
    index: int = 0


def parse_component(value: Any) -> Any:
    """Return `Component[:index]` as name and index.

    Raises
    ------
    ValueError
        It is of another form.
    """
    if isinstance(value, ComponentName):
        return value
    match = _COMPONENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not of the form Component[:index]")
    return ComponentName(match[1], int(match[2] or 0))


def _parse_alias(value: Any) -> Any:
    if not isinstance(value, str) or not _ALIAS.fullmatch(value):
        raise ValueError(f"{value!r} is no name for a component: a-z, 0-9 and _, as in `camera`")
    return value


def _optional_topic(value: Any) -> Any:
    return None if value is None else parse_topic(value)


def _optional_source(value: Any) -> Any:
    return None if value is None else parse_source(value)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parse_keyword(value: Any) -> Any:
    if not isinstance(value, str) or not _KEYWORD.fullmatch(value):
        raise ValueError(
            f"{value!r} is no FITS keyword: eight of A-Z, 0-9, - and _, or HIERARCH and words"
        )
    return value


TopicText = Annotated[Topic, BeforeValidator(parse_topic, json_schema_input_type=str)]
SourceText = Annotated[SourceName, BeforeValidator(parse_source, json_schema_input_type=str)]
ComponentText = Annotated[
    ComponentName, BeforeValidator(parse_component, json_schema_input_type=str)
]
AliasText = Annotated[str, BeforeValidator(_parse_alias)]
KeywordText = Annotated[str, BeforeValidator(_parse_keyword)]
CommentText = Annotated[str, Field(min_length=1, max_length=COMMENT_LENGTH, pattern=r"^[ -~]+$")]
Number = int | float


class UnitChange(SectionModel):
    """A unit on the bus, and the one in the header."""

    source: str = Field(alias="from")
    """Unit of the field on the bus."""
    target: str = Field(alias="to")
    """Unit in the header."""


class Validity(SectionModel):
    """A field of the same message that says whether the value means anything."""

    field: str
    """The field."""
    min: float | None = None
    """It must be at least this."""
    max: float | None = None
    """It must be at most this."""
    one_of: tuple[Number | str, ...] | None = Field(default=None, alias="in")
    """It must be one of these."""


class KeywordEntry(SectionModel):
    """One keyword: exactly one of `from`, `value` and `compute`."""

    keyword: KeywordText
    """FITS keyword; `HIERARCH` and words for a long one."""
    type: ValueType
    """Type of the value in the header."""
    comment: CommentText
    """What it is; the unit is put before it."""
    required: bool | str = False
    """True, false, or a set of `image_types`: without it the header is partial."""
    sources: Annotated[
        tuple[SourceText, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
    ] = Field(default=(), alias="from")
    """Where the value comes from; the first with a good value wins."""
    value: bool | int | float | str | None = None
    """A fixed value."""
    compute: Computation | None = None
    """A value that the service knows."""
    at: InstantName | None = None
    """The instant at which the value is wanted."""
    unit: str | UnitChange | None = None
    """Unit, the same on the bus and in the header, or `{from: rad, to: deg}`."""
    item: Annotated[int, Field(ge=0)] | None = None
    """Element of an array field, from 0."""
    key: str | None = None
    """Entry of a list of `key:value` pairs whose values are the field."""
    keys: str | None = None
    """Field that holds the keys for `key`."""
    enum: str | None = None
    """Enumeration whose member's name is wanted, such as `MTPtg.TargetTypes`."""
    form: Literal["iso_tai", "mjd_tai"] | None = None
    """How a time in TAI seconds is written."""
    interpolate: Literal["step", "linear", "angular"] = "step"
    """How the value between two samples is found."""
    pick: Literal["latest", "min", "max", "mean"] | None = None
    """Which value of the whole exposure is wanted; a mean is one over time."""
    time: str | None = None
    """Field with the time of this value, if another than the topic's."""
    max_age_s: PositiveFloat | None = None
    """How old a sample may be at the instant, if other than the topic's."""
    range: tuple[float | None, float | None] | None = None
    """Lowest and highest value that can be true, in the header's unit."""
    unset: tuple[Number | str, ...] = ()
    """Values of the field that mean "not filled in"."""
    unset_when: dict[str, Number | str] = Field(default_factory=dict)
    """Fields of the message that, all at these values, mean "not filled in"."""
    valid_when: Validity | None = None
    """What must hold for the value to mean anything."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """Decimals to which a value is rounded."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self


def _contradictions(entry: KeywordEntry) -> list[str]:
    """Return what contradicts what in an entry."""
    origins = (bool(entry.sources), entry.value is not None, entry.compute is not None)
    numeric = entry.type == "float"
    checks = (
        (sum(origins) != 1, "give exactly one of `from`, `value` and `compute`"),
        (bool(entry.sources) and entry.at is None, "`from` needs `at`: when is the value wanted?"),
        ((entry.key is None) != (entry.keys is None), "`key` and `keys` go together"),
        (
            (entry.at == "over_exposure") != (entry.pick is not None),
            "`at: over_exposure` and `pick` go together",
        ),
        (
            entry.interpolate != "step" and not (numeric and entry.form is None),
            "only a `float` can be interpolated",
        ),
        (entry.interpolate == "angular" and entry.unit is None, "an angle needs its `unit`"),
        (entry.enum is not None and entry.type != "str", "the name of an `enum` member is a `str`"),
        (
            entry.form is not None
            and entry.type != ("str" if entry.form == "iso_tai" else "float"),
            "`iso_tai` gives a `str`, `mjd_tai` a `float`",
        ),
        (entry.decimals is not None and not numeric, "`decimals` is for a `float`"),
        (
            entry.pick == "mean" and not (numeric and entry.form is None),
            "only a `float` has a `mean`",
        ),
        (_upside_down(entry.range), "the lowest value of `range` comes first"),
        (
            entry.value is not None and not _is_of_type(entry.value, entry.type),
            f"`value` is no {entry.type}",
        ),
    )
    return [text for wrong, text in checks if wrong]


def _upside_down(limits: tuple[float | None, float | None] | None) -> bool:
    low, high = limits or (None, None)
    return low is not None and high is not None and low > high


def _is_of_type(value: object, kind: ValueType) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    return isinstance(value, int if kind == "int" else (int, float))


class Section(SectionModel):
    """Keywords below one heading."""

    section: CommentText
    """The heading."""
    keywords: tuple[KeywordEntry, ...]
    """In the order in which they stand in the header."""


class SensorEntry(SectionModel):
    """One keyword of every sensor: exactly one of `field`, `from` and `compute`."""

    keyword: KeywordText
    """FITS keyword."""
    type: ValueType
    """Type of the value in the header."""
    comment: CommentText
    """What it is."""
    field: str | None = None
    """Field with a value for each sensor: an array, or texts joined by colons."""
    source: Annotated[
        SourceName | None, BeforeValidator(_optional_source, json_schema_input_type=str)
    ] = Field(default=None, alias="from")
    """The same of another event of the exposure, which names its sensors itself."""
    names_field: str | None = None
    """Field of that event with the names of its sensors; by default as for all."""
    compute: Literal["detector_size"] | None = None
    """A value that follows from another field."""
    required: bool = False
    """A sensor without it makes the header partial."""
    unit: str | None = None
    """Unit."""
    range: tuple[float | None, float | None] | None = None
    """Lowest and highest value that can be true."""
    unset: tuple[Number | str, ...] = ()
    """Values that mean "not filled in"."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = (self.field, self.source, self.compute)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("give exactly one of `field`, `from` and `compute`")
        if self.names_field is not None and self.source is None:
            raise ValueError("`names_field` goes with `from`")
        if _upside_down(self.range):
            raise ValueError("the lowest value of `range` comes first")
        return self


class SensorSizes(SectionModel):
    """Pixels of a detector, by the value of a field."""

    field: str
    """The field that decides, such as the manufacturer."""
    of: dict[str, tuple[PositiveInt, PositiveInt]]
    """Columns and rows for each of its values."""


class Sensors(SectionModel):
    """The keywords of each sensor, out of one event about the whole focal plane."""

    topic: TopicText
    """The event."""
    names_field: str
    """Field with the names of the sensors, joined by colons."""
    at: Literal["start_of_integration", "start_of_readout", "end"]
    """The instant at which it is wanted."""
    hdu: Annotated[str, Field(pattern=r"\{sensor\}")]
    """EXTNAME of a sensor's header."""
    sizes: SensorSizes | None = None
    """What `detector_size` is computed from."""
    keywords: tuple[SensorEntry, ...]
    """In the order in which they stand in the header."""


class ExposureEvents(SectionModel):
    """The events that tell the life of an exposure."""

    name_field: str
    """Field with the name of the image, in all of them."""
    start: TopicText
    """Opens the exposure."""
    readout: Annotated[
        Topic | None, BeforeValidator(_optional_topic, json_schema_input_type=str)
    ] = None
    """The readout begins; none where `end` says so."""
    end: TopicText
    """Everything about the exposure has been said."""
    also: tuple[TopicText, ...] = ()
    """Others that carry the name of the image."""
    exposure_time_field: str
    """Field of `start` with the exposure time, seconds."""
    timeout_field: str | None = None
    """Field of `start` with the longest time until `end` besides the exposure time, seconds;
    none: the camera does not say."""
    date_field: str
    """Field with the observing day, YYYYMMDD."""
    image_type_keyword: str
    """The keyword whose value decides which of `image_types` an image belongs to."""


class TopicTime(SectionModel):
    """When a message of a topic is true, and for how long."""

    time: str | None = None
    """Field with the time; none: the time of sending."""
    scale: Literal["tai", "utc", "utc_ms"] = "tai"
    """What that field counts: seconds TAI, seconds UTC, or milliseconds UTC."""
    expires: str | None = None
    """Field with the time until which the message is true, in the same scale."""
    array_step_s: PositiveFloat | None = None
    """The arrays of a message are samples so far apart, seconds; the first is of the message's
    time."""
    stream: bool = False
    """True for an event that is sent as often as telemetry: it is sampled like telemetry, and the
    journal does not keep each of its messages."""
    max_age_s: PositiveFloat | None = None
    """How old a message may be at the instant; none: it never grows old."""


class KeywordFile(SectionModel):
    """A keyword definition file."""

    version: Literal[1]
    """Version of this form."""
    instrument: str
    """Butler name of the instrument."""
    components: dict[AliasText, ComponentText] = Field(default_factory=dict)
    """Components by the names that the sources use, such as `camera: MTCamera`, so that several
    instruments can share a file."""
    exposure: ExposureEvents
    """The events of an exposure."""
    instants: dict[
        Literal["start_of_integration", "start_of_readout", "end"], tuple[SourceText, ...]
    ]
    """Where the time of each instant is found; the first that is known wins."""
    image_types: dict[str, tuple[str, ...]]
    """Named sets of image types."""
    topics: dict[str, TopicTime] = Field(default_factory=dict)
    """How the messages of each topic are dated; without an index it holds for every index."""
    enums: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Enumerations that the SAL dictionary lacks: number by name."""
    primary: tuple[Section, ...]
    """The primary header."""
    sensors: Sensors | None = None
    """The headers of the sensors."""
    wcs: NominalWcs | None = None
    """What the nominal world coordinates of the sensors are computed from."""
    witnesses: tuple[KeywordEntry, ...] = ()
    """Values that are read for the cross-checks only; they are not written."""
    crosschecks: CrossChecks | None = None
    """Which values are compared with each other before a header goes out."""
