"""The form of a policy file: `config/instruments/<name>/checks.yaml`, or a site's own.

Everything is optional. What a file does not say is as in the file below it: the
site's over the instrument's over that of the instrument it is `like` over the
defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from translators.checks.catalogue import CATALOGUE

Degrees = Annotated[float, Field(ge=-360, le=360)]
Keyword = Annotated[str, Field(min_length=1, strict=True)]


class Action(StrEnum):
    """What is done about a finding."""

    NOTE = "note"
    """It is written down."""
    WARN = "warn"
    """The file is used; somebody should look."""
    HOLD = "hold"
    """The file is stored; its exposure is held back until a person decides."""
    QUARANTINE = "quarantine"
    """The file is set aside until a person decides."""


class PolicyModel(BaseModel):
    """Part of a policy file: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(PolicyModel):
    """How far values may be apart before it is a finding."""

    null_cards: Annotated[int, Field(ge=0)] | None = None
    """How many required cards may be undefined before it counts as a null block."""
    pointing_arcmin: NonNegativeFloat | None = None
    """Between the mount's direction by right ascension and declination and by its angles."""
    target_deg: NonNegativeFloat | None = None
    """Between target and mount."""
    airmass: NonNegativeFloat | None = None
    """Between the airmass and that of the elevation, as a part of it."""
    hour_angle_h: NonNegativeFloat | None = None
    """Between the hour angle and that of right ascension and time."""
    site_m: NonNegativeFloat | None = None
    """Between OBSGEO-X, -Y, -Z and the site."""
    mjd_s: NonNegativeFloat | None = None
    """Between a date and its MJD."""
    early_end_s: NonNegativeFloat | None = None
    """By how much begin to end may be shorter than the exposure time."""
    late_end_s: NonNegativeFloat | None = None
    """By how much begin to end may be longer than the exposure time."""


class Site(PolicyModel):
    """Where the telescope stands."""

    longitude_deg: Degrees
    """East positive, degrees."""
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    """Geodetic, degrees."""
    height_m: float
    """Above the ellipsoid of WGS84, metres."""


class ObservingDay(PolicyModel):
    """How observing days are counted."""

    rollover_hours: Annotated[float, Field(ge=0, le=24)]
    """When a new one begins, hours after midnight TAI."""
    since: int
    """First observing day for which it is so, YYYYMMDD; earlier ones are not checked."""


class FilterSlots(PolicyModel):
    """The filter changer."""

    first: int
    """Lowest number of a slot."""
    last: int
    """Highest number of a slot."""
    holds: Mapping[str, tuple[int, ...]] = Field(default_factory=dict)
    """Slots of a filter, where they never change."""


class PolicyFile(PolicyModel):
    """One file."""

    version: Literal[1]
    """Of the form of this file."""
    like: str | None = None
    """Another instrument whose policy, and keyword definitions where there are none of its own,
    count for what this file does not say."""

    quarantine: tuple[str, ...] = ()
    """Findings that set the file aside: codes, or patterns such as `structure.*`."""
    hold: tuple[str, ...] = ()
    """Findings that hold the exposure back."""
    warn: tuple[str, ...] = ()
    """Findings that are only a warning."""
    note: tuple[str, ...] = ()
    """Findings that are only written down."""

    registration: tuple[tuple[Keyword, ...], ...] | None = None
    """Cards without which an image cannot be registered; of each list one is enough."""
    optional: tuple[Keyword, ...] | None = None
    """Keywords that the definitions require of the header service, and that a file may lack."""
    exempt: tuple[Keyword, ...] | None = None
    """Keywords whose type and range in files is not what the definitions say."""
    allowed: Mapping[Keyword, tuple[Keyword, ...]] | None = None
    """Texts that a card may hold, case aside. A card not named here may hold any."""
    per_detector: tuple[Keyword, ...] | None = None
    """Cards that differ between the detectors of an exposure, besides the usual ones."""
    calibrations: tuple[Keyword, ...] | None = None
    """Image types that do not look at the sky: their pointing is not checked."""

    limits: Limits = Limits()
    """How far values may be apart."""
    site: Site | None = None
    """Where the telescope stands; without it the sky is not compared with the mount."""
    observing_day: ObservingDay | None = None
    """How observing days are counted; without it DAYOBS is not compared with the begin."""
    filter_card: Keyword | None = None
    """Card that holds the name of a filter as the instrument's data have it; without it filters
    are not checked."""
    filter_slots: FilterSlots | None = None
    """The filter changer; without it FILTSLOT is not checked."""

    @model_validator(mode="after")
    def _codes_are_known(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        named: dict[str, Action] = {}
        for action, pattern in self.patterns():
            if not any(fnmatchcase(code, pattern) for code in CATALOGUE):
                yield f"{action}: no finding has the code {pattern!r}"
            if pattern in named:
                yield f"{pattern} is below {named[pattern]} and below {action}; decide for one"
            named[pattern] = action
            kind = CATALOGUE.get(pattern)
            if kind is not None and kind.final and action is not Action.QUARANTINE:
                yield f"{pattern} can only be below quarantine: nothing can be done with the file"

    def patterns(self) -> Iterator[tuple[Action, str]]:
        """Yield what is done about which codes."""
        for action in Action:
            for pattern in getattr(self, action.value):
                yield action, pattern

    def action(self, code: str) -> Action | None:
        """Return what this file says about a code: itself before a pattern, the longer first."""
        matching = [
            (pattern == code, len(pattern), action)
            for action, pattern in self.patterns()
            if fnmatchcase(code, pattern)
        ]
        return max(matching)[2] if matching else None
