"""Where the telescope stood and looked, and whether it saw the sky."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import cache_translation
from astro_metadata_translator.translators.helpers import (
    altaz_from_degree_headers,
    tracking_from_degree_headers,
)
from astropy.coordinates import ICRS, AltAz, Angle, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from erfa import ErfaWarning

from translators.cardtranslator import MissingCardsError
from translators.lsst.exposure import ExposureTranslator

_MIN_ELEVATION_DEG = -5.55
_MAX_ELEVATION_DEG = 95.55
"""How far the mount can go; beyond is a fault of the encoder."""

_RADEC_PAIRS = (("RASTART", "DECSTART"), ("RA", "DEC"))
_TAI_MINUS_UTC_DAYS = 37 / 86_400
"""Since 2017; enough to compare with the day on which an instrument was mounted."""

PHOSIM_CONTROLLER = "H"
"""Images made by a simulation of the sky; they count as taken at the telescope."""


def horizontal(radec: SkyCoord, when: Time, location: EarthLocation | None) -> AltAz:
    """Return where above the horizon a place of the sky was.

    A simulated night may lie beyond the tables of the Earth's rotation and of leap
    seconds; the little that this shifts the place is no matter for a warning.
    """
    with warnings.catch_warnings():
        for category in (AstropyWarning, ErfaWarning):
            warnings.simplefilter("ignore", category=category)
        return radec.transform_to(AltAz(obstime=when, location=location))


class LsstTranslator(ExposureTranslator):
    """Everything that the LSST cameras' headers have in common."""

    mounted_since_mjd: ClassVar[float | None] = None
    """From when on the instrument is at its telescope, MJD UTC; None: always."""
    site: ClassVar[EarthLocation]
    """Where the telescope stands; for headers that do not say."""
    type_tells_sky: ClassVar[bool] = True
    """Whether the observation type tells if the sky can be seen where nothing else does."""

    @property
    def on_mountain(self) -> bool:
        """True when the instrument was at its telescope."""
        if self.mounted_since_mjd is None or self.controller == PHOSIM_CONTROLLER:
            return True
        begin: float = self.to_datetime_begin().tai.mjd
        return begin - _TAI_MINUS_UTC_DAYS > self.mounted_since_mjd

    @property
    def on_sky(self) -> bool:
        """True when the exposure was taken at the telescope, and is no calibration."""
        if str(self.card_or("", "TRACKSYS")).lower() == "local":
            return False
        return (
            self.to_observation_type() not in self._non_sky_observation_types and self.on_mountain
        )

    @property
    def _may_default(self) -> bool:
        """True when a science header may lack what a science exposure on the sky needs."""
        return self.to_observation_type() != "science" or not self.on_mountain

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        """Return OBSGEO-X, -Y, -Z or the site; None away from the telescope."""
        if not self.on_mountain:
            return None
        if all(self.defined(f"OBSGEO-{axis}") for axis in "XYZ"):
            return EarthLocation.from_geocentric(
                *(self.number(f"OBSGEO-{axis}") for axis in "XYZ"), unit=u.m
            )
        return self.site

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return where the telescope pointed at the begin; None away from the telescope."""
        if not self.on_mountain:
            return None
        present = self.are_keys_ok(["ELSTART", "AZSTART"])
        if self.controller == PHOSIM_CONTROLLER and not present:
            return None
        return self._altaz("ELSTART", "AZSTART", self.to_datetime_begin())

    @cache_translation
    def to_altaz_end(self) -> AltAz | None:
        """Return where the telescope pointed at the end; None away from the telescope."""
        if not self.on_mountain or not self.are_keys_ok(["ELEND", "AZEND"]):
            return None
        return self._altaz("ELEND", "AZEND", self.to_datetime_end())

    def _altaz(self, altitude: str, azimuth: str, when: Any) -> AltAz | None:
        return altaz_from_degree_headers(
            self,
            ((altitude, azimuth),),
            when,
            min_alt=_MIN_ELEVATION_DEG,
            max_alt=_MAX_ELEVATION_DEG,
        )

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Return what was tracked; None for a calibration, or where no sky position was tracked.

        A dark may be taken while tracking, to test how steady the telescope is.
        """
        calibrations = set(self._non_sky_observation_types) - {"dark"}
        if self.to_observation_type() in calibrations:
            return None
        if self.is_key_ok("TRACKSYS") and self._header["TRACKSYS"] != "RADEC":
            return None
        try:
            return self._tracked()
        except (KeyError, ValueError, AttributeError, TypeError):
            if self.on_sky:
                raise
            return None

    def _tracked(self) -> SkyCoord | None:
        begun = self.card_or(None, "DATE-OBS")
        if begun is not None and begun == self.card_or(None, "DATE"):
            # The begin was not known and was set to the time of writing; RA and DEC were
            # worked out for another time then, and only the mount's own position is true.
            altaz = self.to_altaz_begin()
            if altaz is None:
                raise MissingCardsError("ELSTART", "AZSTART")
            return SkyCoord(
                altaz.transform_to(ICRS()), obstime=altaz.obstime, location=altaz.location
            )
        return tracking_from_degree_headers(self, ("RADESYS",), _RADEC_PAIRS)

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """Return ROTPA; 0 where it is absent and not needed."""
        if not (self.defined("ROTPA") or self.defined("ROTANGLE")) and self._may_default:
            return Angle(self._default_rotation_deg * u.deg)
        return Angle(self.number("ROTPA", "ROTANGLE") * u.deg)

    _default_rotation_deg: ClassVar[float] = 0.0

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """Return ROTCOORD for an exposure of the sky."""
        return str(self.card_or("unknown", "ROTCOORD")) if self.on_sky else "unknown"

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """Return AMSTART, or the airmass at the telescope's position; None off the sky."""
        if not self.on_sky:
            return None
        if self.defined("AMSTART"):
            return self.number("AMSTART")
        altaz = self.to_altaz_begin()
        return 1.0 if altaz is None else float(altaz.secz.to_value())

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Return whether light of the sky could reach the detector; None: not known."""
        if self.defined("SHUTTIME") and self.number("SHUTTIME") == 0:
            return False
        if self.defined("VIGN_MIN"):
            seen: dict[str, bool | None] = {"FULLY": False, "UNKNOWN": None}
            return seen.get(str(self.card("VIGN_MIN")).upper(), True)
        if self.type_tells_sky or self.controller == PHOSIM_CONTROLLER:
            by_type: bool | None = super().to_can_see_sky()
            return by_type
        return None
