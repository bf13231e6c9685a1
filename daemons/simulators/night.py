"""The plan of a night: which exposures are taken, of what, and exactly when.

The plan is a pure function of its specification, so that a run that was killed goes
on with the very same night, and a test knows what must have happened. All instants
are TAI on a grid of milliseconds.

A night is calibrations (bias, dark, flat; dome closed, mount parked), then visits of
science targets in blocks of one filter. The life of an exposure::

    start_integration → start_readout: the exposure, and the shutter's travel
    start_readout → end_readout: 2 s
    end_readout → end_of_image_telemetry: 0.3 s

The next exposure may begin as soon as the readout has ended, before the telemetry of
the image is complete.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from daemons.runtime.clock import TaiSeconds
from daemons.runtime.errors import SettingsError
from daemons.simulators.sky import Sky, rotator_angle, sky_angle, wrap_180

READOUT_S = 2.0
"""Time to read the sensors out."""
IMAGE_TELEMETRY_S = 0.3
"""From the end of the readout to the event that ends the image's telemetry."""
SHUTTER_TRAVEL_S = 0.95
"""What opening and closing adds to an exposure with the shutter."""
NEXT_VISIT_LEAD_S = 22.0
"""How long before a visit it is announced; the interface demands 20 s at least."""
NIGHT_BEGINS_H = 13
"""Hours of TAI after noon of the observing day at which a night begins, unless told."""
FILTER_CHANGE_S = 120.0
"""Time that the camera takes to change the filter."""

_NOON_S = 12 * 3600
_DOME_OPENS_S = 30.0
_AXIS_DEG_PER_S = (4.0, 2.0, 2.0)
"""Mean speed of azimuth, elevation and rotator on a slew; the peak is half as much again."""
_SETTLE_S = 2.5
_LEAVES_AFTER_S = 0.25
"""From the begin of the readout to the slew: no sample of the readout's instant sees it."""
_LOWEST_DEG, _HIGHEST_DEG = 35.0, 84.0
_ROTATOR_LIMIT_DEG = 80.0
_SPARE_S = 60.0
"""How much longer than the exposure a field must stay within the limits."""


class ImageType(StrEnum):
    """What an exposure is for, as the camera says it (IMGTYPE)."""

    BIAS = "BIAS"
    DARK = "DARK"
    FLAT = "FLAT"
    OBJECT = "OBJECT"


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter in the camera's carousel."""

    name: str
    band: str
    slot: int
    position_mm: float


FILTERS = (
    Filter("u_24", "u", 5, 98.0),
    Filter("g_6", "g", 3, 149.5),
    Filter("r_57", "r", 2, 252.5),
    Filter("i_39", "i", 1, 304.0),
    Filter("z_20", "z", 4, 201.0),
    Filter("y_10", "y", 5, 98.0),
)
"""The filters for the sky. The carousel has five places, so u and y share one."""


@dataclass(frozen=True, slots=True)
class SkyAim:
    """A direction on the sky that is tracked; ICRS."""

    name: str
    ra_deg: float
    dec_deg: float
    sky_angle_deg: float


@dataclass(frozen=True, slots=True)
class ParkAim:
    """A fixed direction of the mount."""

    name: str
    azimuth_deg: float
    elevation_deg: float
    rotator_deg: float


Aim = SkyAim | ParkAim


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure of the plan."""

    obs_id: str
    day_obs: int
    seq_num: int
    image_type: ImageType
    filter: Filter
    aim: Aim
    group_id: str
    program: str
    reason: str
    image_index: int
    """Position in its sequence, from 1."""
    images_in_sequence: int
    exposure_time_s: float
    shutter_open_s: float
    """Measured; 0 where the shutter stayed closed."""
    dark_time_s: float
    image_tag: str
    start_integration: TaiSeconds
    start_readout: TaiSeconds
    end_readout: TaiSeconds
    end_of_image_telemetry: TaiSeconds
    next_visit: TaiSeconds | None
    """When the visit is announced; None for calibrations."""
    filter_change: TaiSeconds | None
    """When the change to this exposure's filter begins, where there is one."""
    slew: TaiSeconds
    """When the mount leaves for this exposure's aim."""

    @property
    def on_sky(self) -> bool:
        """True when the dome is open for it."""
        return self.image_type is ImageType.OBJECT


@dataclass(frozen=True, slots=True)
class NightSpec:
    """What a night is made from."""

    day_obs: int
    exposures: int
    seed: int
    start: TaiSeconds
    first_seq: int = 1
    calibrations: int | None = None
    """How many of the exposures are calibrations; None: a third, at most four."""
    exposure_time_s: float = 30.0
    """Of a science exposure; a dark takes half of it, a flat a tenth."""

    @property
    def calibration_count(self) -> int:
        """How many exposures are calibrations."""
        if self.calibrations is None:
            return min(4, self.exposures // 3)
        return min(self.calibrations, self.exposures)


@dataclass(frozen=True, slots=True)
class Night:
    """A planned night."""

    spec: NightSpec
    exposures: tuple[Exposure, ...]


def day_obs_at(tai: TaiSeconds) -> int:
    """Return the observing day of an instant: it changes at 12:00 TAI."""
    day = datetime.fromtimestamp(tai - _NOON_S, tz=UTC)
    return int(day.strftime("%Y%m%d"))


def night_start(day_obs: int) -> TaiSeconds:
    """Return when the night of an observing day begins, unless it is told.

    Raises
    ------
    SettingsError
        No such day.
    """
    try:
        day = datetime.strptime(str(day_obs), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise SettingsError(f"day_obs {day_obs} is no day; write it as YYYYMMDD") from error
    return TaiSeconds((day + timedelta(hours=12 + NIGHT_BEGINS_H)).timestamp())


def plan_night(spec: NightSpec) -> Night:
    """Return the night of a specification; the same specification gives the same night."""
    return Night(spec, tuple(_Planner(spec).exposures()))


def group_id(instant: TaiSeconds) -> str:
    """Return the name of a group of exposures that is made at an instant."""
    return datetime.fromtimestamp(instant, tz=UTC).isoformat(timespec="milliseconds")[:23]


def _milliseconds(instant: float) -> TaiSeconds:
    return TaiSeconds(round(instant, 3))


@dataclass(frozen=True, slots=True)
class _Shot:
    """What an exposure is, before it has its time."""

    image_type: ImageType
    exposure_time_s: float
    filter: Filter
    program: str
    reason: str
    image_index: int = 1
    images_in_sequence: int = 1


class _Planner:
    def __init__(self, spec: NightSpec) -> None:
        self._spec = spec
        self._random = random.Random(f"{spec.seed}/{spec.day_obs}")  # noqa: S311 - a plan, no secret
        self._sky = Sky(spec.start)
        loaded = [*FILTERS[1:5], self._random.choice((FILTERS[0], FILTERS[5]))]
        self._filters = self._random.sample(loaded, len(loaded))
        self._previous: Exposure | None = None
        self._group = ""

    def exposures(self) -> Iterator[Exposure]:
        for shot in self._shots():
            exposure = self._time(shot)
            self._previous = exposure
            yield exposure

    def _shots(self) -> Iterator[_Shot]:
        yield from self._calibrations()
        remaining = self._spec.exposures - self._spec.calibration_count
        block = 0
        while remaining:
            visits = min(remaining, self._random.randint(4, 12))
            chosen = self._filters[block % len(self._filters)]
            program = f"BLOCK-T{500 + block % 3}"
            for _ in range(visits):
                reason = self._random.choice(("template", f"pairs:{chosen.band}, 33.0", "deep"))
                yield _Shot(ImageType.OBJECT, self._spec.exposure_time_s, chosen, program, reason)
            remaining -= visits
            block += 1

    def _calibrations(self) -> Iterator[_Shot]:
        count = self._spec.calibration_count
        biases, darks = math.ceil(count / 3), count // 3
        times = self._spec.exposure_time_s
        for image_type, number, seconds in (
            (ImageType.BIAS, biases, 0.0),
            (ImageType.DARK, darks, round(times / 2, 3)),
            (ImageType.FLAT, count - biases - darks, round(times / 10, 3)),
        ):
            for index in range(1, number + 1):
                yield _Shot(
                    image_type,
                    seconds,
                    self._filters[0],
                    "BLOCK-T299",
                    f"daily_calibration_{image_type.lower()}",
                    index,
                    number,
                )

    def _time(self, shot: _Shot) -> Exposure:
        """Choose aim and instants of the next exposure."""
        before = self._previous
        change = before is not None and before.filter != shot.filter
        opening = shot.image_type is ImageType.OBJECT and not (before and before.on_sky)
        if before is None:
            leaves = start = self._spec.start
            aim = self._aim(shot, start)
        else:
            leaves = _milliseconds(before.start_readout + _LEAVES_AFTER_S)
            earliest = before.end_readout + (FILTER_CHANGE_S if change else 0.0)
            earliest += _DOME_OPENS_S if opening else 0.0
            aim = self._aim(shot, TaiSeconds(earliest))
            start = _milliseconds(
                max(earliest + self._pause(shot), leaves + self._slew_s(aim, leaves))
            )
        if shot.image_index == 1:
            self._group = group_id(_milliseconds(start - self._random.uniform(30, 45)))
        return self._exposure(shot, aim, leaves, start, change=change)

    def _exposure(
        self, shot: _Shot, aim: Aim, leaves: TaiSeconds, start: TaiSeconds, *, change: bool
    ) -> Exposure:
        spec, before = self._spec, self._previous
        seq_num = spec.first_seq if before is None else before.seq_num + 1
        shutter = shot.image_type in {ImageType.FLAT, ImageType.OBJECT}
        dark_time = shot.exposure_time_s + (SHUTTER_TRAVEL_S if shutter else 0.04)
        start_readout = _milliseconds(start + dark_time)
        end_readout = _milliseconds(start_readout + READOUT_S)
        jitter = self._random.uniform(-0.004, 0.004)
        return Exposure(
            obs_id=f"MC_O_{spec.day_obs}_{seq_num:06d}",
            day_obs=spec.day_obs,
            seq_num=seq_num,
            image_type=shot.image_type,
            filter=shot.filter,
            aim=aim,
            group_id=self._group,
            program=shot.program,
            reason=shot.reason,
            image_index=shot.image_index,
            images_in_sequence=shot.images_in_sequence,
            exposure_time_s=shot.exposure_time_s,
            shutter_open_s=round(shot.exposure_time_s + jitter, 6) if shutter else 0.0,
            dark_time_s=round(start_readout - start, 3),
            image_tag=f"{self._random.getrandbits(64):016x}",
            start_integration=start,
            start_readout=start_readout,
            end_readout=end_readout,
            end_of_image_telemetry=_milliseconds(end_readout + IMAGE_TELEMETRY_S),
            next_visit=(
                _milliseconds(start - NEXT_VISIT_LEAD_S)
                if shot.image_type is ImageType.OBJECT
                else None
            ),
            filter_change=_milliseconds(before.end_readout + 0.2) if before and change else None,
            slew=leaves,
        )

    def _pause(self, shot: _Shot) -> float:
        """Return the idle time after a readout; some calibrations begin at once."""
        if shot.image_type is ImageType.OBJECT:
            return self._random.uniform(0.3, 1.0)
        return self._random.choice((0.1, 0.2, 1.2))

    def _slew_s(self, aim: Aim, leaves: TaiSeconds) -> float:
        """Return how long the slowest axis needs."""
        before = self._previous
        if before is None or before.aim == aim:
            return 0.0
        here, there = self._axes(before.aim, leaves), self._axes(aim, leaves)
        needed = max(
            abs(float(wrap_180(goal - now))) / speed
            for now, goal, speed in zip(here, there, _AXIS_DEG_PER_S, strict=True)
        )
        return _SETTLE_S + needed

    def _axes(self, aim: Aim, instant: TaiSeconds) -> tuple[float, float, float]:
        """Return azimuth, elevation and rotator on an aim."""
        if isinstance(aim, ParkAim):
            return aim.azimuth_deg, aim.elevation_deg, aim.rotator_deg
        seen = self._sky.horizontal(aim.ra_deg, aim.dec_deg, instant)
        rotator = rotator_angle(seen.parallactic_deg, aim.sky_angle_deg)
        return float(seen.azimuth_deg), float(seen.elevation_deg), float(rotator)

    def _aim(self, shot: _Shot, instant: TaiSeconds) -> Aim:
        if shot.image_type is ImageType.FLAT:
            return ParkAim("FlatField", azimuth_deg=-35.0, elevation_deg=39.0, rotator_deg=0.0)
        if shot.image_type is not ImageType.OBJECT:
            return ParkAim("Park", azimuth_deg=0.0, elevation_deg=80.0, rotator_deg=0.0)
        before = self._previous
        if before is not None and before.filter == shot.filter and isinstance(before.aim, SkyAim):
            near = self._neighbour(before.aim, instant)
            if near is not None:
                return near
        return self._new_field(instant)

    def _neighbour(self, aim: SkyAim, instant: TaiSeconds) -> SkyAim | None:
        """Return the next field of a block, a few degrees away, None where it sets."""
        _, _, rotator = self._axes(aim, instant)
        for _ in range(20):
            bearing = self._random.uniform(0.0, 2 * math.pi)
            dec = aim.dec_deg + 3.2 * math.sin(bearing)
            ra = aim.ra_deg + 3.2 * math.cos(bearing) / max(0.1, math.cos(math.radians(dec)))
            if -80.0 < dec < 25.0:  # noqa: PLR2004 - the survey's declinations
                candidate = self._field(ra % 360.0, dec, instant, rotator)
                if candidate is not None:
                    return candidate
        return None

    def _new_field(self, instant: TaiSeconds) -> SkyAim:
        """Return a field that is well up."""
        while True:
            hour_angle = self._random.uniform(-45.0, 30.0)
            ra = float(self._sky.sidereal_deg(instant)) - hour_angle
            dec, rotator = self._random.uniform(-75.0, 5.0), self._random.uniform(-50.0, 50.0)
            candidate = self._field(ra % 360.0, dec, instant, rotator)
            if candidate is not None:
                return candidate

    def _field(
        self, ra_deg: float, dec_deg: float, instant: TaiSeconds, rotator_deg: float
    ) -> SkyAim | None:
        """Return a field, None where mount or rotator would come near a limit."""
        ra, dec = round(ra_deg, 6), round(dec_deg, 6)
        seen = self._sky.horizontal(ra, dec, instant)
        turned = round(float(sky_angle(seen.parallactic_deg, rotator_deg)), 6)
        field = SkyAim(f"SIM_{ra:07.3f}{dec:+07.3f}", ra, dec, turned)
        later = TaiSeconds(instant + self._spec.exposure_time_s + _SPARE_S)
        for _, elevation, rotator in (self._axes(field, instant), self._axes(field, later)):
            if not _LOWEST_DEG < elevation < _HIGHEST_DEG or abs(rotator) > _ROTATOR_LIMIT_DEG:
                return None
        return field
