"""The properties of an observation and the rule that each may have in a `translator.yaml`."""

from __future__ import annotations

from pydantic import Field

from translators.generic.rules import (
    FlagRule,
    HorizonRules,
    IntegerRule,
    NumberRule,
    PositionRules,
    TextRule,
    TimeRules,
    ValueRule,
)
from translators.instruments_model import Data

USUAL_UNITS = {
    "exposure_time": "s",
    "exposure_time_requested": "s",
    "dark_time": "s",
    "boresight_rotation_angle": "deg",
    "focus_z": "mm",
    "temperature": "deg_C",
    "pressure": "hPa",
}
"""Unit of a card where its rule names none."""


class Properties(Data):
    """A rule for every property that does not follow from the rest of the file.

    What must be known of every exposure has no default: a rule must be given.
    """

    datetime_begin: TimeRules
    """Begin of the exposure."""
    exposure_time: NumberRule
    observation_type: TextRule
    """`science`, `bias`, `dark`, `flat`, ...; map what the headers say to these."""
    observation_id: TextRule
    physical_filter: TextRule

    datetime_end: TimeRules | None = None
    """Left out: begin and exposure time."""
    exposure_time_requested: NumberRule | None = None
    """Left out: the exposure time."""
    dark_time: NumberRule | None = None
    """Left out: the exposure time."""
    observing_day: ValueRule | None = None
    """YYYYMMDD or a date; left out: from the begin and `day_obs`."""
    observation_counter: IntegerRule | None = None
    """Number of the exposure; left out: 0."""
    group_counter_start: IntegerRule | None = None
    """Left out: the counter."""
    group_counter_end: IntegerRule | None = None
    """Left out: the counter."""
    visit_id: IntegerRule | None = None
    """Left out: by `ids.visit`."""
    exposure_group: TextRule | None = None
    """Exposures of one visit share it; left out: the exposure id."""
    observation_reason: TextRule | None = None
    """Left out: `science` for science, else `unknown`."""
    object: TextRule | None = None
    science_program: TextRule | None = None
    boresight_airmass: NumberRule | None = None
    """Left out: from the altitude."""
    boresight_rotation_angle: NumberRule | None = None
    boresight_rotation_coord: TextRule | None = None
    """Left out: `sky` where there is an angle, else `unknown`."""
    detector_exposure_id: IntegerRule | None = None
    """Left out: the exposure id and the detector's digits."""
    detector_serial: TextRule | None = None
    """Left out: from the list of detectors."""
    focus_z: NumberRule | None = None
    """Left out: 0."""
    temperature: NumberRule | None = None
    pressure: NumberRule | None = None
    relative_humidity: NumberRule | None = None
    """Percent."""
    has_simulated_content: FlagRule | None = None
    """Left out: false."""
    can_see_sky: FlagRule | None = None
    """Left out: by the observation type."""
    tracking_radec: PositionRules = Field(default=())
    altaz_begin: HorizonRules = Field(default=())
    altaz_end: HorizonRules = Field(default=())
