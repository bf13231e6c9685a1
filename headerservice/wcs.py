"""Nominal world coordinates of each sensor, from the pointing and the focal plane: pure.

One tangent plane serves the whole camera: CRVAL is the boresight, CRPIX where the boresight
would be in the pixels of the assembled sensor (mostly far outside of it), CD scale, turn and
parity. The optics' distortion is left out, and no star was looked at: the coordinates are as
good as the pointing, and at the edge of a wide field some arcseconds worse. With the position
angle `t` (+y of the focal plane, from north through east) a place `(x, y)` in millimetres is at

    xi  = ( x cos t + y sin t) scale        east
    eta = (-x sin t + y cos t) scale        north

and the sign of `x` is the other one for a mirrored focal plane. A sensor turned by its yaw has
its pixel axes turned counter-clockwise in the focal plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from headerservice.quality import Resolved
from headerservice.sensors import Card, Hdu, SensorTable
from headerservice.wcs_data import NominalWcs
from translators.errors import InstrumentDataError
from translators.findings import Finding, Severity
from translators.focalplane import Detector, detectors

NOTE = "Nominal coordinates of the assembled sensor: from the pointing"
"""Stands above the cards in each header."""

_ARCSEC_PER_DEG = 3600.0
_PIXEL_DECIMALS = 6
_CD_DECIMALS = 16


@dataclass(frozen=True, slots=True)
class Boresight:
    """Where the camera looks, and how it is turned."""

    ra_deg: float
    dec_deg: float
    angle_deg: float
    """Position angle of the focal plane's +y."""
    frame: str


def boresight_of(plan: NominalWcs, values: Mapping[str, Resolved]) -> Boresight | str:
    """Return where the camera looks; a sentence where a header does not say it."""
    for keyword, wanted in plan.when.items():
        found = values.get(keyword)
        said = str(found.value) if found is not None and found.good else "not known"
        if said.upper() not in {each.upper() for each in wanted}:
            return f"no coordinates: {keyword} is {said}"
    frame = values.get(plan.frame)
    if frame is None or not frame.good or frame.value not in plan.frames:
        said = "not known" if frame is None or not frame.good else str(frame.value)
        return f"no coordinates: {plan.frame} is {said}"
    numbers = []
    for keyword in (plan.ra, plan.dec, plan.angle):
        value = values[keyword].value if keyword in values and values[keyword].good else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"no coordinates: {keyword} has no value"
        numbers.append(float(value))
    ra, dec, angle = numbers
    return Boresight(ra, dec, angle + plan.offset_deg, str(frame.value))


def with_wcs(
    table: SensorTable, plan: NominalWcs, boresight: Boresight, *, instrument: str
) -> tuple[tuple[Hdu, ...], tuple[Finding, ...]]:
    """Return the headers of the sensors with their coordinates, and what is wrong.

    Parameters
    ----------
    table
        The sensors.
    plan
        Scale and parity.
    boresight
        Where the camera looks.
    instrument
        Butler name of the instrument, for its focal plane.
    """
    try:
        known = _by_short_name(instrument)
    except InstrumentDataError as error:
        return table.hdus, (_unknown(f"no focal plane is known: {error}"),)
    cd = {
        yaw: cd_matrix(yaw, plan, boresight.angle_deg)
        for yaw in {detector.yaw_deg for detector in known.values()}
    }
    # The one sensor of a camera has many names, and cannot be another one.
    only = next(iter(known.values())) if len(known) == len(table.names) == 1 else None
    hdus, unknown = [], []
    for name, hdu in zip(table.names, table.hdus, strict=True):
        detector = known.get(_short(name), only)
        if detector is None:
            unknown.append(name)
            hdus.append(hdu)
        else:
            cards = _cards(crpix(detector, plan), cd[detector.yaw_deg], boresight)
            hdus.append(replace(hdu, cards=hdu.cards + cards))
    findings = (
        (_unknown(f"{instrument} has no sensor {', '.join(unknown)}: no coordinates for it"),)
        if unknown
        else ()
    )
    return tuple(hdus), findings


def wcs_cards(detector: Detector, plan: NominalWcs, boresight: Boresight) -> tuple[Card, ...]:
    """Return the cards of one sensor."""
    cd = cd_matrix(detector.yaw_deg, plan, boresight.angle_deg)
    return _cards(crpix(detector, plan), cd, boresight)


def _cards(
    pixel: tuple[float, float], cd: tuple[float, float, float, float], boresight: Boresight
) -> tuple[Card, ...]:
    x, y = pixel
    return (
        Card("COMMENT", NOTE, ""),
        Card("WCSAXES", 2, "axes of the nominal coordinates"),
        Card("WCSNAME", "NOMINAL", "from the pointing, not from stars"),
        Card("CTYPE1", "RA---TAN", "right ascension, tangent plane (nominal)"),
        Card("CTYPE2", "DEC--TAN", "declination, tangent plane (nominal)"),
        Card("CUNIT1", "deg", "unit of axis 1"),
        Card("CUNIT2", "deg", "unit of axis 2"),
        Card("CRVAL1", boresight.ra_deg, "[deg] right ascension of the boresight"),
        Card("CRVAL2", boresight.dec_deg, "[deg] declination of the boresight"),
        Card("CRPIX1", x, "[pixel] column of the boresight (nominal)"),
        Card("CRPIX2", y, "[pixel] row of the boresight (nominal)"),
        Card("CD1_1", cd[0], "[deg/pixel] (nominal)"),
        Card("CD1_2", cd[1], "[deg/pixel] (nominal)"),
        Card("CD2_1", cd[2], "[deg/pixel] (nominal)"),
        Card("CD2_2", cd[3], "[deg/pixel] (nominal)"),
        Card("RADESYS", boresight.frame, "frame of the coordinates"),
    )


def crpix(detector: Detector, plan: NominalWcs) -> tuple[float, float]:
    """Return the pixel of the boresight; the centre of the first pixel is 1."""
    yaw = math.radians(detector.yaw_deg)
    across = math.cos(yaw) * detector.x_mm + math.sin(yaw) * detector.y_mm
    along = math.cos(yaw) * detector.y_mm - math.sin(yaw) * detector.x_mm
    return (
        round((detector.width_px + 1) / 2 - across / plan.pixel_mm, _PIXEL_DECIMALS) + 0.0,
        round((detector.height_px + 1) / 2 - along / plan.pixel_mm, _PIXEL_DECIMALS) + 0.0,
    )


def cd_matrix(
    yaw_deg: float, plan: NominalWcs, angle_deg: float
) -> tuple[float, float, float, float]:
    """Return CD1_1, CD1_2, CD2_1 and CD2_2, degrees per pixel."""
    scale = plan.pixel_mm * plan.arcsec_per_mm / _ARCSEC_PER_DEG
    angle, yaw = math.radians(angle_deg), math.radians(yaw_deg)
    hand = -1.0 if plan.mirrored else 1.0
    columns = []
    for x, y in ((math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))):
        east = hand * x * math.cos(angle) + y * math.sin(angle)
        north = -hand * x * math.sin(angle) + y * math.cos(angle)
        columns.append(
            (round(scale * east, _CD_DECIMALS) + 0.0, round(scale * north, _CD_DECIMALS) + 0.0)
        )
    (east_x, north_x), (east_y, north_y) = columns
    return east_x, east_y, north_x, north_y


@lru_cache(maxsize=8)
def _by_short_name(instrument: str) -> Mapping[str, Detector]:
    return {_short(each.name): each for each in detectors(instrument)}


def _short(name: str) -> str:
    """Return a sensor's name as both worlds can write it: `R22_S11` and `R22S11` are the same."""
    return name.replace("_", "")


def _unknown(sentence: str) -> Finding:
    return Finding("wcs.unknown_sensor", Severity.WARNING, sentence)
