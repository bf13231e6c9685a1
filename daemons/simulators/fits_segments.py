"""The header of an amplifier: where its pixels are on the sensor, the raft, the focal plane.

The camera's axes run across those of the image: its X is along the columns. `dc` and
`dr` below are columns and rows of an amplifier that see light.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from daemons.simulators.fits_cards import card, section
from daemons.simulators.focal_plane import AMPLIFIER_SHAPE, Sensor, Shape
from translators.identity import ImageKind

_RAFT_PITCH, _RAFT_MARGIN, _CCD_PITCH = 12_700.0, 12.5, 4_225.0
"""Of the focal plane, in pixels of 10 µm."""
_LIT = {"E2V": (2002, 512, 10), "ITL": (2000, 509, 3)}
"""Rows and columns of an amplifier that see light, and the columns before them."""
_PER_ROW = 8


@dataclass(frozen=True, slots=True)
class _Lit:
    """The part of an amplifier that sees light."""

    rows: int
    columns: int
    before: int

    @classmethod
    def of(cls, sensor: Sensor, shape: Shape) -> _Lit:
        """Scale down with the amplifier where it has not the true shape."""
        rows, columns, before = _LIT[sensor.vendor]
        return cls(
            max(1, rows * shape[0] // AMPLIFIER_SHAPE[0]),
            max(1, columns * shape[1] // AMPLIFIER_SHAPE[1]),
            before * shape[1] // AMPLIFIER_SHAPE[1],
        )


@dataclass(frozen=True, slots=True)
class _Transform:
    """Camera x = c1 + p1 * row, camera y = c2 + p2 * column, both in pixels."""

    p1: float
    p2: float
    c1: float
    c2: float

    def moved(self, x: float, y: float) -> _Transform:
        return _Transform(self.p1, self.p2, self.c1 + x, self.c2 + y)


def detector_size(sensor: Sensor) -> str:
    """Return DETSIZE: the pixels of a sensor that see light."""
    rows, columns, _ = _LIT[sensor.vendor]
    high = rows if sensor.kind is ImageKind.WAVEFRONT else 2 * rows
    return f"[1:{_PER_ROW * columns},1:{high}]"


@lru_cache(maxsize=256)
def segment_cards(sensor: Sensor, shape: Shape) -> tuple[bytes, ...]:
    """Return the cards of each amplifier, in the order of the HDUs.

    They are the same in every file of a sensor.
    """
    return tuple(
        b"".join(_segment(sensor, shape, name, channel))
        for channel, name in enumerate(sensor.segments, start=1)
    )


def _segment(sensor: Sensor, shape: Shape, name: str, channel: int) -> Iterator[bytes]:
    lit = _Lit.of(sensor, shape)
    column, upper = int(name[-1]), name[-2] == "1"
    forward = not upper and sensor.vendor == "E2V"
    low, high = column * lit.columns + 1, (column + 1) * lit.columns
    across = f"{low}:{high}" if forward else f"{high}:{low}"
    along = f"1:{lit.rows}" if upper else f"{2 * lit.rows}:{lit.rows + 1}"
    start = low - 1 - lit.before if forward else high + lit.before + 1
    yield card("CHANNEL", channel, "readout channel")
    yield card("EXTNAME", name)
    yield card("CCDSUM", "1 1", "binning")
    yield card("DATASEC", f"[{lit.before + 1}:{lit.before + lit.columns},1:{lit.rows}]")
    yield card("DETSEC", f"[{across},{along}]")
    yield card("DETSIZE", detector_size(sensor))
    yield card("DTV1", start, "detector transformation vector")
    yield card("DTV2", 0 if upper else 2 * lit.rows + 1, "detector transformation vector")
    yield card("DTM1_1", 1.0 if forward else -1.0, "detector transformation matrix")
    yield card("DTM2_2", 1.0 if upper else -1.0, "detector transformation matrix")
    yield card("DTM1_2", 0.0, "detector transformation matrix")
    yield card("DTM2_1", 0.0, "detector transformation matrix")
    ccd = _Transform(
        p1=-1.0 if upper else 1.0,
        p2=1.0 if forward else -1.0,
        c1=2.0 * lit.rows + 1 if upper else 0.0,
        c2=float(start),
    )
    yield section("Coordinate systems")
    yield from _systems(sensor, lit, ccd, amplifier_offset=-column * lit.columns, upper=upper)
    yield card("INHERIT", True, "values of the primary header hold here")


def _systems(
    sensor: Sensor, lit: _Lit, ccd: _Transform, *, amplifier_offset: float, upper: bool
) -> Iterator[bytes]:
    amplifier = ccd.moved(-lit.rows if upper else 0.0, amplifier_offset)
    raft = ccd.moved(*_ccd_in_raft(sensor))
    plane = raft.moved(*(place * _RAFT_PITCH for place in sensor.raft_place))
    yield from _system("A", "AMPLIFIER", "Seg", amplifier)
    yield from _system("C", "CCD", "CCD", ccd)
    yield from _system("R", "RAFT", "RAFT", raft)
    yield from _system("F", "FOCAL_PLANE", "FP", plane)
    yield from _serial_parallel("E", "FP", plane)
    yield from _serial_parallel("B", "CCD", ccd)
    yield from _serial_parallel("Q", "RAFT", raft)


def _ccd_in_raft(sensor: Sensor) -> tuple[float, float]:
    rows, columns, _ = _LIT[sensor.vendor]
    size = (2.0 * rows, float(_PER_ROW * columns))
    x, y = (
        _RAFT_MARGIN + place * _CCD_PITCH + (_CCD_PITCH - length) / 2
        for place, length in zip(sensor.slot_place, size, strict=True)
    )
    return x, y


def _system(letter: str, name: str, axis: str, transform: _Transform) -> Iterator[bytes]:
    yield card(f"WCSNAME{letter}", name, "coordinate system")
    yield card(f"CTYPE1{letter}", f"{axis}_X", "of the camera")
    yield card(f"CTYPE2{letter}", f"{axis}_Y", "of the camera")
    yield from _linear(letter, (0.0, transform.p1, transform.p2, 0.0), transform.c1, transform.c2)


def _serial_parallel(letter: str, axis: str, transform: _Transform) -> Iterator[bytes]:
    yield card(f"WCSNAME{letter}", f"{axis}_SERPAR", "coordinate system")
    yield card(f"CTYPE1{letter}", f"{axis}_S", "along the serial register")
    yield card(f"CTYPE2{letter}", f"{axis}_P", "along the columns")
    yield from _linear(letter, (transform.p2, 0.0, 0.0, transform.p1), transform.c2, transform.c1)


def _linear(
    letter: str, matrix: tuple[float, float, float, float], value1: float, value2: float
) -> Iterator[bytes]:
    for place, element in zip(("1_1", "1_2", "2_1", "2_2"), matrix, strict=True):
        yield card(f"PC{place}{letter}", element)
    yield card(f"CDELT1{letter}", 1.0)
    yield card(f"CDELT2{letter}", 1.0)
    yield card(f"CRPIX1{letter}", 0.0)
    yield card(f"CRPIX2{letter}", 0.0)
    yield card(f"CRVAL1{letter}", value1)
    yield card(f"CRVAL2{letter}", value2)
