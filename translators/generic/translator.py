"""Translators that are made of rules: one class for every `translator.yaml`."""

from __future__ import annotations

import copyreg
import re
from pathlib import Path
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta

from translators.errors import UnknownDetectorError
from translators.generic.definition import Definition, DetectorEntry, ExposureIdRule
from translators.generic.properties import USUAL_UNITS
from translators.generic.reading import RuleReader
from translators.generic.rules import IntegerRule, NumberRule, TextRule
from translators.instruments_folders import add_folder, folders
from translators.instruments_model import Instrument
from translators.lsst.ids import parse_day_obs, visit_id

_SECONDS_DIGITS = 14
"""Of YYYYMMDDHHMMSS."""


class _OfRules(type):
    """Type of the classes; by it pickle knows that they are made and not imported."""


class GenericTranslator(RuleReader, metaclass=_OfRules):
    """Translates headers by the rules of a `translator.yaml`.

    A property without a rule has the value that follows from the others, or none.
    """

    folder: ClassVar[Path | None] = None
    """Where the rules were read, with the instrument's corrections."""
    _data: ClassVar[Instrument]

    @classmethod
    def data(cls) -> Instrument:
        """Return the facts of the instrument."""
        return cls._data

    @classmethod
    def observing_date_to_offset(cls, observing_date: Time) -> TimeDelta:
        """Return by how much an observing day begins after midnight TAI."""
        day = observing_date.tai.to_datetime().date()
        spans = [span for span in cls.definition.day_obs if span.since is None or span.since <= day]
        return TimeDelta(spans[-1].offset_hours * 3600, format="sec", scale="tai")

    # Which instrument and exposure.

    @cache_translation
    def to_instrument(self) -> str:
        """Return the instrument's name."""
        return self.definition.name

    @cache_translation
    def to_telescope(self) -> str | None:  # type: ignore[override]  # it may have none
        """Return the telescope's name."""
        return self.definition.telescope

    @cache_translation
    def to_observation_id(self) -> str:
        """Return the observation's name."""
        return self.text(self.definition.properties.observation_id)

    @cache_translation
    def to_exposure_id(self) -> int:
        """Return the exposure's number."""
        rule = self.definition.ids.exposure
        if rule.card is not None:
            return self._required_integer(rule.card)
        if rule.rule == "begin":
            return self._number_of_begin(rule)
        counter = self.to_observation_counter()
        if not 0 <= counter < 10**rule.digits:
            raise ValueError(f"the counter {counter} has no room in {rule.digits} digits")
        day: int = self.to_observing_day()
        step: int = 10**rule.digits
        return day * step + counter

    def _number_of_begin(self, rule: ExposureIdRule) -> int:
        moment = self.begin().utc.copy()
        moment.precision = 3
        return int(re.sub(r"\D", "", moment.isot)[: _SECONDS_DIGITS + rule.decimals])

    def _required_integer(self, rule: IntegerRule) -> int:
        number = self.integer_or_none(rule)
        if number is None:
            raise KeyError(f"no value in {' or '.join(rule.keyword)}")
        return number

    @cache_translation
    def to_visit_id(self) -> int:
        """Return the number of the exposure, or of the visit that its group makes."""
        rule = self.definition.properties.visit_id
        found = None if rule is None else self.integer_or_none(rule)
        if found is not None:
            return found
        if self.definition.ids.visit == "group":
            return visit_id(self.to_exposure_group())
        return self.to_exposure_id()

    @cache_translation
    def to_exposure_group(self) -> str:
        """Return the group, or the exposure id as text."""
        found = self._text(self.definition.properties.exposure_group)
        return str(self.to_exposure_id()) if found is None else found

    @cache_translation
    def to_observing_day(self) -> int:
        """Return the observing day, YYYYMMDD."""
        rule = self.definition.properties.observing_day
        found = None if rule is None else self.value(rule)
        if found is not None:
            return parse_day_obs(found)
        begin = self.begin()
        return int(
            self.observing_date_to_observing_day(begin, self.observing_date_to_offset(begin))
        )

    @cache_translation
    def to_observation_counter(self) -> int:
        """Return the number of the exposure, 0 where no rule gives it."""
        return self._counter(self.definition.properties.observation_counter, 0)

    @cache_translation
    def to_group_counter_start(self) -> int:
        """Return the number of the first exposure of the group."""
        rule = self.definition.properties.group_counter_start
        return self._counter(rule, self.to_observation_counter())

    @cache_translation
    def to_group_counter_end(self) -> int:
        """Return the number of the last exposure of the group."""
        rule = self.definition.properties.group_counter_end
        return self._counter(rule, self.to_observation_counter())

    def _counter(self, rule: IntegerRule | None, default: int) -> int:
        found = None if rule is None else self.integer_or_none(rule)
        return default if found is None else found

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Return whether the image is simulated, in part or in whole."""
        rule = self.definition.properties.has_simulated_content
        return rule is not None and bool(self.flag_or_none(rule))

    # When.

    @cache_translation
    def to_datetime_begin(self) -> Time:
        """Return the begin."""
        return self.moment(self.definition.properties.datetime_begin)

    @cache_translation
    def to_datetime_end(self) -> Time:
        """Return the end, or the begin and the exposure time."""
        rules = self.definition.properties.datetime_end
        found = None if rules is None else self.moment(rules)
        return self.begin() + self.to_exposure_time() if found is None else found

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """Return how long the exposure was."""
        return self._quantity("exposure_time")

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """Return how long it should have been, the exposure time where no rule says."""
        found = self._quantity("exposure_time_requested")
        return self.to_exposure_time() if found is None else found

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """Return for how long charge was collected, the exposure time where no rule says."""
        found = self._quantity("dark_time")
        return self.to_exposure_time() if found is None else found

    # What.

    @cache_translation
    def to_observation_type(self) -> str:
        """Return the observation type."""
        return self.text(self.definition.properties.observation_type)

    @cache_translation
    def to_observation_reason(self) -> str:
        """Return the reason."""
        found = self._text(self.definition.properties.observation_reason)
        return super().to_observation_reason() if found is None else found

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return the filter."""
        return self.text(self.definition.properties.physical_filter)

    @cache_translation
    def to_object(self) -> str | None:  # type: ignore[override]  # it may not be known
        """Return what was looked at."""
        return self._text(self.definition.properties.object)

    @cache_translation
    def to_science_program(self) -> str | None:  # type: ignore[override]  # it may not be known
        """Return the observing program."""
        return self._text(self.definition.properties.science_program)

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Return whether light of the sky could reach the detector."""
        rule = self.definition.properties.can_see_sky
        if rule is not None:
            return self.flag_or_none(rule)
        by_type: bool | None = super().to_can_see_sky()
        return by_type

    def _text(self, rule: TextRule | None) -> str | None:
        return None if rule is None else self.text_or_none(rule)

    # Which detector.

    @cache_translation
    def to_detector_num(self) -> int:
        """Return the detector's number."""
        return self._detector().id

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the detector's name."""
        return self._detector().name

    @cache_translation
    def to_detector_group(self) -> str | None:
        """Return the detector's group."""
        return self._detector().group

    @cache_translation
    def to_detector_serial(self) -> str | None:  # type: ignore[override]  # it may not be known
        """Return the detector's serial number."""
        found = self._text(self.definition.properties.detector_serial)
        return self._detector().serial if found is None else found

    @cache_translation
    def to_detector_exposure_id(self) -> int:
        """Return the number of the detector image."""
        rule = self.definition.properties.detector_exposure_id
        found = None if rule is None else self.integer_or_none(rule)
        if found is not None:
            return found
        step: int = 10**self.definition.ids.detector_digits
        exposure: int = self.to_exposure_id()
        return exposure * step + self._detector().id

    def _detector(self) -> DetectorEntry:
        detectors = self.definition.detectors
        if detectors.number is not None:
            found: int | str = self._required_integer(detectors.number)
            of_header = [each for each in detectors.entries if each.id == found]
        elif detectors.name is not None:
            found = self.text(detectors.name).strip()
            of_header = [each for each in detectors.entries if found in {each.name, *each.aliases}]
        else:
            return detectors.entries[0]
        if not of_header:
            names = ", ".join(f"{each.name} ({each.id})" for each in detectors.entries)
            raise UnknownDetectorError(
                f"{self.definition.name} has no detector {found!r}, only {names}"
            )
        return of_header[0]

    # Where.

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        """Return OBSGEO-X, -Y, -Z or the site."""
        if all(self.defined(f"OBSGEO-{axis}") for axis in "XYZ"):
            return EarthLocation.from_geocentric(
                *(self.number(f"OBSGEO-{axis}") for axis in "XYZ"), unit=u.m
            )
        site = self.definition.site
        if site is None:
            return None
        return EarthLocation.from_geodetic(
            lon=site.longitude_deg, lat=site.latitude_deg, height=site.height_m
        )

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Return what was tracked."""
        return self.position(self.definition.properties.tracking_radec)

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return where the telescope pointed at the begin."""
        return self.horizon(self.definition.properties.altaz_begin, self.begin())

    @cache_translation
    def to_altaz_end(self) -> AltAz | None:
        """Return where the telescope pointed at the end."""
        return self.horizon(self.definition.properties.altaz_end, self.to_datetime_end())

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """Return the airmass, also from the altitude."""
        rule = self.definition.properties.boresight_airmass
        found = None if rule is None else self.number_or_none(rule)
        altaz = self.to_altaz_begin() if found is None else None
        return found if altaz is None else float(altaz.secz.to_value())

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """Return how the camera was turned."""
        found = self._quantity("boresight_rotation_angle")
        return None if found is None else Angle(found)

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """Return to what the angle refers."""
        found = self._text(self.definition.properties.boresight_rotation_coord)
        if found is not None:
            return found
        return "unknown" if self.to_boresight_rotation_angle() is None else "sky"

    # Conditions.

    @cache_translation
    def to_focus_z(self) -> u.Quantity:
        """Return the focus, 0 where no rule says."""
        found = self._quantity("focus_z")
        return 0.0 * u.mm if found is None else found

    @cache_translation
    def to_temperature(self) -> u.Quantity | None:
        """Return the temperature outside."""
        return self._quantity("temperature")

    @cache_translation
    def to_pressure(self) -> u.Quantity | None:
        """Return the pressure outside."""
        return self._quantity("pressure")

    @cache_translation
    def to_relative_humidity(self) -> float | None:  # type: ignore[override]  # may be unknown
        """Return the humidity outside, percent."""
        rule = self.definition.properties.relative_humidity
        return None if rule is None else self.number_or_none(rule)

    def _quantity(self, name: str) -> u.Quantity | None:
        rule: NumberRule | None = getattr(self.definition.properties, name)
        return None if rule is None else self.quantity_or_none(rule, USUAL_UNITS[name])


def class_of(definition: Definition, folder: Path | None = None) -> type[GenericTranslator]:
    """Return the translator of some rules, and enter it in the registry where it is not there.

    Parameters
    ----------
    definition
        The rules.
    folder
        Where they were read; there are the instrument's corrections, too.
    """
    known = _classes.get(definition.name)
    if known is not None and (known.definition, known.folder) == (definition, folder):
        return known
    if folder is not None and folder.parent not in folders():
        add_folder(folder.parent)
    made: Any = _OfRules(
        re.sub(r"\W", "", definition.name) + "Translator",
        (GenericTranslator,),
        {
            "__doc__": f"{definition.name}, by the rules of its `translator.yaml`.",
            "__module__": __name__,
            "name": definition.name,
            "data_name": definition.name,
            "supported_instrument": definition.name,
            "definition": definition,
            "detector_cards": definition.detector_cards(),
            "folder": folder,
            "_data": definition.instrument(),
        },
    )
    _classes[definition.name] = made
    return _classes[definition.name]


_classes: dict[str, type[GenericTranslator]] = {}


def _reduced(made: _OfRules) -> str | tuple[Any, ...]:
    """Tell pickle how to make a class again, in a process that has not read its rules."""
    if made is GenericTranslator or not issubclass(made, GenericTranslator):
        return made.__qualname__
    return class_of, (made.definition, made.folder)


copyreg.pickle(_OfRules, _reduced)
