"""The properties of an observation that a Butler registration needs.

They are asked of the translator one by one, so that the sentence about a bad
header names everything that is missing, and not the first card only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import MetadataTranslator, ObservationInfo

from translators.errors import TranslationError, TranslatorsError
from translators.findings import Finding, Severity

REQUIRED = (
    "datetime_begin",
    "datetime_end",
    "detector_num",
    "exposure_group",
    "exposure_id",
    "exposure_time_requested",
    "group_counter_end",
    "group_counter_start",
    "has_simulated_content",
    "instrument",
    "observation_id",
    "observation_type",
    "observing_day",
    "physical_filter",
)
"""Without one of these a raw cannot be registered."""

OPTIONAL = (
    "altaz_begin",
    "boresight_rotation_angle",
    "boresight_rotation_coord",
    "can_see_sky",
    "dark_time",
    "object",
    "observation_counter",
    "observation_reason",
    "observing_day_offset",
    "science_program",
    "tracking_radec",
    "visit_id",
)
"""These are registered where the header gives them."""

_DETECTOR_PROPERTY = "detector_num"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the detectors of an exposure share."""

    simple: Mapping[str, Any]
    """`ObservationInfo.to_simple()` as plain JSON."""
    findings: tuple[Finding, ...]

    def record(self, detector: int) -> dict[str, Any]:
        """Return the record of one detector image; it may be changed freely."""
        return _copy(self.simple) | {_DETECTOR_PROPERTY: detector}


def read_observation(translator: MetadataTranslator, *, file_name: str) -> Observation:
    """Ask a translator for what registration needs.

    Raises
    ------
    TranslationError
        A required property cannot be made; the message names all of them with the
        cards that lack.
    """
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            values[name] = getattr(translator, f"to_{name}")()
        # What a translator raises depends on the card's content: KeyError, TypeError, ValueError,
        # erfa's and astropy's own. Whatever it is, it concerns this one property.
        except Exception as error:  # noqa: BLE001 - see above
            faults[name] = reason_of(error)
        else:
            if values[name] is None and name in REQUIRED:
                faults[name] = "not defined"
    missing = [f"{name} ({faults[name]})" for name in REQUIRED if name in faults]
    if missing:
        raise TranslationError(
            f"{file_name}: the header does not give {', '.join(missing)}; correct the header and "
            "translate it again"
        )
    findings = tuple(
        Finding(
            "translation.property",
            Severity.WARNING,
            f"{file_name}: {name} is left out: {reason}",
        )
        for name, reason in faults.items()
    )
    info = ObservationInfo(translator_class=type(translator), **values)
    return Observation(simple=plain(info.to_simple()), findings=findings)


def reason_of(error: Exception) -> str:
    """Return why a property cannot be made, in words."""
    if isinstance(error, TranslatorsError):
        return str(error)
    text = str(error.args[0]) if type(error) is KeyError and error.args else str(error)
    return text or type(error).__name__


def plain(value: Any) -> Any:
    """Bring a simple record to what JSON gives back: lists for tuples, no value for NaN."""
    if isinstance(value, Mapping):
        simple = {name: plain(each) for name, each in value.items()}
        return {name: each for name, each in simple.items() if each is not None}
    if isinstance(value, (list, tuple)):
        items = [plain(each) for each in value]
        return None if None in items else items
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _copy(simple: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(each) if isinstance(each, list) else each for name, each in simple.items()}
