"""The cameras of the Simonyi Survey Telescope: LSSTCam, LSSTComCam and their simulations."""

from __future__ import annotations

from typing import ClassVar

from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, EarthLocation
from astropy.time import Time, TimeDelta

from translators.lsst.pacific import pacific_offset_hours
from translators.lsst.pointing import LsstTranslator, horizontal

SIMONYI = EarthLocation.from_geodetic(lon=-70.749417, lat=-30.244639, height=2663.0)
"""Where the Simonyi Survey Telescope stands."""


class LsstCamTranslator(LsstTranslator):
    """LSSTCam, in the laboratory and on the telescope."""

    name = "LSSTCam"
    data_name = "LSSTCam"
    supported_instrument = "LSSTCam"

    site = SIMONYI
    mounted_since_mjd: ClassVar[float | None] = 60735.0
    """2025-03-01."""
    shipped_month: ClassVar[int | None] = 202405
    """From this month on the observing day is that of the summit; before, it followed
    the clock of the laboratory in California. None: always that of the summit."""
    type_tells_sky = False

    @classmethod
    def observing_date_to_offset(cls, observing_date: Time) -> TimeDelta:
        """Return by how much an observing day begins after midnight TAI."""
        if cls.shipped_month is None or int(observing_date.strftime("%Y%m")) >= cls.shipped_month:
            return super().observing_date_to_offset(observing_date)
        hours = pacific_offset_hours(observing_date.utc.to_datetime())
        return TimeDelta(hours * 3600, format="sec", scale="tai")

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        """Return whether light of the sky could reach the detector; never in a laboratory."""
        return super().to_can_see_sky() if self.on_mountain else False


class LsstComCamTranslator(LsstCamTranslator):
    """The commissioning camera."""

    name = "LSSTComCam"
    data_name = "LSSTComCam"
    supported_instrument = "LSSTComCam"

    mounted_since_mjd = 60546.0
    """2024-08-24."""
    shipped_month = 202003


class LsstCamSimTranslator(LsstCamTranslator):
    """Simulated images of LSSTCam."""

    name = "LSSTCamSim"
    data_name = "LSSTCamSim"
    supported_instrument = "LSSTCamSim"

    mounted_since_mjd = None
    shipped_month = None
    type_tells_sky = True

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return where the telescope pointed; worked out from the target where no card says."""
        if self.are_keys_ok(["ELSTART", "AZSTART"]):
            return super().to_altaz_begin()
        radec = self.to_tracking_radec()
        if radec is None:
            return None
        return horizontal(radec, self.to_datetime_begin(), self.to_location())


class LsstComCamSimTranslator(LsstCamSimTranslator):
    """Simulated images of the commissioning camera."""

    name = "LSSTComCamSim"
    data_name = "LSSTComCamSim"
    supported_instrument = "LSSTComCamSim"
