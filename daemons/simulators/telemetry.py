"""The telemetry of the observatory: what is sampled how often.

Samples stand on a fixed grid of instants, so that a night that goes on after a
restart samples at the same instants. Several topics are sampled at the same instant;
their messages come as one batch.

Rates, messages a second: mount and rotator 20, pointing component 5, hexapods 2;
weather every 5 s. The scale leaves the weather alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from daemons.bus import Topic
from daemons.runtime.clock import TaiSeconds
from daemons.simulators.camera_events import Fields
from daemons.simulators.pointing import Pointing, Track
from daemons.simulators.sky import Array
from daemons.simulators.weather import Weather

AXIS_RATE_HZ = 20.0
"""How often mount and rotator report."""
WEATHER_PERIOD_S = 5.0
"""How often the weather station reports."""

ELEVATION = Topic("MTMount", "elevation")
AZIMUTH = Topic("MTMount", "azimuth")
ROTATION = Topic("MTRotator", "rotation")
MOUNT_POSITION = Topic("MTPtg", "mountPosition")
TARGET_STATUS = Topic("MTPtg", "currentTargetStatus")
HEXAPODS = (Topic("MTHexapod", "application", 1), Topic("MTHexapod", "application", 2))
TEMPERATURE = Topic("ESS", "temperature", 301)
PRESSURE = Topic("ESS", "pressure", 301)
HUMIDITY = Topic("ESS", "relativeHumidity", 301)
AIR_FLOW = Topic("ESS", "airFlow", 301)

_CHUNK = 400
_MAST = "weather mast"


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one instant."""

    instant: TaiSeconds
    messages: tuple[tuple[Topic, Fields], ...]


@dataclass(frozen=True, slots=True)
class _Samples:
    """Pointing and speeds at the instants of a chunk."""

    pointing: Pointing
    azimuth_rate: Array
    elevation_rate: Array
    rotator_rate: Array


_Build = Callable[[_Samples, int], Fields]


class Telemetry:
    """The telemetry of one night.

    Parameters
    ----------
    track
        Where the telescope points.
    weather
        What the weather is like.
    rate_scale
        Multiplies the rates of mount, rotator, pointing component and hexapods.
    """

    def __init__(self, track: Track, weather: Weather, *, rate_scale: float = 1.0) -> None:
        self._track = track
        self._weather = weather
        self._step_s = 1.0 / (AXIS_RATE_HZ * rate_scale)

    def between(self, begins: TaiSeconds, ends: TaiSeconds) -> Iterator[Batch]:
        """Yield the batches from an instant on, up to another one, in order."""
        weather = self._weather_batches(begins, ends)
        waiting = next(weather, None)
        for batch in self._axis_batches(begins, ends):
            while waiting is not None and waiting.instant <= batch.instant:
                yield waiting
                waiting = next(weather, None)
            yield batch
        if waiting is not None:
            yield waiting
        yield from weather

    def _axis_batches(self, begins: TaiSeconds, ends: TaiSeconds) -> Iterator[Batch]:
        ticks = np.arange(_tick(begins, self._step_s), _tick(ends, self._step_s))
        for first in range(0, len(ticks), _CHUNK):
            chunk = ticks[first : first + _CHUNK]
            times = np.round(chunk * self._step_s, 6)
            samples = _Samples(self._track.at(times), *self._track.rates(times))
            for position, tick in enumerate(chunk.tolist()):
                messages = tuple(
                    (topic, build(samples, position))
                    for every, topic, build in _STREAMS
                    if tick % every == 0
                )
                yield Batch(TaiSeconds(float(times[position])), messages)

    def _weather_batches(self, begins: TaiSeconds, ends: TaiSeconds) -> Iterator[Batch]:
        for tick in range(_tick(begins, WEATHER_PERIOD_S), _tick(ends, WEATHER_PERIOD_S)):
            instant = TaiSeconds(tick * WEATHER_PERIOD_S)
            yield Batch(instant, tuple(_weather(self._weather, instant)))


def _tick(instant: TaiSeconds, step_s: float) -> int:
    """Return the number of the first instant of a grid that is not before an instant."""
    return math.ceil(round(instant / step_s, 6))


def _axis(position: float, rate: float, instant: float) -> dict[str, float]:
    return {
        "actualPosition": position,
        "actualPositionTimestamp": instant,
        "actualVelocity": rate,
        "actualVelocityTimestamp": instant,
        "demandPosition": position,
        "demandPositionTimestamp": instant,
        "demandVelocity": rate,
        "demandVelocityTimestamp": instant,
        "timestamp": instant,
    }


def _elevation(samples: _Samples, at: int) -> Fields:
    here = samples.pointing
    position, instant = float(here.elevation_deg[at]), float(here.tai[at])
    return {
        **_axis(position, float(samples.elevation_rate[at]), instant),
        "elevationInclinometer": position,
        "elevationInclinometerTimestamp": instant,
    }


def _azimuth(samples: _Samples, at: int) -> Fields:
    here = samples.pointing
    return _axis(float(here.azimuth_deg[at]), float(samples.azimuth_rate[at]), float(here.tai[at]))


def _rotation(samples: _Samples, at: int) -> Fields:
    here = samples.pointing
    position, rate = float(here.rotator_deg[at]), float(samples.rotator_rate[at])
    return {
        "demandPosition": position,
        "demandVelocity": rate,
        "actualPosition": position,
        "actualVelocity": rate,
        "timestamp": float(here.tai[at]),
    }


def _mount_position(samples: _Samples, at: int) -> Fields:
    here = samples.pointing
    return {
        "timestamp": float(here.tai[at]),
        "azimuthActualPosition": float(here.azimuth_deg[at]),
        "elevationActualPosition": float(here.elevation_deg[at]),
        "rotatorActualPosition": float(here.rotator_deg[at]),
        "ra": float(here.ra_deg[at]),
        "declination": float(here.dec_deg[at]),
        "skyAngle": float(here.sky_angle_deg[at]),
    }


def _target_status(samples: _Samples, at: int) -> Fields:
    here = samples.pointing
    return {
        "timestamp": float(here.tai[at]),
        "demandAz": float(here.azimuth_deg[at]),
        "demandEl": float(here.elevation_deg[at]),
        "demandRot": float(here.rotator_deg[at]),
        "demandAzVelocity": float(samples.azimuth_rate[at]),
        "demandElVelocity": float(samples.elevation_rate[at]),
        "demandRotVelocity": float(samples.rotator_rate[at]),
        "ha": float(here.hour_angle_h[at]),
        "parAngle": float(here.parallactic_deg[at]),
        "airmass": float(here.airmass[at]),
        "demandRa": float(here.ra_deg[at]) / 15.0,
        "demandDec": float(here.dec_deg[at]),
    }


def _hexapod(samples: _Samples, at: int) -> Fields:
    """Focus follows gravity: a few hundred micrometres between zenith and horizon."""
    z_um = -850.0 + 300.0 * math.cos(math.radians(float(samples.pointing.elevation_deg[at])))
    demand = [120.0, -340.0, z_um, 0.011, -0.004, 0.0]
    return {
        "demand": demand,
        "position": [value + 0.02 for value in demand],
        "error": [0.02] * len(demand),
    }


_STREAMS: tuple[tuple[int, Topic, _Build], ...] = (
    (1, ELEVATION, _elevation),
    (1, AZIMUTH, _azimuth),
    (1, ROTATION, _rotation),
    (4, MOUNT_POSITION, _mount_position),
    (4, TARGET_STATUS, _target_status),
    (10, HEXAPODS[0], _hexapod),
    (10, HEXAPODS[1], _hexapod),
)
"""Every how many ticks of the axes a topic is sampled, and how its message is made."""


def _weather(weather: Weather, instant: TaiSeconds) -> Iterator[tuple[Topic, Fields]]:
    now = weather.at(instant)
    station = {"sensorName": "simulated", "timestamp": instant, "location": _MAST}
    unused = [math.nan] * 15
    yield (
        TEMPERATURE,
        {**station, "numChannels": 1, "temperatureItem": [now.temperature_c, *unused]},
    )
    yield PRESSURE, {**station, "numChannels": 1, "pressureItem": [now.pressure_pa, *unused[:7]]}
    yield HUMIDITY, {**station, "relativeHumidityItem": now.humidity_percent}
    yield (
        AIR_FLOW,
        {
            **station,
            "direction": now.wind_direction_deg,
            "directionStdDev": 4.0,
            "speed": now.wind_speed_m_s,
            "speedStdDev": 0.5,
            "maxSpeed": now.wind_speed_m_s + 1.5,
        },
    )
