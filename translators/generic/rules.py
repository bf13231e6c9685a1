"""How one property is made from cards: the kinds of rules in a `translator.yaml`.

The short form of a rule is a keyword or a list of keywords, of which the first
that has a value counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import astropy.units as u
from astropy.coordinates import frame_transform_graph
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from translators.instruments_model import Data

Scalar = bool | int | float | str
"""A value as it stands in a card."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_rules(value: Any) -> Any:
    return [value] if isinstance(value, dict | str) else value


def _known_unit(name: str) -> str:
    try:
        u.Unit(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is no unit that astropy knows, such as s, deg, hPa") from error
    return name


def _known_frame(name: str) -> str:
    if name.lower() not in frame_transform_graph.get_names():
        raise ValueError(f"{name!r} is no frame that astropy knows, such as icrs, fk5, galactic")
    return name.lower()


Keywords = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Unit = Annotated[str, AfterValidator(_known_unit)]
Frame = Annotated[str, AfterValidator(_known_frame)]


class CardRule(Data):
    """A rule that reads cards."""

    keyword: Keywords = ()
    """The first of these cards that has a value counts."""
    optional: bool = False
    """Whether the property may stay without a value where no card has one."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"keyword": value} if isinstance(value, str | list) else value


class ValueRule(CardRule):
    """A value of a card, of the file's name, or always the same."""

    file_name: str | None = None
    """Name of a group in the file name's pattern."""
    constant: Scalar | None = None
    """Always this."""
    default: Scalar | None = None
    """Where no card has a value."""
    values: Mapping[str, Scalar | None] = Field(default_factory=dict)
    """What the values in the header mean, case and blanks around them aside."""
    unmapped: Literal["keep", "refuse"] = "keep"
    """What to do with a value that does not stand in `values`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(self._sources()) != 1:
            raise ValueError(f"give exactly one of {', '.join(self._source_names())}")
        return self

    def _source_names(self) -> tuple[str, ...]:
        return ("keyword", "file_name", "constant")

    def _sources(self) -> tuple[bool, ...]:
        return (bool(self.keyword), self.file_name is not None, self.constant is not None)


class TextRule(ValueRule):
    """A text."""

    template: str | None = None
    """Made of other properties and of groups of the file's name, such as
    `{instrument}_{observing_day}_{observation_counter:06d}`."""
    join: str | None = None
    """Put this between the values of all the keywords that have one."""
    case: Literal["lower", "upper"] | None = None
    """Write it so, before `values` are looked up."""

    def _source_names(self) -> tuple[str, ...]:
        return (*super()._source_names(), "template")

    def _sources(self) -> tuple[bool, ...]:
        return (*super()._sources(), self.template is not None)


class NumberRule(ValueRule):
    """A number."""

    unit: Unit | None = None
    """That of the card; left out: the property's usual one."""
    minimum: float | None = None
    """A smaller one counts as none."""
    maximum: float | None = None
    """A larger one counts as none."""


class IntegerRule(ValueRule):
    """A whole number."""


class FlagRule(ValueRule):
    """True or false; a number counts as true unless it is 0."""


class TimeRule(CardRule):
    """A moment."""

    time_keyword: str | None = None
    """Card with the time of the day, where `keyword` has the date only."""
    format: Literal["fits", "mjd", "jd", "unix"] = "fits"
    """`fits`: such as 2026-03-14T02:15:03.5."""
    scale: Literal["utc", "tai", "tt", "tdb", "ut1"] = "utc"
    """Time scale of the card."""
    scale_keyword: str | None = None
    """Card that names the scale, such as TIMESYS; `scale` where it has no value."""


class PositionRule(Data):
    """A place on the sky."""

    ra: str
    dec: str
    ra_unit: Literal["deg", "hourangle", "rad"] = "deg"
    """`hourangle` also for text such as 12:34:56.7."""
    dec_unit: Literal["deg", "rad"] = "deg"
    frame: Frame = "icrs"
    frame_keyword: str | None = None
    """Card that names the frame, such as RADESYS; `frame` where it has no value."""
    equinox_keyword: str | None = None
    """Card with the equinox, for frames that have one."""
    observation_types: tuple[str, ...] = ()
    """Only for these; empty: for all."""
    optional: bool = False


class HorizonRule(Data):
    """Where the telescope pointed above the horizon, in degrees."""

    azimuth: str
    altitude: str | None = None
    zenith_distance: str | None = None
    """In place of the altitude."""
    observation_types: tuple[str, ...] = ()
    """Only for these; empty: for all."""
    optional: bool = False

    @model_validator(mode="after")
    def _one_height(self) -> Self:
        if (self.altitude is None) is (self.zenith_distance is None):
            raise ValueError("give either altitude or zenith_distance")
        return self


TimeRules = Annotated[tuple[TimeRule, ...], BeforeValidator(_as_rules), Field(min_length=1)]
PositionRules = Annotated[tuple[PositionRule, ...], BeforeValidator(_as_rules)]
HorizonRules = Annotated[tuple[HorizonRule, ...], BeforeValidator(_as_rules)]
"""The first whose cards have values counts."""


def cards_of(rule: object) -> frozenset[str]:
    """Return the cards that a rule reads."""
    match rule:
        case TimeRule():
            cards = (*rule.keyword, rule.time_keyword, rule.scale_keyword)
        case CardRule():
            cards = rule.keyword
        case PositionRule():
            cards = (rule.ra, rule.dec, rule.frame_keyword, rule.equinox_keyword)
        case HorizonRule():
            cards = (rule.azimuth, rule.altitude, rule.zenith_distance)
        case _:
            cards = ()
    return frozenset(card for card in cards if card is not None)
