"""The plain formulae of the sky against astropy's full reduction and ERFA's."""

from __future__ import annotations

import math

import astropy.units as u
import pytest
from astropy.coordinates import ICRS, AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from translators.checks.policy_file import Site
from translators.checks.sky import (
    airmass,
    direction,
    geocentric,
    refraction_deg,
    separation_deg,
    standard_pressure_hpa,
)
from translators.offline import offline

PACHON = Site(longitude_deg=-70.749417, latitude_deg=-30.244639, height_m=2663.0)
HEIDELBERG = Site(longitude_deg=8.7217, latitude_deg=49.3986, height_m=560.0)
ARCSEC = 1 / 3600


def _full(
    ra: float, dec: float, mjd_tai: float, site: Site, *, pressure: float = 0.0
) -> tuple[float, float, float]:
    """Azimuth and elevation by astropy, and how far UT1 was from UTC, seconds."""
    place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m)
    with offline(), iers.earth_orientation_table.set(iers.IERS_B.open()):
        when = Time(mjd_tai, format="mjd", scale="tai", location=place)
        frame = AltAz(
            obstime=when,
            location=place,
            pressure=pressure * u.hPa,
            temperature=10 * u.deg_C,
            relative_humidity=0.3,
            obswl=0.55 * u.um,
        )
        there = SkyCoord(ra * u.deg, dec * u.deg, frame=ICRS()).transform_to(frame)
        return there.az.deg, there.alt.deg, float(when.delta_ut1_utc)


@pytest.mark.parametrize("site", [PACHON, HEIDELBERG], ids=["south", "north"])
@pytest.mark.parametrize("mjd_tai", [58849.1, 60797.1755, 60400.9])
@pytest.mark.parametrize(
    ("ra", "dec"), [(187.5, 8.25), (12.5, -33.25), (300.0, -80.0), (40.0, 60.0), (359.9, 0.0)]
)
def test_a_direction_is_where_astropy_has_it(
    ra: float, dec: float, mjd_tai: float, site: Site
) -> None:
    azimuth, elevation, delta_s = _full(ra, dec, mjd_tai, site)
    ours = direction(ra, dec, mjd_tai, site)
    apart = separation_deg(azimuth, elevation, ours.azimuth_deg, ours.elevation_deg)
    assert apart < (1.0 + 15.1 * abs(delta_s)) * ARCSEC


@pytest.mark.parametrize(
    ("ra", "dec", "azimuth", "elevation", "hour_angle_h", "mjd_tai"),
    [
        # MC_O_20250422_000250 and MC_O_20250609_000578, as their headers say.
        (216.1013764, -16.7000433, 46.9864243, 71.3902572, -0.9401659, 60788.17165165),
        (320.6276576, -17.9414240, 60.2739643, 67.9926054, -1.3330844, 60836.31383426),
    ],
)
def test_real_exposures_agree_within_an_arcmin(
    *,
    ra: float,
    dec: float,
    azimuth: float,
    elevation: float,
    hour_angle_h: float,
    mjd_tai: float,
) -> None:
    ours = direction(ra, dec, mjd_tai, PACHON)
    lifted = ours.elevation_deg + refraction_deg(
        ours.elevation_deg, pressure_hpa=742.0, temperature_c=10.0
    )
    assert separation_deg(azimuth, elevation, ours.azimuth_deg, lifted) * 60 < 1.0
    assert ours.hour_angle_h == pytest.approx(hour_angle_h, abs=0.5 / 3600)


def test_refraction_is_what_astropy_has() -> None:
    for ra in range(0, 360, 30):
        _, true, _ = _full(ra, -30.0, 60797.2, PACHON)
        if true < 15.0:
            continue
        _, seen, _ = _full(ra, -30.0, 60797.2, PACHON, pressure=745.0)
        ours = refraction_deg(true, pressure_hpa=745.0, temperature_c=10.0)
        assert ours == pytest.approx(seen - true, abs=1.0 * ARCSEC)


def test_the_hour_angle_is_that_of_the_meridian() -> None:
    ours = direction(12.5, -33.25, 60797.5, PACHON)
    later = direction(12.5, -33.25, 60797.5 + ours.hour_angle_h * -0.9972696 / 24, PACHON)
    assert later.hour_angle_h == pytest.approx(0.0, abs=1e-4)
    assert later.elevation_deg > 86.0
    assert min(later.azimuth_deg % 180.0, -later.azimuth_deg % 180.0) < 0.1


def test_a_place_on_the_earth_is_that_of_astropy() -> None:
    place = EarthLocation.from_geodetic(-70.749417, -30.244639, 2663.0)
    expected = [each.to_value(u.m) for each in place.geocentric]
    assert geocentric(PACHON) == pytest.approx(expected, abs=0.01)


def test_the_pressure_of_a_mountain_is_plausible() -> None:
    assert standard_pressure_hpa(0.0) == pytest.approx(1013.25)
    assert standard_pressure_hpa(2663.0) == pytest.approx(731.0, abs=2.0)


@given(st.floats(1.0, 90.0))
def test_airmass_grows_from_one_towards_the_horizon(elevation_deg: float) -> None:
    here = airmass(elevation_deg)
    assert here >= 1.0
    secant = 1 / math.sin(math.radians(elevation_deg))
    assert here <= secant + 1e-12
    assert here > secant * 0.96


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 1e-4))
def test_a_separation_is_exact_for_small_angles(lon: float, lat: float, step: float) -> None:
    moved = lat + step if lat < 0 else lat - step
    assert separation_deg(lon, lat, lon, moved) == pytest.approx(step, abs=1e-11)
