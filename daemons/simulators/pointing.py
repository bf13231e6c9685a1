"""Where mount, rotator and pointing component are at any instant of a night.

The mount tracks an exposure's aim from the moment it arrives, and leaves for the next
one when the readout begins. Between two aims it moves smoothly, and it has arrived a
moment before the exposure starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from daemons.simulators.night import Aim, Exposure, Night, ParkAim, SkyAim
from daemons.simulators.sky import Array, Sky, airmass, rotator_angle, sky_angle, wrap_180

ARRIVES_BEFORE_S = 0.6
"""How long before an exposure starts the mount has settled."""

_TRACKING_ERROR_DEG = 0.15 / 3600
_AZIMUTH_LIMIT_DEG = 270.0
_RATE_STEP_S = 0.5
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where the telescope points at some instants; every member has the same length."""

    tai: Array
    ra_deg: Array
    """ICRS."""
    dec_deg: Array
    azimuth_deg: Array
    """Of the mount: -270 to 270, without a jump while it moves."""
    elevation_deg: Array
    rotator_deg: Array
    sky_angle_deg: Array
    hour_angle_h: Array
    parallactic_deg: Array
    airmass: Array


@dataclass(frozen=True, slots=True)
class _Axes:
    azimuth: Array
    elevation: Array
    rotator: Array


class Track:
    """The movements of a night.

    Parameters
    ----------
    night
        The plan.
    """

    def __init__(self, night: Night) -> None:
        self._sky = Sky(night.spec.start)
        self._exposures = night.exposures
        self._leaves = np.array([exposure.slew for exposure in night.exposures])
        self._reference: list[float] = []
        for exposure in night.exposures:
            self._reference.append(self._azimuth_turn(exposure))

    def _azimuth_turn(self, exposure: Exposure) -> float:
        """Return the azimuth at the start of an exposure, on the turn nearest to the last one."""
        before = self._reference[-1] if self._reference else 0.0
        here = float(self._azimuth(exposure.aim, np.array([exposure.start_integration]))[0])
        here = before + float(wrap_180(here - before))
        if abs(here) > _AZIMUTH_LIMIT_DEG - 20.0:
            here -= 360.0 * np.sign(here)
        return here

    def _azimuth(self, aim: Aim, tai: Array) -> Array:
        if isinstance(aim, ParkAim):
            return np.full(tai.shape, aim.azimuth_deg)
        return self._sky.horizontal(aim.ra_deg, aim.dec_deg, tai).azimuth_deg

    def at(self, tai: Array) -> Pointing:
        """Return where the telescope points; times in ascending order."""
        axes = [self._leg(int(index), tai[first:last]) for index, first, last in self._legs(tai)]
        azimuth = _fixed([leg.azimuth for leg in axes])
        elevation = _fixed([leg.elevation for leg in axes])
        rotator = _fixed([leg.rotator for leg in axes])
        ra, dec = self._sky.equatorial(azimuth, elevation, tai)
        seen = self._sky.horizontal(ra, dec, tai)
        return Pointing(
            tai=tai,
            ra_deg=_fixed([ra]),
            dec_deg=_fixed([dec]),
            azimuth_deg=azimuth,
            elevation_deg=elevation,
            rotator_deg=rotator,
            sky_angle_deg=_fixed([sky_angle(seen.parallactic_deg, rotator)]),
            hour_angle_h=_fixed([seen.hour_angle_h]),
            parallactic_deg=_fixed([seen.parallactic_deg]),
            airmass=_fixed([airmass(elevation)]),
        )

    def rates(self, tai: Array) -> tuple[Array, Array, Array]:
        """Return the speeds of azimuth, elevation and rotator, degrees per second."""
        before, after = self.at(tai - _RATE_STEP_S / 2), self.at(tai + _RATE_STEP_S / 2)
        return (
            (after.azimuth_deg - before.azimuth_deg) / _RATE_STEP_S,
            (after.elevation_deg - before.elevation_deg) / _RATE_STEP_S,
            (after.rotator_deg - before.rotator_deg) / _RATE_STEP_S,
        )

    def _legs(self, tai: Array) -> list[tuple[int, int, int]]:
        """Return (exposure, first, last) of runs of instants that belong to one exposure."""
        owner = np.maximum(np.searchsorted(self._leaves, tai, side="right") - 1, 0)
        cuts = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(tai)]
        return [(owner[first], first, last) for first, last in pairwise(cuts) if last > first]

    def _leg(self, index: int, tai: Array) -> _Axes:
        """Return the axes on the way to the aim of an exposure, and on it."""
        arrived = self._on_aim(index, tai)
        if index == 0:
            return arrived
        exposure = self._exposures[index]
        arrival = exposure.start_integration - ARRIVES_BEFORE_S
        done = np.clip((tai - exposure.slew) / (arrival - exposure.slew), 0.0, 1.0)
        share = done * done * (3.0 - 2.0 * done)
        left = self._on_aim(index - 1, tai)
        return _Axes(
            *(
                there * share + here * (1.0 - share)
                for here, there in (
                    (left.azimuth, arrived.azimuth),
                    (left.elevation, arrived.elevation),
                    (left.rotator, arrived.rotator),
                )
            )
        )

    def _on_aim(self, index: int, tai: Array) -> _Axes:
        aim = self._exposures[index].aim
        reference = self._reference[index]
        if isinstance(aim, ParkAim):
            return _Axes(
                np.full(tai.shape, reference),
                np.full(tai.shape, aim.elevation_deg),
                np.full(tai.shape, aim.rotator_deg),
            )
        ra, dec = _with_tracking_error(aim, tai)
        seen = self._sky.horizontal(ra, dec, tai)
        return _Axes(
            reference + wrap_180(seen.azimuth_deg - reference),
            seen.elevation_deg,
            rotator_angle(seen.parallactic_deg, aim.sky_angle_deg),
        )


def _fixed(parts: Sequence[Array]) -> Array:
    """Join and round, so that an instant has one value however it was computed."""
    return np.asarray(np.round(np.concatenate(parts), _DECIMALS), dtype=np.float64)


def _with_tracking_error(aim: SkyAim, tai: Array) -> tuple[Array, Array]:
    across = _TRACKING_ERROR_DEG * np.sin(tai * (2 * np.pi / 17.3) + aim.ra_deg)
    along = _TRACKING_ERROR_DEG * np.sin(tai * (2 * np.pi / 11.9) + aim.dec_deg)
    return aim.ra_deg + across / np.cos(np.radians(aim.dec_deg)), aim.dec_deg + along
