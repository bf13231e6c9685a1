"""A `translator.yaml`: an instrument and the rules by which its headers are translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from translators.checks.yaml_lines import validated
from translators.errors import InstrumentDataError
from translators.generic.document import read_document
from translators.generic.properties import Properties
from translators.generic.rules import IntegerRule, TextRule, ValueRule, cards_of
from translators.identity import ImageKind
from translators.instruments_model import (
    Data,
    FileRules,
    FilterData,
    FocalPlane,
    Instrument,
    Millimetres,
    RaftPlace,
    Recognition,
    SensorPlace,
    SensorSize,
    full_name,
)

_TEMPLATE_NAMES = frozenset(
    {"instrument", "telescope", "observing_day", "observation_counter", "exposure_id"}
)
"""Properties that a template may name; all others could be made of a template themselves."""
_TEMPLATED = ("observation_id", "exposure_group")
"""What may be made of a template."""
_NUMBER_FORMAT = re.compile(r"(?:0?\d{1,2}d?)?")
_NO_GROUP = "camera"
_OF_DETECTOR = frozenset(
    {"detectors.name", "detectors.number", "detector_serial", "detector_exposure_id"}
)
"""Rules of the detector; the others are of the exposure."""
_OF_FILE_CARDS = frozenset({"CHECKSUM", "DATASUM", "DATE", "FILENAME"})
"""These tell of the file and not of the exposure, unless a rule reads them."""


def _as_spans(value: Any) -> Any:
    return [{"offset_hours": value}] if isinstance(value, int | float) else value


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return pattern


class Site(Data):
    """Where the telescope stands."""

    longitude_deg: Annotated[float, Field(ge=-180, le=360)]
    """East is positive."""
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    height_m: float


class DayObsSpan(Data):
    """When an observing day begins."""

    offset_hours: Annotated[float, Field(ge=-24, le=24)]
    """Hours after midnight TAI; 12 west of Greenwich by about 180 degrees, less further east."""
    since: date | None = None
    """First date on which it is so; left out: from the beginning."""


class ExposureIdRule(Data):
    """How exposures are numbered."""

    rule: Literal["day_and_counter", "begin", "keyword"]
    """`day_and_counter`: observing day, then the counter; `begin`: YYYYMMDDHHMMSS of the
    begin; `keyword`: a card."""
    digits: Annotated[int, Field(ge=1, le=8)] = 5
    """Of the counter."""
    decimals: Annotated[int, Field(ge=0, le=3)] = 1
    """Of the seconds of the begin."""
    card: IntegerRule | None = None
    """For `keyword`."""

    @model_validator(mode="after")
    def _card_is_given(self) -> Self:
        if (self.rule == "keyword") is (self.card is None):
            raise ValueError("give card with rule: keyword, and only then")
        return self


class Ids(Data):
    """The numbers by which exposures, visits and detector images are counted."""

    exposure: ExposureIdRule
    visit: Literal["exposure", "group"] = "exposure"
    """Whether a visit is one exposure, or those of an `exposure_group`."""
    detector_digits: Annotated[int, Field(ge=1, le=4)] = 3
    """A detector image's number is that of the exposure with these digits for the detector."""


class DetectorEntry(Data):
    """One detector."""

    id: Annotated[int, Field(ge=0)]
    name: str
    group: str | None = None
    """Such as the raft; left out: the detectors stand in none."""
    kind: ImageKind = ImageKind.SCIENCE
    type: str
    """Such as the maker's name of it."""
    size_px: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    """Columns and rows."""
    at_mm: Millimetres = (0.0, 0.0)
    yaw_deg: float = 0.0
    serial: str | None = None
    aliases: tuple[str, ...] = ()
    """Other names in headers."""


class Detectors(Data):
    """The detectors, and how a header tells which one it is of."""

    name: TextRule | None = None
    """Rule for its name."""
    number: IntegerRule | None = None
    """Rule for its number."""
    entries: Annotated[tuple[DetectorEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.name is not None and self.number is not None:
            raise ValueError("give name or number, not both")
        if self.name is None and self.number is None and len(self.entries) > 1:
            raise ValueError(
                "with more than one detector give name or number: a rule to tell which"
            )
        names = [name for each in self.entries for name in (each.name, *each.aliases)]
        if len(set(names)) < len(names):
            raise ValueError("two detectors have the same name or alias")
        sizes = {(each.type, each.size_px) for each in self.entries}
        if len({kind for kind, _ in sizes}) < len(sizes):
            raise ValueError("detectors of one type have different sizes")
        return self


class Definition(Data):
    """A `translator.yaml`."""

    version: Literal[1]
    name: str
    """The instrument; also the name of its folder."""
    telescope: str | None = None
    recognise: Annotated[Recognition, Field(min_length=1)]
    """Which headers belong to it."""
    file_name: Annotated[str, AfterValidator(_compiles)] | None = None
    """Regular expression for its files' names, with groups that rules may use; it is
    searched for in the name without its folder."""
    site: Site | None = None
    day_obs: Annotated[tuple[DayObsSpan, ...], BeforeValidator(_as_spans), Field(min_length=1)]
    """When an observing day begins: hours after midnight TAI, or a list of spans."""
    ids: Ids
    detectors: Detectors
    filters: tuple[FilterData, ...] = ()
    files: FileRules = FileRules(hdus={}, checksums=False)
    properties: Properties

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        groups = set(re.compile(self.file_name).groupindex) if self.file_name else set()
        for name, rule in self._rules():
            if not isinstance(rule, ValueRule):
                continue
            if rule.file_name is not None and rule.file_name not in groups:
                raise ValueError(f"{name}: the file name's pattern has no group {rule.file_name}")
            if isinstance(rule, TextRule) and rule.template is not None:
                self._check_template(name, rule.template, groups)
        if self.day_obs[0].since is not None:
            raise ValueError("day_obs: the first span begins with no `since`")
        if max(each.id for each in self.detectors.entries) >= 10**self.ids.detector_digits:
            raise ValueError("ids.detector_digits are too few for the detectors' numbers")
        if self.ids.visit == "group" and self.properties.exposure_group is None:
            raise ValueError("ids.visit is group: give properties.exposure_group")
        if self.ids.exposure.rule == "day_and_counter" and not self.properties.observation_counter:
            raise ValueError("ids.exposure counts: give properties.observation_counter")
        return self

    def _rules(self) -> Iterator[tuple[str, object]]:
        """Yield every rule with the name of what it makes."""
        yield "detectors.name", self.detectors.name
        yield "detectors.number", self.detectors.number
        yield "ids.exposure.card", self.ids.exposure.card
        for name, value in self.properties:
            for rule in value if isinstance(value, tuple) else (value,):
                yield name, rule

    @staticmethod
    def _check_template(name: str, template: str, groups: set[str]) -> None:
        if name not in _TEMPLATED:
            raise ValueError(f"{name}: only {' and '.join(_TEMPLATED)} can be made by a template")
        try:
            fields = [each for each in Formatter().parse(template) if each[1] is not None]
        except ValueError as error:
            raise ValueError(f"{name}: {template!r} is no template: {error}") from error
        for _, field, number_format, conversion in fields:
            if field not in _TEMPLATE_NAMES | groups:
                allowed = ", ".join(sorted(_TEMPLATE_NAMES | groups))
                raise ValueError(f"{name}: a template cannot name {field!r}, only {allowed}")
            if conversion or not _NUMBER_FORMAT.fullmatch(number_format or ""):
                raise ValueError(
                    f"{name}: {field} in a template is formatted as in {{{field}:06d}}"
                )

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What file names are compared with."""
        return None if self.file_name is None else re.compile(self.file_name)

    def detector_cards(self) -> frozenset[str]:
        """Return the cards that differ between the files of an exposure.

        No property of the exposure is made from one of them.
        """
        mine: set[str] = set(_OF_FILE_CARDS)
        shared: set[str] = set()
        for name, rule in self._rules():
            (mine if name in _OF_DETECTOR else shared).update(cards_of(rule))
        return frozenset(mine - shared)

    def exposure_groups(self) -> frozenset[str]:
        """Return the groups of the file's name from which properties of the exposure are made."""
        rules = [
            rule
            for name, rule in self._rules()
            if isinstance(rule, ValueRule) and name not in _OF_DETECTOR
        ]
        templates = "".join(
            rule.template for rule in rules if isinstance(rule, TextRule) and rule.template
        )
        named = {each[1] for each in Formatter().parse(templates) if each[1]}
        return frozenset(named | {rule.file_name for rule in rules if rule.file_name})

    def instrument(self) -> Instrument:
        """Return the facts in the form that all instruments have."""
        return Instrument(
            name=self.name,
            telescope=self.telescope,
            translator=self.name,
            recognise=self.recognise,
            files=self.files,
            filters=self.filters,
            focal_plane=_focal_plane(self.detectors.entries),
        )


def _focal_plane(detectors: tuple[DetectorEntry, ...]) -> FocalPlane:
    layouts: dict[str, list[SensorPlace]] = {}
    for each in detectors:
        place = SensorPlace(
            name=each.name,
            id=each.id,
            kind=each.kind,
            type=each.type,
            at_mm=each.at_mm,
            yaw_deg=each.yaw_deg,
        )
        layouts.setdefault(each.group or "", []).append(place)
    names = {each.name: full_name(each.group or "", each.name) for each in detectors}
    return FocalPlane(
        aliases={alias: names[each.name] for each in detectors for alias in each.aliases},
        serials={each.serial: names[each.name] for each in detectors if each.serial},
        sensors={
            each.type: SensorSize(width_px=each.size_px[0], height_px=each.size_px[1])
            for each in detectors
        },
        layouts={group or _NO_GROUP: tuple(places) for group, places in layouts.items()},
        rafts=tuple(
            RaftPlace(name=group, layout=group or _NO_GROUP, first_id=0, at_mm=(0.0, 0.0))
            for group in layouts
        ),
    )


def read_definition(path: Path) -> Definition:
    """Read a `translator.yaml`.

    Raises
    ------
    InstrumentDataError
        It is wrong; one line for each fault, with file and line.
    """
    definition = validated(read_document(path), Definition)
    if definition.name != path.parent.name:
        raise InstrumentDataError(
            f"{path}: it names itself {definition.name!r}; folder and name must agree"
        )
    return definition
