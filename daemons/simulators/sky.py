"""Where the telescope points: sky coordinates and mount angles, consistent with each other.

The chain is ICRS → apparent place of date (aberration to first order, precession,
nutation) → hour angle → azimuth and elevation. Refraction, polar motion, diurnal
aberration and light deflection are left out, and UT1 is taken as UTC (they differ
by less than 0.9 s, 14 arcsec, by definition, and by less than 0.2 s since 2018).
Against a full reduction without refraction the error stays below half an arcmin.

Angles are in degrees, hour angles in hours, arrays broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import erfa
import numpy as np
import numpy.typing as npt

from daemons.runtime.clock import TaiSeconds, tai_to_utc

Array = npt.NDArray[np.float64]

_UNIX_JD = 2440587.5
"""Julian date of 1970-01-01."""
_TT_MINUS_TAI_S = 32.184
_DAY_S = 86_400.0
_SIDEREAL_RATE = 1.00273781191135448
"""Turns of the Earth per day of UT1 (IAU 2000)."""
_LIGHT_AU_PER_DAY = 173.1446326742403
_PRECESSION_DEG_PER_DAY = 360.0 * (1.00273790935079524 - _SIDEREAL_RATE)
"""Drift of the equinox of date against the Earth rotation angle: 3.5e-5 degrees a day."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a telescope stands."""

    longitude_deg: float
    """East positive."""
    latitude_deg: float
    height_m: float


SIMONYI = Site(longitude_deg=-70.749417, latitude_deg=-30.244639, height_m=2663.0)
"""The Simonyi Survey Telescope on Cerro Pachón."""


@dataclass(frozen=True, slots=True)
class Horizontal:
    """A direction as the mount sees it; every member has the same shape."""

    azimuth_deg: Array
    """From north through east, -180 to 180."""
    elevation_deg: Array
    hour_angle_h: Array
    """Apparent sidereal time minus apparent right ascension, -12 to 12."""
    parallactic_deg: Array
    """Position angle of the zenith, from north through east."""


def wrap_180(degrees: Array | float) -> Array:
    """Bring angles to -180 (included) to 180 degrees."""
    return np.asarray((np.asarray(degrees) + 180.0) % 360.0 - 180.0, dtype=np.float64)


def airmass(elevation_deg: Array | float) -> Array:
    """Return the airmass at a true elevation (Hardie 1962), good down to 10 degrees."""
    excess = 1.0 / np.sin(np.radians(elevation_deg)) - 1.0
    return np.asarray(
        1.0 + excess * (1 - 0.0018167 - excess * (0.002875 + 0.0008083 * excess)), dtype=np.float64
    )


def sky_angle(parallactic_deg: Array | float, rotator_deg: Array | float) -> Array:
    """Return the position angle of the camera on the sky, 0 to 360 (Rubin's convention)."""
    return np.asarray((np.asarray(parallactic_deg) - rotator_deg - 90.0) % 360.0, dtype=np.float64)


def rotator_angle(parallactic_deg: Array | float, sky_angle_deg: Array | float) -> Array:
    """Return the rotator angle that gives a position angle on the sky, -180 to 180."""
    return wrap_180(np.asarray(parallactic_deg) - sky_angle_deg - 90.0)


def separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Return the angle between two directions."""
    dot = float(np.dot(_direction(ra1, dec1), _direction(ra2, dec2)))
    return float(np.degrees(np.arccos(np.clip(dot, -1.0, 1.0))))


class Sky:
    """The sky over a site during one night.

    Precession, nutation and the Earth's velocity are taken at one instant; over a
    day they change by less than a tenth of an arcsecond but for the aberration,
    which changes by 0.4 arcsec.

    Parameters
    ----------
    epoch
        An instant of the night.
    site
        Where the telescope stands.
    """

    def __init__(self, epoch: TaiSeconds, site: Site = SIMONYI) -> None:
        self.site = site
        self._epoch = epoch
        tt_day = (epoch + _TT_MINUS_TAI_S) / _DAY_S
        ut1_day = tai_to_utc(epoch) / _DAY_S
        self._to_date: Array = np.asarray(erfa.pnm06a(_UNIX_JD, tt_day))
        _, barycentric = erfa.epv00(_UNIX_JD, tt_day)
        self._velocity: Array = np.asarray(barycentric["v"]) / _LIGHT_AU_PER_DAY
        greenwich = float(erfa.gst06a(_UNIX_JD, ut1_day, _UNIX_JD, tt_day))
        self._sidereal_deg = float(np.degrees(greenwich)) + site.longitude_deg
        self._latitude = float(np.radians(site.latitude_deg))

    def sidereal_deg(self, tai: Array | float) -> Array:
        """Return the local apparent sidereal time, 0 to 360."""
        days = (np.asarray(tai, dtype=np.float64) - self._epoch) / _DAY_S
        turned = days * (360.0 * _SIDEREAL_RATE + _PRECESSION_DEG_PER_DAY)
        return np.asarray((self._sidereal_deg + turned) % 360.0)

    def apparent(self, ra_deg: Array | float, dec_deg: Array | float) -> tuple[Array, Array]:
        """Return right ascension and declination of date of an ICRS direction."""
        return _angles(_unit(_direction(ra_deg, dec_deg) + self._velocity) @ self._to_date.T)

    def icrs(self, ra_deg: Array | float, dec_deg: Array | float) -> tuple[Array, Array]:
        """Return the ICRS direction of an apparent place: the inverse of `apparent`."""
        return _angles(_unit(_direction(ra_deg, dec_deg) @ self._to_date - self._velocity))

    def horizontal(
        self, ra_deg: Array | float, dec_deg: Array | float, tai: Array | float
    ) -> Horizontal:
        """Return where the mount sees an ICRS direction."""
        ra, dec = self.apparent(ra_deg, dec_deg)
        hour_angle = wrap_180(self.sidereal_deg(tai) - ra)
        h, d = np.radians(hour_angle), np.radians(dec)
        sin_lat, cos_lat = np.sin(self._latitude), np.cos(self._latitude)
        north = np.sin(d) * cos_lat - np.cos(d) * np.cos(h) * sin_lat
        east = -np.cos(d) * np.sin(h)
        up = np.sin(d) * sin_lat + np.cos(d) * np.cos(h) * cos_lat
        parallactic = np.arctan2(
            np.sin(h) * cos_lat, np.cos(d) * sin_lat - np.sin(d) * cos_lat * np.cos(h)
        )
        return Horizontal(
            azimuth_deg=np.degrees(np.arctan2(east, north)),
            elevation_deg=np.degrees(np.arctan2(up, np.hypot(north, east))),
            hour_angle_h=hour_angle / 15.0,
            parallactic_deg=np.degrees(parallactic),
        )

    def equatorial(
        self, azimuth_deg: Array | float, elevation_deg: Array | float, tai: Array | float
    ) -> tuple[Array, Array]:
        """Return the ICRS direction that the mount points at."""
        azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
        sin_lat, cos_lat = np.sin(self._latitude), np.cos(self._latitude)
        north, up = np.cos(elevation) * np.cos(azimuth), np.sin(elevation)
        west = -np.cos(elevation) * np.sin(azimuth)
        meridian = up * cos_lat - north * sin_lat
        hour_angle = np.degrees(np.arctan2(west, meridian))
        dec = np.degrees(np.arctan2(up * sin_lat + north * cos_lat, np.hypot(west, meridian)))
        return self.icrs(self.sidereal_deg(tai) - hour_angle, dec)


def _direction(ra_deg: Array | float, dec_deg: Array | float) -> Array:
    ra, dec = np.radians(np.asarray(ra_deg)), np.radians(np.asarray(dec_deg))
    ra, dec = np.broadcast_arrays(ra, dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))


def _angles(vector: Array) -> tuple[Array, Array]:
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
