"""Where a direction of the sky stands over a site: plain formulae, no network, no tables.

ICRS → aberration, precession and nutation (ERFA's IAU 2000B, 2006) → hour angle →
elevation and azimuth → refraction. UT1 is taken as UTC (at most 0.9 s apart, 14 arcsec,
and less than 0.2 s, 3 arcsec, since 2018); polar motion, diurnal aberration and
light deflection are left out (together less than 1 arcsec away from the Sun). With
the true UT1 the result agrees with astropy's full reduction within 1 arcsec above
15 degrees of elevation.

Times are MJD TAI, angles degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import erfa
import numpy as np
import numpy.typing as npt

from translators.checks.policy_file import Site

_MJD_ZERO = 2_400_000.5
_DAY_S = 86_400.0
_TT_MINUS_TAI_S = 32.184
_TAI_MINUS_UTC_S = 37.0
"""Since 2017; before, the error is 15 arcsec for each leap second that was still to come."""
_LIGHT_AU_PER_DAY = 173.144_632_684_740_3
_WAVELENGTH_UM = 0.55
_EQUATOR_M = 6_378_137.0
_FLATTENING = 1 / 298.257_223_563
"""WGS84."""


@dataclass(frozen=True, slots=True)
class Direction:
    """Where something stands, without refraction."""

    azimuth_deg: float
    """From north through east, 0 to 360."""
    elevation_deg: float
    hour_angle_h: float
    """Apparent, -12 to 12."""


@dataclass(frozen=True, slots=True)
class _Epoch:
    """What is the same for all directions at an instant."""

    matrix: npt.NDArray[np.float64]
    """ICRS to true equator and equinox of date."""
    velocity: npt.NDArray[np.float64]
    """Of the Earth, in units of the speed of light."""
    greenwich_deg: float
    """Apparent sidereal time."""


@lru_cache(maxsize=256)
def _epoch(mjd_tai: float) -> _Epoch:
    tt = mjd_tai + _TT_MINUS_TAI_S / _DAY_S
    ut1 = mjd_tai - _TAI_MINUS_UTC_S / _DAY_S
    _, barycentric = erfa.epv00(_MJD_ZERO, tt)
    return _Epoch(
        matrix=np.asarray(erfa.pnm00b(_MJD_ZERO, tt)),
        velocity=np.asarray(barycentric["v"]) / _LIGHT_AU_PER_DAY,
        greenwich_deg=math.degrees(float(erfa.gst00b(_MJD_ZERO, ut1))),
    )


@lru_cache(maxsize=1024)
def direction(ra_deg: float, dec_deg: float, mjd_tai: float, site: Site) -> Direction:
    """Return where an ICRS direction stands.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS; FK5 differs by less than 0.1 arcsec.
    mjd_tai
        When, between 1900 and 2100.
    site
        Where.
    """
    epoch = _epoch(mjd_tai)
    vector = _unit(ra_deg, dec_deg) + epoch.velocity
    x, y, z = epoch.matrix @ (vector / np.linalg.norm(vector))
    hour_angle = math.radians(epoch.greenwich_deg + site.longitude_deg) - math.atan2(y, x)
    latitude = math.radians(site.latitude_deg)
    sin_lat, cos_lat, cos_dec = math.sin(latitude), math.cos(latitude), math.hypot(x, y)
    north = z * cos_lat - cos_dec * math.cos(hour_angle) * sin_lat
    east = -cos_dec * math.sin(hour_angle)
    up = z * sin_lat + cos_dec * math.cos(hour_angle) * cos_lat
    return Direction(
        azimuth_deg=math.degrees(math.atan2(east, north)) % 360.0,
        elevation_deg=math.degrees(math.atan2(up, math.hypot(north, east))),
        hour_angle_h=((math.degrees(hour_angle) + 180.0) % 360.0 - 180.0) / 15.0,
    )


def refraction_deg(elevation_deg: float, *, pressure_hpa: float, temperature_c: float) -> float:
    """Return by how much the atmosphere lifts a direction, in light of 0.55 um.

    Parameters
    ----------
    elevation_deg
        True elevation; below 3 degrees the value of 3 degrees is used.
    pressure_hpa, temperature_c
        At the telescope.
    """
    a, b = erfa.refco(pressure_hpa, temperature_c, 0.3, _WAVELENGTH_UM)
    tangent = 1.0 / math.tan(math.radians(max(elevation_deg, 3.0)))
    return math.degrees(float(a) * tangent + float(b) * tangent**3)


def standard_pressure_hpa(height_m: float) -> float:
    """Return the pressure of the standard atmosphere at a height."""
    return float(1013.25 * max(1.0 - 2.25577e-5 * height_m, 0.05) ** 5.25588)


def airmass(elevation_deg: float) -> float:
    """Return the airmass at an elevation above 0 (Hardie 1962 above 10 degrees, else 1/sin)."""
    secant = 1.0 / math.sin(math.radians(elevation_deg))
    excess = secant - 1.0
    if elevation_deg < 10.0:  # noqa: PLR2004 - as documented
        return secant
    return 1.0 + excess * (1 - 0.0018167 - excess * (0.002875 + 0.0008083 * excess))


def separation_deg(a_lon: float, a_lat: float, b_lon: float, b_lat: float) -> float:
    """Return the angle between two directions; exact for small angles too (Vincenty)."""
    step, a, b = math.radians(b_lon - a_lon), math.radians(a_lat), math.radians(b_lat)
    across = math.cos(b) * math.sin(step)
    along = math.cos(a) * math.sin(b) - math.sin(a) * math.cos(b) * math.cos(step)
    toward = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(step)
    return math.degrees(math.atan2(math.hypot(across, along), toward))


def geocentric(site: Site) -> tuple[float, float, float]:
    """Return the geocentric place of a site on WGS84, metres."""
    longitude, latitude = math.radians(site.longitude_deg), math.radians(site.latitude_deg)
    squared = _FLATTENING * (2.0 - _FLATTENING)
    radius = _EQUATOR_M / math.sqrt(1.0 - squared * math.sin(latitude) ** 2)
    level = (radius + site.height_m) * math.cos(latitude)
    return (
        level * math.cos(longitude),
        level * math.sin(longitude),
        (radius * (1.0 - squared) + site.height_m) * math.sin(latitude),
    )


def _unit(longitude_deg: float, latitude_deg: float) -> npt.NDArray[np.float64]:
    longitude, latitude = math.radians(longitude_deg), math.radians(latitude_deg)
    return np.array(
        [
            math.cos(latitude) * math.cos(longitude),
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
        ]
    )
