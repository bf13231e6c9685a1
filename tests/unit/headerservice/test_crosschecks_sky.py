"""The sky of the cross-checks against astropy's full reduction."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from headerservice.crosschecks_sky import (
    Site,
    airmass,
    geocentric,
    horizontal,
    separation_deg,
    wrap,
)

SITE = Site(-70.749417, -30.244639, 2663.0)
ARCSEC = 1 / 3600
MJD_1970 = 40587.0


@settings(max_examples=25, deadline=None)
@given(
    ra=st.floats(0, 360, allow_subnormal=False),
    dec=st.floats(-89, 89, allow_subnormal=False),
    mjd=st.floats(59000, 60800),
)
def test_a_direction_stands_where_astropy_says(ra: float, dec: float, mjd: float) -> None:
    place = EarthLocation.from_geodetic(
        SITE.longitude_deg * u.deg, SITE.latitude_deg * u.deg, SITE.height_m * u.m
    )
    with iers.conf.set_temp("auto_download", False):
        when = Time(mjd, format="mjd", scale="tai")
        target = SkyCoord(ra * u.deg, dec * u.deg)
        seen = target.transform_to(AltAz(obstime=when, location=place))
        angle = target.transform_to(HADec(obstime=when, location=place)).ha.hour
    found = horizontal(ra, dec, (mjd - MJD_1970) * 86400, SITE)
    apart = separation_deg(
        (found.azimuth_deg, found.elevation_deg), (float(seen.az.deg), float(seen.alt.deg))
    )
    assert apart < 15 * ARCSEC
    across = wrap((found.hour_angle_h - float(angle)) * 15) * np.cos(np.radians(dec))
    assert abs(across) < 20 * ARCSEC


def test_airmass_and_geocentre_are_the_known_ones() -> None:
    assert airmass(90.0) == pytest.approx(1.0, abs=1e-3)
    assert airmass(60.0) == pytest.approx(1.1539, abs=1e-3)
    assert airmass(30.0) == pytest.approx(1.994, abs=2e-3)
    assert geocentric(SITE) == pytest.approx((1818938.94, -5208470.95, -3195172.08), abs=0.02)


def test_an_instant_before_leap_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="1972"):
        horizontal(0.0, 0.0, 0.0, SITE)
