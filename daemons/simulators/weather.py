"""The weather of a simulated night: slow, smooth, and a function of the instant."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the weather station and the seeing monitor say at one instant."""

    temperature_c: float
    pressure_pa: float
    humidity_percent: float
    wind_speed_m_s: float
    wind_direction_deg: float
    seeing_arcsec: float


class Weather:
    """The weather of one night.

    Parameters
    ----------
    seed
        The same seed gives the same weather.
    """

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"weather/{seed}")  # noqa: S311 - weather, no secret
        self._phases = [chance.uniform(0, 2 * math.pi) for _ in range(6)]
        self._temperature = chance.uniform(7.0, 13.0)
        self._humidity = chance.uniform(15.0, 40.0)
        self._wind = chance.uniform(3.0, 7.0)
        self._direction = chance.uniform(0.0, 360.0)
        self._seeing = chance.uniform(0.7, 1.1)

    def at(self, tai: float) -> Conditions:
        """Return the conditions at an instant."""
        slow = [math.sin(tai * 2 * math.pi / 14_400 + phase) for phase in self._phases]
        fast = [math.sin(tai * 2 * math.pi / 613 + 2 * phase) for phase in self._phases]
        return Conditions(
            temperature_c=self._temperature + 1.5 * slow[0] + 0.1 * fast[0],
            pressure_pa=74_300.0 + 120.0 * slow[1] + 4.0 * fast[1],
            humidity_percent=self._humidity + 6.0 * slow[2] + 0.5 * fast[2],
            wind_speed_m_s=self._wind + 1.2 * slow[3] + 0.8 * fast[3],
            wind_direction_deg=(self._direction + 20.0 * slow[4] + 5.0 * fast[4]) % 360.0,
            seeing_arcsec=self._seeing + 0.15 * slow[5] + 0.05 * fast[5],
        )
