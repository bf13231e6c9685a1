"""How rules read a header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

import astropy.units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

from translators.cardtranslator import CardTranslator, MissingCardsError
from translators.errors import TranslationError
from translators.generic.definition import Definition
from translators.generic.rules import (
    FlagRule,
    HorizonRule,
    IntegerRule,
    NumberRule,
    PositionRule,
    Scalar,
    TextRule,
    TimeRule,
    ValueRule,
)

_FLAG_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("t", "true", "yes", "on"), True),
    **dict.fromkeys(("f", "false", "no", "off"), False),
}
_EQUINOX_FORMATS = {"fk4": "byear", "fk4noeterms": "byear"}
_FILE_NAME = "(file name)"
"""No keyword; stands for what the name of a file says."""

_RIGHT_ANGLE_DEG = 90.0


class RuleReader(CardTranslator):
    """Applies rules to a header and to the name of its file."""

    definition: ClassVar[Definition]
    identity_needs_tables = True

    def begin(self) -> Time:
        """Return the begin of the exposure."""
        begin: Time = self.to_datetime_begin()
        return begin

    def place(self) -> EarthLocation | None:
        """Return where the telescope stands."""
        location: EarthLocation | None = self.to_location()
        return location

    def file_groups(self) -> Mapping[str, str]:
        """Return what the file's name says; nothing where it does not fit the pattern."""
        pattern = self.definition.pattern
        if pattern is None or self.filename is None:
            return {}
        match = pattern.search(PurePosixPath(self.filename).name)
        found: Mapping[str, str | Any] = {} if match is None else match.groupdict()
        return {group: value for group, value in found.items() if value is not None}

    def shared_cards(self) -> dict[str, Any]:
        """Return what the files of an exposure share, what their names say among it."""
        groups = self.definition.exposure_groups()
        said = {name: each for name, each in self.file_groups().items() if name in groups}
        return super().shared_cards() | {_FILE_NAME: said}

    def value(self, rule: ValueRule) -> Scalar | None:
        """Return the value of a rule, None where it is optional and there is none.

        Raises
        ------
        MissingCardsError
            There is none.
        ValueError
            It is one that the rule refuses.
        """
        raw = self._raw(rule)
        return self._without(rule) if raw is None else _mapped(rule, raw)

    def _raw(self, rule: ValueRule) -> Scalar | None:
        if rule.constant is not None:
            return rule.constant
        if rule.file_name is not None:
            return self.file_groups().get(rule.file_name)
        raw: Scalar | None = self.card_or(None, *rule.keyword)
        return raw

    @staticmethod
    def _without(rule: ValueRule) -> Scalar | None:
        """Return what counts where there is no value."""
        if rule.default is not None or rule.optional:
            return rule.default
        if rule.file_name is not None:
            raise MissingCardsError(f"the file's name ({rule.file_name})")
        raise MissingCardsError(*rule.keyword)

    def text(self, *keywords: str | TextRule) -> str:
        """Return a card or a rule as text.

        Raises
        ------
        MissingCardsError
            There is none.
        """
        rule = keywords[0]
        if not isinstance(rule, TextRule):
            return super().text(*(each for each in keywords if isinstance(each, str)))
        found = self.text_or_none(rule)
        if found is None:
            raise MissingCardsError(*rule.keyword)
        return found

    def text_or_none(self, rule: TextRule) -> str | None:
        """Return the value of a rule as text."""
        if rule.template is not None:
            return self._from_template(rule.template)
        if rule.join is None:
            found = self.value(rule)
            return None if found is None else str(found)
        parts = [_mapped(rule, self.card(each)) for each in rule.keyword if self.defined(each)]
        names = [str(part) for part in parts if part is not None]
        if names:
            return rule.join.join(names)
        without = self._without(rule)
        return None if without is None else str(without)

    def _from_template(self, template: str) -> str:
        values: dict[str, Any] = dict(self.file_groups())
        for name in re.findall(r"{(\w+)", template):
            if name not in values:
                method = getattr(self, f"to_{name}", None)
                if method is None:
                    raise MissingCardsError(f"the file's name ({name})")
                values[name] = method()
        return template.format(**{name: _number_or_text(each) for name, each in values.items()})

    def number_or_none(self, rule: NumberRule) -> float | None:
        """Return the value of a rule as a number in its range.

        Raises
        ------
        ValueError
            It is no number, or out of range and there is no default.
        """
        found = self.value(rule)
        if found is None:
            return None
        number = float(found)
        below = rule.minimum is not None and number < rule.minimum
        above = rule.maximum is not None and number > rule.maximum
        if math.isfinite(number) and not below and not above:
            return number
        if rule.default is not None or rule.optional:
            return None if rule.default is None else float(rule.default)
        raise ValueError(f"{' or '.join(rule.keyword)} is {number}, which cannot be")

    def quantity_or_none(self, rule: NumberRule, unit: str) -> u.Quantity | None:
        """Return the value of a rule with the unit of its card, or else with the usual one."""
        number = self.number_or_none(rule)
        return None if number is None else number * u.Unit(rule.unit or unit)

    def integer_or_none(self, rule: IntegerRule) -> int | None:
        """Return the value of a rule as a whole number.

        Raises
        ------
        ValueError
            It is none.
        """
        found = self.value(rule)
        if found is None:
            return None
        number = int(found) if isinstance(found, str) else found
        if number != int(number):
            raise ValueError(f"{' or '.join(rule.keyword)} is {number}, not a whole number")
        return int(number)

    def flag_or_none(self, rule: FlagRule) -> bool | None:
        """Return the value of a rule as true or false.

        Raises
        ------
        ValueError
            It is neither.
        """
        found = self.value(rule)
        if not isinstance(found, str):
            return None if found is None else bool(found)
        word = found.strip().lower()
        if word not in _FLAG_WORDS:
            raise ValueError(f"{' or '.join(rule.keyword)} is {found!r}, neither true nor false")
        return _FLAG_WORDS[word]

    def moment(self, rules: Sequence[TimeRule]) -> Time | None:
        """Return the time that the first rule gives whose card has a value.

        Raises
        ------
        MissingCardsError
            None has.
        ValueError
            It is no time.
        """
        for rule in rules:
            found = self.card_or(None, *rule.keyword)
            if found is not None:
                return self._time(rule, found)
        if any(rule.optional for rule in rules):
            return None
        raise MissingCardsError(*(keyword for rule in rules for keyword in rule.keyword))

    def _time(self, rule: TimeRule, found: Any) -> Time:
        scale = rule.scale
        if rule.scale_keyword is not None:
            scale = self.card_or(rule.scale, rule.scale_keyword).strip().lower()
        if rule.format != "fits":
            return Time(float(found), format=rule.format, scale=scale).tai
        text = str(found).strip()
        if rule.time_keyword is not None:
            text = f"{text[:10]}T{str(self.card(rule.time_keyword)).strip()}"
        return Time(text, format="fits", scale=scale).tai

    def position(self, rules: Sequence[PositionRule]) -> SkyCoord | None:
        """Return the place on the sky that the first rule gives whose cards have values.

        Raises
        ------
        MissingCardsError
            None has.
        ValueError
            It is no place.
        """
        concerned = [rule for rule in rules if self._concerns(rule.observation_types)]
        for rule in concerned:
            if self.defined(rule.ra) and self.defined(rule.dec):
                return self._sky_coordinates(rule)
        if not concerned or any(rule.optional for rule in concerned):
            return None
        raise MissingCardsError(*(f"{rule.ra} and {rule.dec}" for rule in concerned))

    def _concerns(self, observation_types: tuple[str, ...]) -> bool:
        return not observation_types or self.to_observation_type() in observation_types

    def _sky_coordinates(self, rule: PositionRule) -> SkyCoord:
        frame = rule.frame
        if rule.frame_keyword is not None:
            frame = str(self.card_or(rule.frame, rule.frame_keyword)).strip().lower()
        more: dict[str, Any] = {}
        if rule.equinox_keyword is not None and self.defined(rule.equinox_keyword):
            year = self.number(rule.equinox_keyword)
            more["equinox"] = Time(year, format=_EQUINOX_FORMATS.get(frame, "jyear"))
        return SkyCoord(
            self.card(rule.ra),
            self.card(rule.dec),
            unit=(u.Unit(rule.ra_unit), u.Unit(rule.dec_unit)),
            frame=frame,
            obstime=self.begin(),
            location=self.place(),
            **more,
        )

    def horizon(self, rules: Sequence[HorizonRule], when: Time) -> AltAz | None:
        """Return where the telescope pointed by the first rule whose cards have values.

        Raises
        ------
        MissingCardsError
            None has.
        ValueError
            It is no place.
        """
        concerned = [rule for rule in rules if self._concerns(rule.observation_types)]
        for rule in concerned:
            height = rule.altitude or rule.zenith_distance or ""
            if self.defined(height) and self.defined(rule.azimuth):
                number = self.number(height)
                altitude_deg = _RIGHT_ANGLE_DEG - number if rule.altitude is None else number
                return AltAz(
                    self.number(rule.azimuth) * u.deg,
                    altitude_deg * u.deg,
                    obstime=when,
                    location=self.place(),
                )
        if not concerned or any(rule.optional for rule in concerned):
            return None
        raise MissingCardsError(*(rule.azimuth for rule in concerned))


def _mapped(rule: ValueRule, raw: Scalar) -> Scalar | None:
    """Return what a value means."""
    if isinstance(rule, TextRule) and rule.case is not None:
        raw = str(raw).lower() if rule.case == "lower" else str(raw).upper()
    if not rule.values:
        return raw
    meant = {key.strip().lower(): value for key, value in rule.values.items()}
    key = str(raw).strip().lower()
    if key in meant:
        return meant[key]
    if rule.unmapped == "refuse":
        raise TranslationError(
            f"{' or '.join(rule.keyword) or 'the file name'} is {raw!r}, which is none of "
            f"{', '.join(rule.values)}"
        )
    return raw


def _number_or_text(value: Any) -> Any:
    """Make a number of digits, so that a template can put zeros before it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value
