"""LATISS, the spectrograph of the Rubin Auxiliary Telescope."""

from __future__ import annotations

import logging
import math

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, EarthLocation

from translators.cardtranslator import MissingCardsError
from translators.focalplane import FILTER_DELIMITER
from translators.lsst.pointing import LsstTranslator

_log = logging.getLogger(__name__)

_GROUP_IS_GROUP_SINCE_MJD = 58794.0
"""2019-11-07; before, GROUPID held the observation type."""


class LatissTranslator(LsstTranslator):
    """LATISS: one sensor, two wheels, headers that have changed much since 2018."""

    name = "LSST_LATISS"
    data_name = "LATISS"
    supported_instrument = "LATISS"

    site = EarthLocation.from_geodetic(lon=-70.747698, lat=-30.244728, height=2663.0)
    mounted_since_mjd = 58849.0
    """2020-01-01."""
    _default_rotation_deg = math.nan

    @cache_translation
    def to_observation_id(self) -> str | None:  # type: ignore[override]  # a lab header may lack it
        """Return OBSID, or IMGNAME of very old headers."""
        try:
            return self.text("OBSID", "IMGNAME")
        except MissingCardsError:
            if self.to_observation_type() == "science":
                raise
            return None

    @cache_translation
    def to_detector_group(self) -> str:
        """Return the name of the raft that is none."""
        return "RXX"

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the name of the only sensor."""
        return "S00"

    @cache_translation
    def to_detector_serial(self) -> str:
        """Return LSST_NUM, or DETSER of old headers."""
        return self.text("LSST_NUM", "DETSER")

    @cache_translation
    def to_exposure_time(self) -> u.Quantity:
        """Return EXPTIME; -1 s where no card says."""
        return float(self.card_or(-1.0, "EXPTIME")) * u.s

    @cache_translation
    def to_exposure_time_requested(self) -> u.Quantity:
        """Return the exposure time."""
        return self.to_exposure_time()

    @cache_translation
    def to_dark_time(self) -> u.Quantity:
        """Return DARKTIME unless it is shorter than the exposure, which cannot be."""
        exposed = self.to_exposure_time()
        return max(float(self.card_or(-1.0, "DARKTIME")) * u.s, exposed)

    @cache_translation
    def to_observation_type(self) -> str:
        """Return OBSTYPE or IMGTYPE; an object in the laboratory is no science."""
        try:
            kind = self.text("OBSTYPE", "IMGTYPE").lower()
        except MissingCardsError:
            if (grouped := self._type_in_group) is not None:
                return grouped
            guess = "bias" if self.to_exposure_time().value == 0 else "unknown"
            _log.info("no OBSTYPE or IMGTYPE, taken as %s", guess)
            return guess
        if kind == "object" and not self.on_mountain:
            return "labobject"
        return "science" if kind in {"object", "skyexp"} else kind

    @property
    def _type_in_group(self) -> str | None:
        """The observation type where it was written to GROUPID, as it was in 2019."""
        group = str(self.card_or("", "GROUPID"))
        if not group or group.startswith("test") or not self._group_was_type:
            return None
        kind = group.partition("_")[0].lower()
        if kind.startswith("focus"):
            return "focus"
        return "engtest" if kind == "object" else kind

    @property
    def _group_was_type(self) -> bool:
        begin: float = self.to_datetime_begin().tai.mjd
        return begin < _GROUP_IS_GROUP_SINCE_MJD

    @cache_translation
    def to_exposure_group(self) -> str | None:
        """Return GROUPID, unless it is nothing but the observation type."""
        group = str(self.card_or("", "GROUPID"))
        numbered = "_" in group or (group.upper().startswith("FOCUS") and group.upper() != "FOCUS")
        only_type = not numbered and not group.startswith("test")
        if group and only_type and self._group_was_type:
            image_type = self.card_or(None, "IMGTYPE")
            if image_type is None or image_type == group:
                return str(self.to_exposure_id())
        return super().to_exposure_group()

    @cache_translation
    def to_science_program(self) -> str:
        """Return PROGRAM."""
        return str(self.card_or("unknown", "PROGRAM"))

    @cache_translation
    def to_object(self) -> str:
        """Return OBJECT, which a science exposure at the telescope must have."""
        if not self.defined("OBJECT") and self._may_default:
            return "UNKNOWN"
        return self.text("OBJECT")

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return filter and grating; an empty place has no number."""
        return FILTER_DELIMITER.join(self._in_wheel(wheel) for wheel in ("FILTER", "GRATING"))

    def _in_wheel(self, keyword: str) -> str:
        if not self.is_key_ok(keyword):
            return "unknown"
        name = str(self._header[keyword])
        self._used_these_cards(keyword)
        return "empty" if not name or name.lower().startswith("empty") else name

    @cache_translation
    def to_altaz_end(self) -> AltAz | None:
        """Return where the telescope pointed at the end; some headers misspelt these cards."""
        return None if "AELEND" in self._header else super().to_altaz_end()
