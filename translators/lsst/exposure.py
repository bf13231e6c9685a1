"""Which exposure a header belongs to: numbers, times, type, filter, detector."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.time import Time, TimeDelta

from translators.cardtranslator import CardTranslator, MissingCardsError
from translators.focalplane import FILTER_DELIMITER, detector_by_name
from translators.lsst.ids import (
    SIMULATED_CONTROLLERS,
    detector_exposure_id,
    exposure_id,
    parse_day_obs,
    visit_id,
)

_log = logging.getLogger(__name__)

_SCIENCE_NAMES = frozenset({"skyexp", "object"})
"""IMGTYPE values that mean a science observation."""


DETECTOR_CARDS = frozenset(
    {
        *("RAFTBAY", "CCDSLOT", "LSST_NUM", "DETSIZE", "FILENAME"),
        *("CCD_MANU", "CCD_TYPE", "CCD_SERN", "CCDTEMP", "TEMP_SET"),
        *("CONTNUM", "FIRMWARE", "REBNAME", "RAFTNAME"),
        *("SEQFILE", "SEQNAME", "SEQCKSUM", "CHECKSUM", "DATASUM"),
        *("OVERH", "OVERV", "PREH", "DATE", "MJD"),
    }
)
"""Cards that differ between the files of an exposure. No property of an exposure may be
made from one of them, but for whether DATE is DATE-OBS."""


class ExposureTranslator(CardTranslator):
    """What every header of the LSST cameras says of its exposure and detector."""

    detector_cards = DETECTOR_CARDS
    rollover_hours: ClassVar[float] = 12.0
    """When a new observing day begins, hours after midnight TAI."""

    _non_sky_observation_types = ("bias", "dark", "flat")

    @property
    def controller(self) -> str | None:
        """Who triggered the exposure, one letter; None where the header does not say."""
        value: str | None = self.card_or(None, "CONTRLLR")
        return value

    def shared_cards(self) -> dict[str, Any]:
        """Return what the files of an exposure share, and whether DATE is DATE-OBS."""
        shared = super().shared_cards()
        shared["DATE"] = self._header.get("DATE") == self._header.get("DATE-OBS")
        return shared

    # Which instrument and exposure.

    @cache_translation
    def to_instrument(self) -> str:
        """Return the instrument's name."""
        return self.data().name

    @cache_translation
    def to_telescope(self) -> str | None:  # type: ignore[override]  # a stand has none
        """Return the telescope's name."""
        return self.data().telescope

    @cache_translation
    def to_observation_id(self) -> str:
        """Return OBSID."""
        return self.text("OBSID")

    @cache_translation
    def to_exposure_id(self) -> int | None:  # type: ignore[override]  # may be none
        """Return the exposure's number; a combined calibration is no exposure."""
        if "CALIB_ID" in self._header:
            self._used_these_cards("CALIB_ID")
            return None
        return exposure_id(
            parse_day_obs(self.card("DAYOBS")), int(self.card("SEQNUM")), self.controller
        )

    @cache_translation
    def to_exposure_group(self) -> str | None:
        """Return GROUPID, or the exposure id as text; None for what is no exposure."""
        try:
            return self.text("GROUPID")
        except MissingCardsError:
            number = self.to_exposure_id()
            return None if number is None else str(number)

    @cache_translation
    def to_visit_id(self) -> int | None:  # type: ignore[override]  # may be none
        """Return the number of the visit that the group makes."""
        group = self.to_exposure_group()
        return None if group is None else visit_id(group)

    @cache_translation
    def to_observing_day(self) -> int | None:
        """Return DAYOBS, or the day of the begin."""
        try:
            return parse_day_obs(self.card("DAYOBS"))
        except MissingCardsError:
            return super().to_observing_day()

    @cache_translation
    def to_observation_counter(self) -> int:
        """Return SEQNUM, 0 where it is not known."""
        return int(self.card_or(0, "SEQNUM"))

    @cache_translation
    def to_group_counter_start(self) -> int:
        """Return the sequence number of the first exposure of the group."""
        if not self.defined("CURINDEX"):
            return self._lone_counter()
        return self.to_observation_counter() - int(self.card("CURINDEX")) + 1

    @cache_translation
    def to_group_counter_end(self) -> int:
        """Return the sequence number of the last exposure of the group."""
        if not (self.defined("CURINDEX") and self.defined("MAXINDEX")):
            return self._lone_counter()
        remaining = int(self.card("MAXINDEX")) - int(self.card("CURINDEX"))
        return self.to_observation_counter() + remaining

    def _lone_counter(self) -> int:
        """Return the counter; where it is 0, which exposures may share, the exposure id."""
        return self.to_observation_counter() or self.to_exposure_id() or 0

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Return whether a simulation flag is set or the controller is a simulated one."""
        for keyword, value in self._header.items():
            if "SIMULATE" in keyword and self.is_key_ok(keyword) and value:
                self._used_these_cards(keyword)
                return True
        return self.controller in SIMULATED_CONTROLLERS

    # When.

    @cache_translation
    def to_datetime_begin(self) -> Time:
        """Return the begin, TAI whatever TIMESYS says; the MJD has the more digits."""
        for keyword in ("MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS"):
            if self.defined(keyword):
                value = self.card(keyword)
                if keyword.startswith("MJD"):
                    return Time(float(value), format="mjd", scale="tai")
                return Time(str(value), format="fits", scale="tai")
        raise MissingCardsError("MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS")

    @cache_translation
    def to_datetime_end(self) -> Time:
        """Return DATE-END in the scale of TIMESYS, or the begin and the exposure time."""
        if self.defined("DATE-END"):
            scale = str(self.card_or("utc", "TIMESYS")).lower()
            return Time(str(self.card("DATE-END")), format="fits", scale=scale)
        begin, duration = self.to_datetime_begin(), self.to_exposure_time()
        return begin if duration.value < 0 else begin + duration

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """Return EXPTIME."""
        return self.number("EXPTIME") * u.s

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """Return how long the shutter was open, or what was asked for where it stayed shut."""
        open_s = float(self.card_or(0.0, "SHUTTIME"))
        return open_s * u.s if open_s > 0 else self.to_exposure_time_requested()

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """Return DARKTIME, or the exposure time."""
        try:
            return self.number("DARKTIME") * u.s
        except MissingCardsError:
            _log.info("%s: no DARKTIME, the exposure time is used", self._log_prefix)
            return self.to_exposure_time()

    @classmethod
    def observing_date_to_offset(cls, observing_date: Time) -> TimeDelta:  # noqa: ARG003 - astro-metadata-translator's signature
        """Return by how much an observing day begins after midnight TAI."""
        return TimeDelta(cls.rollover_hours * 3600, format="sec", scale="tai")

    # What.

    @cache_translation
    def to_observation_type(self) -> str:
        """Return IMGTYPE in lower case; an object is a science observation."""
        kind = self.text("IMGTYPE").lower()
        return "science" if kind in _SCIENCE_NAMES else kind

    @cache_translation
    def to_observation_reason(self) -> str:
        """Return REASON or TESTTYPE in lower case."""
        try:
            return self.text("REASON", "TESTTYPE").lower()
        except MissingCardsError:
            return super().to_observation_reason()

    @cache_translation
    def to_science_program(self) -> str:
        """Return PROGRAM or RUNNUM."""
        return str(self.card_or("unknown", "PROGRAM", "RUNNUM"))

    @cache_translation
    def to_object(self) -> str:
        """Return OBJECT."""
        return str(self.card_or("UNKNOWN", "OBJECT"))

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return the filters in the beam, without those that are empty at the end."""
        names = [
            str(self.card(keyword)).replace("NONE", "none")
            for keyword in ("FILTER", "FILTER1", "FILTER2")
            if self.defined(keyword)
        ]
        while len(names) > 1 and names[-1] == "empty":
            names.pop()
        return FILTER_DELIMITER.join(names) or "unknown"

    # Which detector.

    @cache_translation
    def to_detector_group(self) -> str:
        """Return the raft."""
        return self.text("RAFTBAY")

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the sensor in the raft."""
        return self.text("CCDSLOT")

    @cache_translation
    def to_detector_serial(self) -> str:
        """Return LSST_NUM."""
        return self.text("LSST_NUM")

    @cache_translation
    def to_detector_num(self) -> int:
        """Return the detector number."""
        name = f"{self.to_detector_group()}_{self.to_detector_name()}"
        return detector_by_name(self.data_name, name).id

    @cache_translation
    def to_detector_exposure_id(self) -> int | None:
        """Return the packed number of the detector image."""
        exposure = self.to_exposure_id()
        return None if exposure is None else detector_exposure_id(exposure, self.to_detector_num())

    # Conditions.

    @cache_translation
    def to_focus_z(self) -> u.Quantity:
        """Return FOCUSZ."""
        return float(self.card_or(0.0, "FOCUSZ")) * u.mm

    @cache_translation
    def to_relative_humidity(self) -> float | None:  # type: ignore[override]  # may be unknown
        """Return HUMIDITY, percent."""
        return self._number_or_none("HUMIDITY")

    @cache_translation
    def to_temperature(self) -> u.Quantity | None:
        """Return AIRTEMP, degrees Celsius."""
        value = self._number_or_none("AIRTEMP")
        return None if value is None else value * u.deg_C

    @cache_translation
    def to_pressure(self) -> u.Quantity | None:
        """Return PRESSURE, which was written in Pa and in hPa."""
        value = self._number_or_none("PRESSURE")
        if value is None:
            return None
        return value * (u.Pa if value > _LARGEST_HPA else u.hPa)

    def _number_or_none(self, keyword: str) -> float | None:
        value: Any = self.card_or(None, keyword)
        return None if value is None else float(value)


_LARGEST_HPA = 10_000
"""Ten times the pressure at sea level; above it the unit must be Pa."""
