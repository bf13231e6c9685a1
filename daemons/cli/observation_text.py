"""Properties of an observation as text for people; JSON and YAML take them as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from astropy.time import Time

COLUMNS = (
    "observation_id",
    "observing_day",
    "observation_counter",
    "detector_unique_name",
    "observation_type",
    "physical_filter",
    "exposure_time_requested",
    "datetime_begin",
    "tracking_radec",
    "object",
    "science_program",
)
"""What a table of many files shows unless the person chooses."""

_HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "observation_id": "observation",
        "observing_day": "day",
        "observation_counter": "seq",
        "detector_unique_name": "detector",
        "observation_type": "type",
        "physical_filter": "filter",
        "exposure_time_requested": "exposure",
        "datetime_begin": "begin (TAI)",
        "datetime_end": "end (TAI)",
        "tracking_radec": "RA, Dec (deg)",
        "science_program": "program",
    }
)


def heading(name: str) -> str:
    """Return the heading of a column."""
    return _HEADINGS.get(name, name)


def text(name: str, value: Any) -> str:
    """Return a property for a person, with its unit."""
    if value is None:
        return "-"
    return _FORMS.get(name, str)(value)


def _time(value: Sequence[float]) -> str:
    return str(Time(value[0], value[1], format="jd", scale="tai", precision=3).isot)


def _degrees(value: Sequence[float]) -> str:
    return f"{value[0]:.4f}, {value[1]:+.4f}"


def _with(unit: str, digits: int = 3) -> Callable[[float], str]:
    return lambda value: f"{round(value, digits):g} {unit}"


_FORMS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "datetime_begin": _time,
        "datetime_end": _time,
        "tracking_radec": _degrees,
        "altaz_begin": lambda value: f"az {value[0]:.4f} deg, alt {value[1]:.4f} deg",
        "altaz_end": lambda value: f"az {value[0]:.4f} deg, alt {value[1]:.4f} deg",
        "boresight_airmass": lambda value: f"{value:.4f}",
        "boresight_rotation_angle": _with("deg", 6),
        "exposure_time": _with("s", 6),
        "exposure_time_requested": _with("s", 6),
        "dark_time": _with("s", 6),
        "observing_day_offset": _with("s"),
        "focus_z": lambda value: f"{round(value * 1000, 6):g} mm",
        "temperature": _with("K"),
        "pressure": _with("hPa"),
        "relative_humidity": _with("%"),
        "location": lambda value: ", ".join(f"{each:.2f}" for each in value) + " m",
    }
)
"""Units as `ObservationInfo.to_simple` has them."""
