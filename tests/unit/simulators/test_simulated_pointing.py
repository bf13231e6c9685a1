from __future__ import annotations

import numpy as np
import pytest

from daemons.simulators.night import ImageType, Night, NightSpec, SkyAim, night_start, plan_night
from daemons.simulators.pointing import Track
from daemons.simulators.sky import Sky, airmass, sky_angle, wrap_180

ARCSEC = 1 / 3600


@pytest.fixture(scope="module", params=[1, 5, 77])
def track_of(request: pytest.FixtureRequest) -> tuple[Night, Track]:
    day = 20261103
    night = plan_night(NightSpec(day, 40, request.param, night_start(day)))
    return night, Track(night)


def test_a_science_target_is_tracked_while_it_is_exposed(track_of: tuple[Night, Track]) -> None:
    night, track = track_of
    for each in night.exposures:
        if isinstance(each.aim, SkyAim):
            here = track.at(np.linspace(each.start_integration, each.start_readout, 20))
            dec_error = here.dec_deg - each.aim.dec_deg
            ra_error = wrap_180(here.ra_deg - each.aim.ra_deg) * np.cos(
                np.radians(each.aim.dec_deg)
            )
            assert np.hypot(ra_error, dec_error).max() < ARCSEC
            turned = wrap_180(here.sky_angle_deg - each.aim.sky_angle_deg)
            assert abs(turned).max() < 5 * ARCSEC / np.cos(np.radians(each.aim.dec_deg))


def test_the_mount_is_parked_for_calibrations(track_of: tuple[Night, Track]) -> None:
    night, track = track_of
    for each in night.exposures:
        if each.image_type is not ImageType.OBJECT:
            here = track.at(np.array([each.start_integration, each.start_readout]))
            assert np.ptp(here.elevation_deg) == 0.0
            assert np.ptp(here.azimuth_deg) == 0.0


def test_no_axis_jumps(track_of: tuple[Night, Track]) -> None:
    night, track = track_of
    first, last = night.exposures[0], night.exposures[-1]
    times = np.arange(first.start_integration - 20, last.end_readout, 0.05)
    here = track.at(times)
    for axis, limit_deg_per_s in (
        (here.azimuth_deg, 8.0),
        (here.elevation_deg, 4.0),
        (here.rotator_deg, 4.0),
    ):
        assert abs(np.diff(axis)).max() / 0.05 < limit_deg_per_s
    assert abs(here.azimuth_deg).max() <= 270.0
    assert abs(here.rotator_deg).max() <= 90.0


def test_everything_that_is_reported_is_one_direction(track_of: tuple[Night, Track]) -> None:
    night, track = track_of
    first, last = night.exposures[0], night.exposures[-1]
    times = np.linspace(first.start_integration, last.end_readout, 500)
    here = track.at(times)
    seen = Sky(night.spec.start).horizontal(here.ra_deg, here.dec_deg, times)
    np.testing.assert_allclose(wrap_180(seen.azimuth_deg - here.azimuth_deg), 0, atol=1e-5)
    np.testing.assert_allclose(seen.elevation_deg, here.elevation_deg, atol=1e-6)
    np.testing.assert_allclose(seen.hour_angle_h, here.hour_angle_h, atol=1e-8)
    np.testing.assert_allclose(airmass(here.elevation_deg), here.airmass, atol=1e-8)
    np.testing.assert_allclose(
        wrap_180(sky_angle(here.parallactic_deg, here.rotator_deg) - here.sky_angle_deg),
        0,
        atol=1e-8,
    )


def test_an_instant_has_the_same_pointing_however_it_is_asked_for(
    track_of: tuple[Night, Track],
) -> None:
    night, track = track_of
    first, last = night.exposures[0], night.exposures[-1]
    times = np.linspace(first.start_integration, last.end_readout, 60)
    whole = track.at(times).azimuth_deg
    single = [float(track.at(times[place : place + 1]).azimuth_deg[0]) for place in range(60)]
    np.testing.assert_array_equal(whole, single)


def test_speeds_are_those_of_the_positions(track_of: tuple[Night, Track]) -> None:
    night, track = track_of
    each = next(e for e in night.exposures if e.image_type is ImageType.OBJECT)
    times = each.start_integration + np.arange(3.0, 13.0, 0.5)
    here = track.at(times)
    for axis, rate in zip(
        (here.azimuth_deg, here.elevation_deg, here.rotator_deg), track.rates(times), strict=True
    ):
        np.testing.assert_allclose(np.gradient(axis, 0.5)[1:-1], rate[1:-1], atol=2e-5)
