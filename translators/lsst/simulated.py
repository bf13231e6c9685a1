"""Images of LSSTCam by two simulations of the sky, each with keywords of its own."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import astropy.units as u
import erfa
from astro_metadata_translator import cache_translation
from astro_metadata_translator.translators.helpers import (
    altaz_from_degree_headers,
    tracking_from_degree_headers,
)
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord
from astropy.units import cds

from translators.lsst.ids import concatenated_detector_exposure_id
from translators.lsst.pointing import LsstTranslator, horizontal
from translators.lsst.simonyi import SIMONYI

_RIGHT_ANGLE = Angle(90.0 * u.deg)
_PERCENT = 40.0
"""Humidity that the simulations assume."""


class SkySimulationTranslator(LsstTranslator):
    """What the headers of both simulations have in common."""

    site = SIMONYI
    rollover_hours = 0.0

    @cache_translation
    def to_exposure_id(self) -> int:
        """Return OBSID, which is a number."""
        return int(self.card("OBSID"))

    @cache_translation
    def to_visit_id(self) -> int:
        """Return the exposure id: every exposure is a visit."""
        return self.to_exposure_id()

    @cache_translation
    def to_exposure_group(self) -> str:
        """Return the exposure id as text."""
        return str(self.to_exposure_id())

    @cache_translation
    def to_observation_counter(self) -> int:
        """Return 0: the simulations do not count."""
        return 0

    @cache_translation
    def to_group_counter_start(self) -> int:
        """Return the exposure id."""
        return self.to_exposure_id()

    @cache_translation
    def to_group_counter_end(self) -> int:
        """Return the exposure id."""
        return self.to_exposure_id()

    @cache_translation
    def to_has_simulated_content(self) -> bool:
        """Return that it has."""
        return True

    @cache_translation
    def to_science_program(self) -> str:
        """Return RUNNUM."""
        return str(self.card_or("unknown", "RUNNUM"))

    @cache_translation
    def to_object(self) -> str:
        """Return that it is not known."""
        return "UNKNOWN"

    @cache_translation
    def to_relative_humidity(self) -> float:
        """Return what the simulations assume, percent."""
        return _PERCENT

    @cache_translation
    def to_detector_group(self) -> str:
        """Return the raft, R22."""
        return self.text("RAFTNAME")

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the sensor in the raft, S11."""
        return self.text("SENSNAME")

    @cache_translation
    def to_detector_exposure_id(self) -> int:
        """Return the exposure id with three digits for the detector."""
        return concatenated_detector_exposure_id(self.to_exposure_id(), self.to_detector_num())

    @cache_translation
    def to_location(self) -> EarthLocation:
        """Return the site that is simulated."""
        return self.site

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return where the telescope pointed, worked out from the target; science only."""
        if self.to_observation_type() != "science":
            return None
        radec = self.to_tracking_radec()
        if radec is None:
            return None
        return horizontal(radec, self.to_datetime_begin(), self.to_location())

    @cache_translation
    def to_altaz_end(self) -> AltAz | None:
        """Return nothing: no card says."""
        return None

    @cache_translation
    def to_boresight_rotation_coord(self) -> str:
        """Return the sky."""
        return "sky"

    @cache_translation
    def to_boresight_airmass(self) -> float | None:
        """Return AIRMASS or AMSTART, or the airmass at the telescope's position."""
        if self.defined("AIRMASS") or self.defined("AMSTART"):
            return self.number("AIRMASS", "AMSTART")
        altaz = self.to_altaz_begin()
        return None if altaz is None else float(altaz.secz.to_value())

    def rotation(self, *keywords: str) -> Angle:
        """Return the angle of the sky to the camera, which the simulations count the other way."""
        return (_RIGHT_ANGLE - Angle(self.number(*keywords) * u.deg)).wrap_at("360d")


class LsstCamImSimTranslator(SkySimulationTranslator):
    """imSim."""

    name = "LSSTCam-imSim"
    data_name = "LSSTCam-imSim"
    supported_instrument = "LSSTCam-imSim"

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Return RATEL and DECTEL."""
        return tracking_from_degree_headers(self, ("RADESYS",), (("RATEL", "DECTEL"),))

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return where the telescope pointed, by HASTART where it is there; science only."""
        if self.to_observation_type() != "science" or not self.are_keys_ok(["HASTART", "DECTEL"]):
            return super().to_altaz_begin()
        hour_angle = Angle(self.number("HASTART") * u.deg)
        declination = Angle(self.number("DECTEL") * u.deg)
        location = self.to_location()
        azimuth, altitude = erfa.hd2ae(hour_angle.radian, declination.radian, location.lat.radian)
        return AltAz(
            azimuth * u.rad, altitude * u.rad, obstime=self.to_datetime_begin(), location=location
        )

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle:
        """Return it from ROTANGLE."""
        return self.rotation("ROTANGLE")

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return the filter and the version of the throughputs, such as `r_sim_1.4`."""
        name = self.text("FILTER")
        for keyword, value in self._header.items():
            if keyword.startswith("PKG") and value == "throughputs":
                version = keyword.replace("PKG", "VER", 1)
                if self.defined(version):
                    return f"{name}_sim_{self.text(version).strip()}"
        return name

    @cache_translation
    def to_temperature(self) -> None:
        """Return nothing."""

    @cache_translation
    def to_pressure(self) -> None:
        """Return nothing."""


class LsstCamPhoSimTranslator(SkySimulationTranslator):
    """PhoSim; its keywords are spread over the first two headers of a file."""

    name = "LSSTCam-PhoSim"
    data_name = "LSSTCam-PhoSim"
    supported_instrument = "LSSTCam-PhoSim"

    @classmethod
    def determine_translatable_headers(
        cls,
        filename: Any,
        primary: MutableMapping[str, Any] | None = None,  # noqa: ARG003 - read with the second
    ) -> Iterator[MutableMapping[str, Any]]:
        """Yield the first two headers of a file as one."""
        yield from super().determine_translatable_headers(filename)

    @cache_translation
    def to_observation_type(self) -> str:
        """Return that it is science: PhoSim simulates the sky."""
        return "science"

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Return where the telescope, or the boresight, pointed."""
        pairs = (("RATEL", "DECTEL"), ("RA_DEG", "DEC_DEG"), ("BORE-RA", "BORE-DEC"))
        return tracking_from_degree_headers(self, ("RADESYS",), pairs)

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return ZENITH and AZIMUTH, or what follows from the target."""
        if not self.are_keys_ok(["ZENITH", "AZIMUTH"]):
            return super().to_altaz_begin()
        return altaz_from_degree_headers(
            self, (("ZENITH", "AZIMUTH"),), self.to_datetime_begin(), is_zd={"ZENITH"}
        )

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle:
        """Return it from ROTANGZ or ROTANGLE."""
        return self.rotation("ROTANGZ", "ROTANGLE")

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return FILTER."""
        return self.text("FILTER")

    @cache_translation
    def to_temperature(self) -> u.Quantity | None:
        """Return TEMPERA, degrees Celsius."""
        return self._quantity_or_none("TEMPERA", u.deg_C)

    @cache_translation
    def to_pressure(self) -> u.Quantity | None:
        """Return PRESS, millimetres of mercury."""
        return self._quantity_or_none("PRESS", cds.mmHg)

    def _quantity_or_none(self, keyword: str, unit: u.UnitBase) -> u.Quantity | None:
        return self.number(keyword) * unit if self.defined(keyword) else None
