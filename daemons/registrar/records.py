"""Dimension records of the Butler, from what is known of instruments and exposures.

Pure. Field by field as the Science Pipelines' raw ingest writes them, so that
both may work on one repository.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from astro_metadata_translator import ObservationInfo
from astropy.time import Time, TimeDelta
from lsst.daf.butler import Timespan

from daemons.registrar.definitions import butler_definition
from daemons.registrar.errors import RegistrationRefusedError
from translators.focalplane import Detector, detectors, physical_filters
from translators.identity import ImageKind
from translators.properties import REQUIRED

Record = dict[str, Any]
"""Values of one row of a dimension, by field name."""

_PURPOSE: Mapping[ImageKind, str] = {
    ImageKind.SCIENCE: "SCIENCE",
    ImageKind.WAVEFRONT: "WAVEFRONT",
    ImageKind.GUIDER: "GUIDER",
}

_OBSERVATION_TYPE_LENGTH = 16
"""Longest `observation_type` that the Butler's schema takes, characters."""

_FLOAT_TOLERANCE = 1e-9
"""Relative difference below which two values of a record count as equal: several
thousand times the rounding of a double."""


def instrument_record(instrument: str) -> Record:
    """Return the `instrument` row."""
    definition = butler_definition(instrument)
    return {
        "name": instrument,
        "class_name": definition.class_name,
        "detector_max": definition.detector_max,
        "exposure_max": definition.exposure_max,
        "visit_max": definition.exposure_max,
        "visit_system": definition.visit_system,
    }


def detector_records(instrument: str) -> list[Record]:
    """Return the `detector` rows of an instrument."""
    return [_detector_record(instrument, detector) for detector in detectors(instrument)]


def _detector_record(instrument: str, detector: Detector) -> Record:
    return {
        "instrument": instrument,
        "id": detector.id,
        "full_name": detector.name,
        "name_in_raft": detector.sensor,
        "raft": detector.raft,
        "purpose": _PURPOSE[detector.kind],
    }


def filter_records(instrument: str) -> list[Record]:
    """Return the `physical_filter` rows that are known beforehand."""
    return [
        {"instrument": instrument, "name": each.name, "band": each.band}
        for each in physical_filters(instrument)
    ]


def group_record(info: ObservationInfo) -> Record:
    """Return the `group` row of an exposure."""
    return {"instrument": info.instrument, "name": info.exposure_group}


def day_obs_record(info: ObservationInfo) -> Record:
    """Return the `day_obs` row of an exposure: from its offset to a day later, TAI."""
    day = str(info.observing_day)
    offset = info.observing_day_offset or TimeDelta(0, format="sec", scale="tai")
    midnight = Time(f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00", format="isot", scale="tai")
    begin = midnight + offset
    return {
        "instrument": info.instrument,
        "id": info.observing_day,
        "timespan": Timespan(begin, begin + TimeDelta(1, format="jd", scale="tai")),
    }


def exposure_record(info: ObservationInfo) -> Record:
    """Return the `exposure` row.

    Raises
    ------
    RegistrationRefusedError
        A property that registration needs is missing, or a value does not fit.
    """
    missing = [name for name in REQUIRED if getattr(info, name) is None]
    if missing:
        raise RegistrationRefusedError(
            f"exposure {info.observation_id}: the header does not give {', '.join(missing)}; "
            "correct the header and announce the image again"
        )
    observation_type = str(info.observation_type)
    if len(observation_type) > _OBSERVATION_TYPE_LENGTH:
        raise RegistrationRefusedError(
            f"exposure {info.observation_id}: observation type {observation_type!r} is "
            f"longer than {_OBSERVATION_TYPE_LENGTH} characters"
        )
    exposure_time = _seconds(info.exposure_time_requested)
    dark_time = exposure_time if info.dark_time is None else _seconds(info.dark_time)
    record = {
        "instrument": info.instrument,
        "id": info.exposure_id,
        "obs_id": info.observation_id,
        "group": info.exposure_group,
        "day_obs": info.observing_day,
        "physical_filter": info.physical_filter,
        "timespan": _timespan(info.datetime_begin, info.datetime_end),
        "exposure_time": exposure_time,
        "dark_time": dark_time,
        "observation_type": observation_type,
        "observation_reason": info.observation_reason,
        "seq_num": info.observation_counter,
        "seq_start": info.group_counter_start,
        "seq_end": info.group_counter_end,
        "target_name": info.object,
        "science_program": info.science_program,
        "has_simulated": info.has_simulated_content,
        "can_see_sky": info.can_see_sky,
    }
    return record | _pointing(info)


def _pointing(info: ObservationInfo) -> Record:
    """Return where the telescope looked; null where it did not look at the sky."""
    pointing: Record = dict.fromkeys(
        ("tracking_ra", "tracking_dec", "sky_angle", "azimuth", "zenith_angle")
    )
    if info.tracking_radec is not None:
        icrs = info.tracking_radec.icrs
        pointing["tracking_ra"] = _number(icrs.ra.degree)
        pointing["tracking_dec"] = _number(icrs.dec.degree)
        if info.boresight_rotation_coord == "sky" and info.boresight_rotation_angle is not None:
            pointing["sky_angle"] = _number(info.boresight_rotation_angle.degree)
    if info.altaz_begin is not None:
        pointing["azimuth"] = _number(info.altaz_begin.az.degree)
        pointing["zenith_angle"] = _number(info.altaz_begin.zen.degree)
    return pointing


def _timespan(begin: Any, end: Any) -> Timespan:
    """Return the time of an exposure; one that ends before it begins has no length."""
    return Timespan(begin, max(begin, end))


def _seconds(duration: Any) -> float | None:
    return _number(duration.to_value("s"))


def _number(value: Any) -> float | None:
    """Return a plain float, or None for what is not a number: the Butler refuses NaN."""
    number = float(value)
    return number if math.isfinite(number) else None


def differences(known: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields in which a record differs from the one in the repository.

    Floats are compared with a relative tolerance, times by their printed form
    to the microsecond: a rounding in the last bit is no conflict.
    """
    return tuple(
        sorted(field for field in new if field in known and not _equal(known[field], new[field]))
    )


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=_FLOAT_TOLERANCE, abs_tol=_FLOAT_TOLERANCE)
    if isinstance(left, Timespan) and isinstance(right, Timespan):
        return _close(left.begin, right.begin) and _close(left.end, right.end)
    return bool(left == right)


def _close(left: Time, right: Time) -> bool:
    return bool(abs((left - right).sec) < 1e-6)  # noqa: PLR2004 - a microsecond, as documented
