from __future__ import annotations

from collections.abc import Iterator

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.runtime.clock import TaiSeconds
from daemons.simulators.sky import (
    SIMONYI,
    Sky,
    airmass,
    rotator_angle,
    sky_angle,
    wrap_180,
)

EPOCH = Time("2026-11-04T03:00:00", scale="tai")
EPOCH_TAI = TaiSeconds((EPOCH.mjd - 40587.0) * 86400.0)
SITE = EarthLocation.from_geodetic(
    SIMONYI.longitude_deg * u.deg, SIMONYI.latitude_deg * u.deg, SIMONYI.height_m * u.m
)
ARCMIN = 1 / 60

right_ascensions = st.floats(0.0, 359.999)
declinations = st.floats(-85.0, 30.0)
offsets_s = st.floats(-30_000.0, 30_000.0)


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky(EPOCH_TAI)


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    with iers.conf.set_temp("auto_download", value=False), iers.conf.set_temp("auto_max_age", None):
        yield


@settings(deadline=None)
@given(right_ascensions, declinations, offsets_s)
def test_mount_angles_agree_with_astropy_within_an_arcminute(
    ra: float, dec: float, offset_s: float
) -> None:
    seen = Sky(EPOCH_TAI).horizontal(ra, dec, EPOCH_TAI + offset_s)
    frame = AltAz(obstime=EPOCH + offset_s * u.s, location=SITE)
    there = SkyCoord(ra, dec, unit="deg").transform_to(frame)
    here = SkyCoord(float(seen.azimuth_deg), float(seen.elevation_deg), unit="deg")
    assert here.separation(SkyCoord(there.az, there.alt)).deg < ARCMIN


def test_angles_stay_within_an_arcminute_where_ut1_is_far_from_utc() -> None:
    instant = Time("2016-12-30T04:00:00", scale="tai")  # UT1 - UTC is -0.41 s
    tai = TaiSeconds((instant.mjd - 40587.0) * 86400.0)
    seen = Sky(tai).horizontal(100.0, -30.0, tai)
    there = SkyCoord(100.0, -30.0, unit="deg").transform_to(AltAz(obstime=instant, location=SITE))
    here = SkyCoord(float(seen.azimuth_deg), float(seen.elevation_deg), unit="deg")
    assert here.separation(SkyCoord(there.az, there.alt)).deg < ARCMIN


@settings(deadline=None)
@given(offsets_s)
def test_sidereal_time_agrees_with_astropy(offset_s: float) -> None:
    instant = EPOCH + offset_s * u.s
    true = instant.sidereal_time("apparent", longitude=SITE.lon).deg
    assert abs(wrap_180(true - Sky(EPOCH_TAI).sidereal_deg(EPOCH_TAI + offset_s))) < ARCMIN


@settings(deadline=None)
@given(right_ascensions, declinations, offsets_s)
def test_hour_angle_is_sidereal_time_minus_apparent_right_ascension(
    ra: float, dec: float, offset_s: float
) -> None:
    sky = Sky(EPOCH_TAI)
    seen = sky.horizontal(ra, dec, EPOCH_TAI + offset_s)
    apparent_ra, _ = sky.apparent(ra, dec)
    expected = sky.sidereal_deg(EPOCH_TAI + offset_s) - apparent_ra
    assert abs(wrap_180(seen.hour_angle_h * 15.0 - expected)) < 1e-9


@settings(deadline=None)
@given(st.floats(-270.0, 270.0), st.floats(5.0, 89.0), offsets_s)
def test_the_mount_points_at_the_sky_that_it_sees(
    azimuth: float, elevation: float, offset_s: float
) -> None:
    sky = Sky(EPOCH_TAI)
    ra, dec = sky.equatorial(azimuth, elevation, EPOCH_TAI + offset_s)
    seen = sky.horizontal(ra, dec, EPOCH_TAI + offset_s)
    turned = abs(wrap_180(seen.azimuth_deg - azimuth)) * np.cos(np.radians(elevation))
    assert turned < 1e-4
    assert abs(seen.elevation_deg - elevation) < 1e-4


def test_parallactic_angle_is_the_position_angle_of_the_zenith(sky: Sky) -> None:
    target = SkyCoord([10.0, 40.0, 350.0], [-60.0, -20.0, 5.0], unit="deg")
    zenith = AltAz(alt=90 * u.deg, az=0 * u.deg, obstime=EPOCH, location=SITE)
    true = target.position_angle(SkyCoord(zenith).transform_to("icrs")).deg
    seen = sky.horizontal(target.ra.deg, target.dec.deg, EPOCH_TAI)
    # The poles of ICRS and of date are 9 arcmin apart, which turns north by some of it.
    np.testing.assert_allclose(wrap_180(true - seen.parallactic_deg), 0.0, atol=0.4)


def test_on_the_meridian_the_zenith_is_north_or_south(sky: Sky) -> None:
    sidereal = float(sky.sidereal_deg(EPOCH_TAI))
    ra, dec = sky.icrs(sidereal, np.array([-60.0, 10.0]))
    seen = sky.horizontal(ra, dec, EPOCH_TAI)
    np.testing.assert_allclose(seen.hour_angle_h, 0.0, atol=1e-5)
    np.testing.assert_allclose(abs(seen.parallactic_deg), [0.0, 180.0], atol=1e-3)
    np.testing.assert_allclose(abs(seen.azimuth_deg), [180.0, 0.0], atol=1e-3)


@settings(deadline=None)
@given(st.floats(-180.0, 180.0), st.floats(-90.0, 90.0))
def test_rotator_and_sky_angle_are_each_other_s_inverse(parallactic: float, rotator: float) -> None:
    turned = sky_angle(parallactic, rotator)
    assert 0.0 <= turned <= 360.0
    assert abs(wrap_180(rotator_angle(parallactic, turned) - rotator)) < 1e-9


@settings(deadline=None)
@given(st.floats(25.0, 90.0))
def test_airmass_is_near_the_secant_and_never_below_one(elevation: float) -> None:
    secant = 1.0 / np.sin(np.radians(elevation))
    assert airmass(elevation) >= 1.0
    assert airmass(elevation) == pytest.approx(secant, rel=0.01)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_are_the_same_direction(degrees: float) -> None:
    wrapped = float(wrap_180(degrees))
    assert -180.0 <= wrapped < 180.0 + 1e-9
    assert np.cos(np.radians(wrapped)) == pytest.approx(np.cos(np.radians(degrees)), abs=1e-6)
