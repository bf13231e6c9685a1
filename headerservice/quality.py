"""How good a value is, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from headerservice.rules import Value


class Quality(StrEnum):
    """Whether a value may stand in a header. Only `GOOD` and `BRIDGED` ones do."""

    GOOD = "good"
    BRIDGED = "interpolated_over_gap"
    """It stands, but samples are missing around the instant or during the exposure."""
    STALE = "stale"
    """The newest sample was too old at the instant, or had expired."""
    OUT_OF_RANGE = "out_of_range"
    """The value cannot be true."""
    DEFAULT = "default"
    """The sender had not filled the field in."""
    NOT_APPLICABLE = "not_applicable"
    """The message says that the value means nothing now."""
    INVALID = "invalid"
    """Wrong type, infinite, denormal, or no member of its enumeration."""
    MISSING = "missing"
    """Nothing was heard that could give it."""


_RANK = {
    Quality.GOOD: 0,
    Quality.BRIDGED: 1,
    Quality.NOT_APPLICABLE: 2,
    Quality.STALE: 3,
    Quality.OUT_OF_RANGE: 4,
    Quality.DEFAULT: 5,
    Quality.INVALID: 6,
    Quality.MISSING: 7,
}
_STANDING = frozenset({Quality.GOOD, Quality.BRIDGED})


class Method(StrEnum):
    """How a value was found."""

    FIXED = "fixed"
    COMPUTED = "computed"
    EVENT = "event"
    """From an event of the exposure itself."""
    STEP = "step"
    """The last sample at or before the instant."""
    INTERPOLATED = "interpolated"
    """Between the samples on both sides of the instant."""
    HELD = "held"
    """The nearest sample, because the other side is missing."""
    PICKED = "picked"
    """Out of all samples of the exposure."""
    MEAN = "mean"
    """Over the time of the exposure."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message says."""

    value: Value | None
    quality: Quality
    reason: str = ""
    """What is wrong, as a sentence; empty for a good value."""

    @property
    def good(self) -> bool:
        """True when it is a value."""
        return self.quality in _STANDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The value of a keyword for one exposure, and its provenance."""

    value: Value | None
    """None unless it may stand in a header."""
    quality: Quality
    method: Method
    reason: str = ""
    """What is wrong, as a sentence; empty where nothing is."""
    seen: Value | None = None
    """The value that was refused, where there was one."""
    source: str = ""
    """Topic and field."""
    time: float | None = None
    """When the nearest message used was true, TAI seconds."""
    age_s: float | None = None
    """How long before the instant that was; negative: after it."""
    settled: bool = True
    """False while a sample on the other side of the instant may still come."""

    @property
    def good(self) -> bool:
        """True when the value may stand in a header."""
        return self.quality in _STANDING

    def better_than(self, other: Resolved) -> bool:
        """Return whether this is of a better quality than another."""
        return _RANK[self.quality] < _RANK[other.quality]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resolved:
        """Return what `to_json` was made of.

        Raises
        ------
        ValueError, TypeError
            The object is of another form.
        """
        return cls(
            **{
                **data,
                "quality": Quality(data["quality"]),
                "method": Method(data["method"]),
            }
        )


def fixed(value: Value, method: Method = Method.FIXED) -> Resolved:
    """Return a value that needs no message."""
    return Resolved(value=value, quality=Quality.GOOD, method=method)


def missing(reason: str, *, source: str = "", method: Method = Method.STEP) -> Resolved:
    """Return the absence of a value."""
    return Resolved(
        value=None, quality=Quality.MISSING, method=method, reason=reason, source=source
    )
