"""Nominal world coordinates of each sensor, against astropy's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from headerservice.quality import Resolved, fixed, missing
from headerservice.render import to_fits_text
from headerservice.rules import Value
from headerservice.sensors import Hdu, SensorTable
from headerservice.wcs import Boresight, boresight_of, wcs_cards, with_wcs
from headerservice.wcs_data import NominalWcs
from tests.unit.headerservice.rig import lsstcam
from translators.focalplane import Detector, detector_by_name, detectors

RA, DEC = 53.0, -28.1
ARCSEC = 1 / 3600
ANGLES = [0.0, 30.0, 90.0, 137.5, 180.0, 270.0, -45.0]


def plan() -> NominalWcs:
    found = lsstcam().wcs
    assert found is not None
    return found


def coordinates(hdu: Hdu, detector: Detector) -> WCS:
    """Return what astropy makes of the cards as FITS text."""
    text = to_fits_text((hdu,)).decode("ascii").splitlines()[:-1]
    header = fits.Header.fromstring("".join(text))
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, detector.width_px, detector.height_px
    return WCS(header, fix=False)


def of_sensor(name: str, angle: float, scheme: NominalWcs | None = None) -> tuple[WCS, Detector]:
    detector = detector_by_name("LSSTCam", name)
    cards = wcs_cards(detector, scheme or plan(), Boresight(RA, DEC, angle, "ICRS"))
    return coordinates(Hdu("PRIMARY", cards), detector), detector


def centre(wcs: WCS, detector: Detector) -> SkyCoord:
    return wcs.pixel_to_world((detector.width_px - 1) / 2, (detector.height_px - 1) / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_middle_of_the_focal_plane_looks_along_the_boresight(angle: float) -> None:
    sky = centre(*of_sensor("R22_S11", angle))
    assert sky.separation(SkyCoord(RA, DEC, unit="deg")).arcsec < 1e-3


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("name", ["R22_S21", "R32_S11", "R43_S22", "R44_SG0", "R00_SW1"])
def test_the_centre_of_a_sensor_is_where_the_position_angle_takes_it(
    name: str, angle: float
) -> None:
    sky = centre(*of_sensor(name, angle))
    detector = detector_by_name("LSSTCam", name)
    boresight = SkyCoord(RA, DEC, unit="deg")
    # +y of the focal plane has the position angle of the header, +x is 90 degrees further east.
    turn = math.degrees(math.atan2(detector.x_mm, detector.y_mm))
    away = math.hypot(detector.x_mm, detector.y_mm) * 20.0 * ARCSEC
    offset = math.degrees(math.atan(math.radians(away)))  # on a tangent plane
    expected = boresight.directional_offset_by((angle + turn) * _DEG, offset * _DEG)
    assert sky.separation(expected).arcsec < 0.01


_DEG = SkyCoord(0, 0, unit="deg").ra.unit


@pytest.mark.parametrize("angle", ANGLES)
def test_rows_run_along_the_position_angle_and_columns_to_its_east(angle: float) -> None:
    wcs, detector = of_sensor("R22_S11", angle)
    here = centre(wcs, detector)
    x, y = (detector.width_px - 1) / 2, (detector.height_px - 1) / 2
    for step, expected in (((0, 1), angle), ((1, 0), angle + 90.0)):
        there = wcs.pixel_to_world(x + step[0], y + step[1])
        assert here.separation(there).arcsec == pytest.approx(0.2, rel=1e-6)
        found = here.position_angle(there).deg
        assert abs((found - expected + 180) % 360 - 180) < 1e-3


def test_a_mirrored_focal_plane_has_its_columns_to_the_west() -> None:
    wcs, detector = of_sensor("R22_S11", 0.0, plan().model_copy(update={"mirrored": True}))
    here = centre(wcs, detector)
    x, y = (detector.width_px - 1) / 2, (detector.height_px - 1) / 2
    assert here.position_angle(wcs.pixel_to_world(x + 1, y)).deg == pytest.approx(270, abs=1e-3)
    assert here.position_angle(wcs.pixel_to_world(x, y + 1)).deg % 360 == pytest.approx(0, abs=1e-3)


def test_a_turned_sensor_has_its_pixels_turned_with_it() -> None:
    detector = detector_by_name("LSSTCam", "R44_SG0")
    assert detector.yaw_deg == 270
    wcs, _ = of_sensor("R44_SG0", 0.0)
    here = centre(wcs, detector)
    x, y = (detector.width_px - 1) / 2, (detector.height_px - 1) / 2
    # Its +x is the focal plane's -y: to the south, but for the convergence of meridians.
    found = here.position_angle(wcs.pixel_to_world(x + 1, y)).deg
    assert found == pytest.approx(180, abs=2)


def test_neighbours_do_not_overlap_and_leave_the_gap_of_the_focal_plane() -> None:
    left, left_detector = of_sensor("R22_S10", 30.0)
    right, _ = of_sensor("R22_S11", 30.0)
    edge = left.pixel_to_world(left_detector.width_px - 1, 2000)
    x, y = right.world_to_pixel(edge)
    gap_px = 42.25 / 0.01 - left_detector.width_px
    assert float(x) == pytest.approx(-1 - gap_px, abs=1e-3)
    assert float(y) == pytest.approx(2000, abs=1e-3)


def test_all_sensors_have_coordinates_and_stand_where_the_focal_plane_says() -> None:
    plane = detectors("LSSTCam")
    names = tuple(each.name.replace("_", "") for each in plane)
    table = SensorTable(names, tuple(Hdu(f"{name}_PRIMARY", ()) for name in names), ())
    hdus, findings = with_wcs(table, plan(), Boresight(RA, DEC, 12.5, "ICRS"), instrument="LSSTCam")
    assert findings == ()
    assert len(hdus) == 205
    boresight = SkyCoord(RA, DEC, unit="deg")
    for detector, hdu in zip(plane, hdus, strict=True):
        assert sum("nominal" in card.comment for card in hdu.cards) >= 8
        sky = centre(coordinates(hdu, detector), detector)
        away = np.hypot(detector.x_mm, detector.y_mm) * 20.0 * ARCSEC
        expected = np.degrees(np.arctan(np.radians(away)))
        assert boresight.separation(sky).deg == pytest.approx(expected, abs=1e-6)


def test_a_sensor_that_the_focal_plane_has_not_is_told_and_keeps_its_header() -> None:
    table = SensorTable(
        ("R22S11", "R99S99"), (Hdu("R22S11_PRIMARY", ()), Hdu("R99S99_PRIMARY", ())), ()
    )
    hdus, (finding,) = with_wcs(
        table, plan(), Boresight(RA, DEC, 0.0, "ICRS"), instrument="LSSTCam"
    )
    assert hdus[1].cards == ()
    assert "R99S99" in finding.sentence
    hdus, (finding,) = with_wcs(
        table, plan(), Boresight(RA, DEC, 0.0, "ICRS"), instrument="Nowhere"
    )
    assert hdus == table.hdus


POINTING: dict[str, Value] = {
    "RA": RA,
    "DEC": DEC,
    "ROTPA": 10.0,
    "RADESYS": "ICRS",
    "TRACKSYS": "RADEC",
}


def test_where_the_camera_looks_comes_from_the_header() -> None:
    values = {name: fixed(value) for name, value in POINTING.items()}
    scheme = plan().model_copy(update={"offset_deg": 90.0})
    assert boresight_of(scheme, values) == Boresight(RA, DEC, 100.0, "ICRS")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RA", missing("too old")),
        ("ROTPA", missing("")),
        ("DEC", fixed("south")),
        ("RADESYS", fixed("AZEL")),
        ("RADESYS", missing("")),
        ("TRACKSYS", fixed("AZEL")),
        ("TRACKSYS", missing("")),
    ],
)
def test_without_a_pointing_on_the_sky_there_are_no_coordinates(
    keyword: str, value: Resolved
) -> None:
    values = {name: fixed(said) for name, said in POINTING.items()} | {keyword: value}
    told = boresight_of(plan(), values)
    assert isinstance(told, str)
    assert keyword in told
