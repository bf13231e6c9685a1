"""The form of the `crosschecks` section of a keyword definition file.

A check names the keywords or witnesses that it compares, how far they may be
apart, and for which exposures it counts. `headerservice.crosschecks` makes the checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from daemons.runtime.problems import KeyPath
from daemons.runtime.settings import SectionModel

SampledAt = Literal["start_of_integration", "start_of_readout", "end"]
"""The instant at which the compared values were true."""
Texts = tuple[str, ...]


class SiteKeywords(SectionModel):
    """The keywords that say where the telescope stands."""

    longitude: str
    """Geodetic longitude, degrees, east positive."""
    latitude: str
    """Geodetic latitude, degrees."""
    height: str
    """Height above the ellipsoid, metres."""


class _Check(SectionModel):
    when: dict[str, Texts] = Field(default_factory=dict)
    """Keywords and the values that they must have for the check to mean anything."""


class GeocentreCheck(_Check):
    """The geocentric place of the site against the geodetic one."""

    check: Literal["geocentre"]
    x: str
    y: str
    z: str
    tolerance_m: PositiveFloat


class DateCheck(_Check):
    """A date as a number of days against the same date as a text."""

    check: Literal["dates"]
    iso: str
    mjd: str
    tolerance_s: PositiveFloat


class HourAngleCheck(_Check):
    """The hour angle against sidereal time and right ascension."""

    check: Literal["hour_angle"]
    at: SampledAt
    hour_angle: str
    """Hours."""
    ra: str
    dec: str
    tolerance_h: PositiveFloat


class HorizontalCheck(_Check):
    """Azimuth and elevation of the mount against right ascension, declination, time and site."""

    check: Literal["horizontal"]
    at: SampledAt
    azimuth: str
    """Degrees, north through east."""
    elevation: str
    ra: str
    dec: str
    tolerance_deg: PositiveFloat


class AirmassCheck(_Check):
    """The airmass against the elevation."""

    check: Literal["airmass"]
    airmass: str
    elevation: str
    lowest_deg: float = 10.0
    """Below this elevation formulae disagree, and nothing is compared."""
    tolerance: PositiveFloat
    """As a fraction of the airmass."""


class TargetCheck(_Check):
    """Where the mount points against where the target is."""

    check: Literal["target"]
    ra: str
    dec: str
    mount_ra: str
    mount_dec: str
    tolerance_deg: PositiveFloat


class RotatorCheck(_Check):
    """The position angle of the camera against parallactic angle and rotator."""

    check: Literal["rotator"]
    at: SampledAt
    sky_angle: str
    rotator: str
    ra: str
    dec: str
    offset_deg: float
    """Position angle minus (parallactic angle minus rotator)."""
    tolerance_deg: PositiveFloat


class FilterCheck(_Check):
    """Filter and band against the instrument's list of filters."""

    check: Literal["filter"]
    filter: str
    band: str


class LoadedFilterCheck(_Check):
    """The filter against those that the camera says it has loaded."""

    check: Literal["filter_loaded"]
    filter: str
    loaded: str
    """Names joined by colons."""


class ShutterCheck(_Check):
    """The time that the shutter was open against begin and end of the exposure."""

    check: Literal["shutter_time"]
    shutter: str
    """Seconds."""
    begin: str
    """ISO date."""
    end: str
    """ISO date."""
    tolerance_s: PositiveFloat


class VignettingCheck(_Check):
    """What the dome is said to cover against where its shutter and its slit are.

    Shut, it covers the telescope fully; open and turned to where the mount points, it
    does not. Between the two nothing can be said.
    """

    check: Literal["vignetting"]
    least: str
    """How much was covered at least."""
    most: str
    """How much was covered at most."""
    fully: Texts
    """What those say of a telescope that sees no sky."""
    shutters: Annotated[tuple[str, ...], Field(min_length=1)]
    """How far each part of the shutter is open, percent."""
    shut_at: NonNegativeFloat
    """A part that is open less than this is shut."""
    open_at: PositiveFloat
    """A part that is open at least this far is open."""
    dome_azimuth: str
    azimuth: str
    aligned_deg: PositiveFloat
    """The slit is where the mount points when it is so near to it."""


Check = Annotated[
    GeocentreCheck
    | DateCheck
    | HourAngleCheck
    | HorizontalCheck
    | AirmassCheck
    | TargetCheck
    | RotatorCheck
    | FilterCheck
    | LoadedFilterCheck
    | ShutterCheck
    | VignettingCheck,
    Field(discriminator="check"),
]


class CrossChecks(SectionModel):
    """The cross-checks of an instrument's headers."""

    site: SiteKeywords
    """Where the telescope stands."""
    checks: tuple[Check, ...]
    """In the order in which they are made."""

    def keywords(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield every keyword that is used, and the place in the file where it is."""
        for keyword in (self.site.longitude, self.site.latitude, self.site.height):
            yield ("crosschecks", "site"), keyword
        for place, check in enumerate(self.checks):
            for keyword in (*inputs_of(check), *check.when):
                yield ("crosschecks", "checks", place), keyword


_NOT_KEYWORDS = frozenset({"check", "at", "when", "fully"})


def inputs_of(check: Check) -> tuple[str, ...]:
    """Return the keywords that a check compares, in the order of its fields."""
    found: list[str] = []
    for name in type(check).model_fields:
        value = getattr(check, name)
        if name in _NOT_KEYWORDS:
            continue
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, tuple):
            found += value
    return tuple(found)
