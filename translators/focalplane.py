"""The detectors of a focal plane, and the filters in front of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from translators.errors import UnknownDetectorError
from translators.identity import ImageKind
from translators.instruments import Millimetres, RaftPlace, SensorPlace, instrument
from translators.instruments_model import full_name

FILTER_DELIMITER = "~"
"""Between the names of filters in the beam at the same time."""

_NO_FILTER = "empty"


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector of a focal plane."""

    id: int
    name: str
    """Raft and sensor, such as `R22_S11`."""
    raft: str | None
    """None where a Butler knows no raft, as for LATISS."""
    sensor: str
    """Name in the raft; the full name where there is no raft."""
    kind: ImageKind
    physical_type: str
    """Such as `E2V`, `ITL`, `ITL_WF`."""
    x_mm: float
    """Centre in the focal plane."""
    y_mm: float
    yaw_deg: float
    """Turn in the plane of the camera, counter-clockwise, 0 to 360."""
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class PhysicalFilter:
    """A filter, or a combination, as a Butler names it."""

    name: str
    band: str


@lru_cache(maxsize=64)
def detectors(instrument_name: str) -> tuple[Detector, ...]:
    """Return the detectors of an instrument by ascending id.

    Raises
    ------
    InstrumentDataError
        There is no such instrument.
    """
    plane = instrument(instrument_name).focal_plane
    found = (
        _detector(instrument_name, raft, place)
        for raft in plane.rafts
        for place in plane.layouts[raft.layout]
    )
    return tuple(sorted(found, key=lambda detector: detector.id))


@lru_cache(maxsize=64)
def _by_name(instrument_name: str) -> Mapping[str, Detector]:
    names = {detector.name: detector for detector in detectors(instrument_name)}
    aliases = instrument(instrument_name).focal_plane.aliases
    return MappingProxyType(names | {alias: names[name] for alias, name in aliases.items()})


def detector_by_name(instrument_name: str, name: str) -> Detector:
    """Return the detector of a name such as `R22_S11`.

    Raises
    ------
    UnknownDetectorError
        The instrument has no detector of this name.
    InstrumentDataError
        There is no such instrument.
    """
    try:
        return _by_name(instrument_name)[name]
    except KeyError:
        raise UnknownDetectorError(
            f"{instrument_name} has no detector {name!r}; its names look like "
            f"{detectors(instrument_name)[0].name}"
        ) from None


def detector_by_serial(instrument_name: str, serial: str) -> Detector | None:
    """Return the detector with a serial number, None where no table has it.

    Raises
    ------
    InstrumentDataError
        There is no such instrument.
    """
    name = instrument(instrument_name).focal_plane.serials.get(serial)
    return None if name is None else detector_by_name(instrument_name, name)


def forget() -> None:
    """Make the lists anew when they are asked for next."""
    for remembered in (detectors, _by_name, physical_filters):
        remembered.cache_clear()


@lru_cache(maxsize=64)
def physical_filters(instrument_name: str) -> tuple[PhysicalFilter, ...]:
    """Return the filters that an instrument uses on the sky, with their bands.

    For an instrument with gratings also every combination.

    Raises
    ------
    InstrumentDataError
        There is no such instrument.
    """
    return tuple(_filters(instrument_name))


def _filters(instrument_name: str) -> Iterator[PhysicalFilter]:
    data = instrument(instrument_name)
    for each in data.filters:
        yield PhysicalFilter(each.name, each.band)
        for grating in data.gratings:
            if not each.with_gratings or (grating.band and each.name != _NO_FILTER):
                continue
            name = f"{each.name}{FILTER_DELIMITER}{grating.name}"
            yield PhysicalFilter(name, grating.band or each.band)


def _detector(instrument_name: str, raft: RaftPlace, place: SensorPlace) -> Detector:
    plane = instrument(instrument_name).focal_plane
    size = plane.sensors[place.type]
    x_mm, y_mm = _turned(place.at_mm, raft.yaw_deg)
    raft_counts = plane.rafts_in_butler and bool(raft.name)
    name = full_name(raft.name, place.name)
    return Detector(
        id=raft.first_id + place.id,
        name=name,
        raft=raft.name if raft_counts else None,
        sensor=place.name if raft_counts else name,
        kind=place.kind,
        physical_type=place.type,
        x_mm=raft.at_mm[0] + x_mm,
        y_mm=raft.at_mm[1] + y_mm,
        yaw_deg=(place.yaw_deg + raft.yaw_deg) % 360,
        width_px=size.width_px,
        height_px=size.height_px,
    )


def _turned(at_mm: Millimetres, yaw_deg: float) -> Millimetres:
    """Turn a place about the origin.

    Rafts stand at multiples of 90 degrees, so that rounding gives the exact place.
    """
    sine, cosine = math.sin(math.radians(yaw_deg)), math.cos(math.radians(yaw_deg))
    x_mm, y_mm = at_mm
    return round(cosine * x_mm - sine * y_mm, 9), round(sine * x_mm + cosine * y_mm, 9)
