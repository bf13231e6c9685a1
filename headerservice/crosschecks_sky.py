"""Where a direction stands over a site at an instant: pure, with ERFA, without any table to fetch.

ICRS → intermediate place of date (aberration, precession-nutation 2006/2000A) → hour angle
by the Earth rotation angle → azimuth and elevation. UT1 is taken as UTC: they differ by less
than 0.9 s (14 arcsec) by definition. Refraction, polar motion (0.5 arcsec) and diurnal
aberration (0.3 arcsec) are left out. Refraction is the greatest of these: at 740 hPa it lifts a
star by 0.7 arcmin at 45 degrees of elevation and by 2 arcmin at 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import erfa

from daemons.runtime.clock import TaiSeconds, tai_to_utc

_UNIX_JD = 2440587.5
"""Julian date of 1970-01-01."""
_TT_MINUS_TAI_S = 32.184
_DAY_S = 86_400.0
_WGS84 = 1


@dataclass(frozen=True, slots=True)
class Site:
    """Where a telescope stands."""

    longitude_deg: float
    """East positive."""
    latitude_deg: float
    """Geodetic."""
    height_m: float
    """Above the ellipsoid."""


@dataclass(frozen=True, slots=True)
class Horizontal:
    """A direction over a site."""

    hour_angle_h: float
    """-12 to 12."""
    azimuth_deg: float
    """From north through east, 0 to 360."""
    elevation_deg: float
    parallactic_deg: float
    """Position angle of the zenith, from north through east, -180 to 180."""


def horizontal(ra_deg: float, dec_deg: float, tai: float, site: Site) -> Horizontal:
    """Return where an ICRS direction stands.

    Parameters
    ----------
    ra_deg, dec_deg
        The direction.
    tai
        The instant, TAI seconds.
    site
        The site.

    Raises
    ------
    ValueError
        The instant is before 1972, or no date of this age of the Earth.
    """
    try:
        tt_day = (tai + _TT_MINUS_TAI_S) / _DAY_S
        ut1_day = float(tai_to_utc(TaiSeconds(tai))) / _DAY_S
        ra, dec = math.radians(ra_deg), math.radians(dec_deg)
        ra_of_date, dec_of_date, _ = erfa.atci13(ra, dec, 0.0, 0.0, 0.0, 0.0, _UNIX_JD, tt_day)
        rotation = float(erfa.era00(_UNIX_JD, ut1_day)) + math.radians(site.longitude_deg)
    except erfa.ErfaError as error:
        raise ValueError(str(error)) from error
    hour_angle = wrap(math.degrees(rotation - float(ra_of_date)))
    latitude = math.radians(site.latitude_deg)
    h, d = math.radians(hour_angle), float(dec_of_date)
    azimuth, elevation = erfa.hd2ae(h, d, latitude)
    return Horizontal(
        hour_angle_h=hour_angle / 15.0,
        azimuth_deg=math.degrees(float(azimuth)) % 360.0,
        elevation_deg=math.degrees(float(elevation)),
        parallactic_deg=math.degrees(float(erfa.hd2pa(h, d, latitude))),
    )


def separation_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the angle between two directions, each longitude and latitude in degrees."""
    radians = [math.radians(each) for each in (*one, *other)]
    return math.degrees(float(erfa.seps(*radians)))


def airmass(elevation_deg: float) -> float:
    """Return the airmass at an elevation (Kasten and Young 1989), to 0.3 % above 10 degrees."""
    sine = math.sin(math.radians(elevation_deg))
    return float(1.0 / (sine + 0.50572 * (elevation_deg + 6.07995) ** -1.6364))


def geocentric(site: Site) -> tuple[float, float, float]:
    """Return the geocentric place of a site, metres (WGS84)."""
    longitude, latitude = math.radians(site.longitude_deg), math.radians(site.latitude_deg)
    x, y, z = erfa.gd2gc(_WGS84, longitude, latitude, site.height_m)
    return float(x), float(y), float(z)


def wrap(degrees: float) -> float:
    """Bring an angle to -180 (included) to 180 degrees."""
    return (degrees + 180.0) % 360.0 - 180.0
