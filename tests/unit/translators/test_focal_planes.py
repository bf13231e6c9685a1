"""Detectors and filters of the instruments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from translators.errors import InstrumentDataError, UnknownDetectorError
from translators.focalplane import Detector, detector_by_name, detectors, physical_filters
from translators.identity import ImageKind
from translators.instruments import instrument, instrument_names, instrument_of
from translators.plugin import TRANSLATORS

CORNERS = ("00", "04", "40", "44")
SCIENCE_RAFTS = [
    f"{row}{column}" for row in range(5) for column in range(5) if f"{row}{column}" not in CORNERS
]


def test_lsstcam_has_205_detectors_numbered_as_the_butler_does() -> None:
    expected = [
        f"R{raft}_S{row}{column}"
        for raft in SCIENCE_RAFTS
        for row in range(3)
        for column in range(3)
    ]
    expected += [f"R{raft}_{sensor}" for raft in CORNERS for sensor in ("SG0", "SG1", "SW0", "SW1")]

    found = detectors("LSSTCam")

    assert [detector.name for detector in found] == expected
    assert [detector.id for detector in found] == list(range(205))
    assert Counter(detector.kind for detector in found) == {
        ImageKind.SCIENCE: 189,
        ImageKind.GUIDER: 8,
        ImageKind.WAVEFRONT: 8,
    }
    assert Counter(detector.physical_type for detector in found) == {
        "E2V": 117,
        "ITL": 72,
        "ITL_G": 8,
        "ITL_WF": 8,
    }


@pytest.mark.parametrize(
    ("name", "number"),
    [("R22_S11", 94), ("R22_S22", 98), ("R00_SG0", 189), ("R44_SW1", 204), ("R01_S00", 0)],
)
def test_detector_by_name(name: str, number: int) -> None:
    detector = detector_by_name("LSSTCam", name)

    assert (detector.id, detector.name) == (number, name)
    assert f"{detector.raft}_{detector.sensor}" == name


def test_places_in_the_focal_plane() -> None:
    centre = detector_by_name("LSSTCam", "R22_S11")
    assert (centre.x_mm, centre.y_mm, centre.yaw_deg) == (0, 0, 0)
    assert (centre.width_px, centre.height_px) == (4096, 4004)
    corner = detector_by_name("LSSTCam", "R34_S20")
    assert (corner.x_mm, corner.y_mm) == (254 - 42.25, 127 + 42.25)


def area_mm(detector: Detector) -> tuple[float, float, float, float]:
    width, height = detector.width_px * 0.01, detector.height_px * 0.01
    if detector.yaw_deg in {90, 270}:
        width, height = height, width
    x, y = detector.x_mm, detector.y_mm
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def test_science_rafts_and_sensors_stand_on_a_grid() -> None:
    for detector in detectors("LSSTCam"):
        if detector.kind is ImageKind.SCIENCE:
            row, column = int(detector.name[1]), int(detector.name[2])
            sensor_row, sensor_column = int(detector.name[5]), int(detector.name[6])
            assert detector.x_mm == 127 * (column - 2) + 42.25 * (sensor_column - 1)
            assert detector.y_mm == 127 * (row - 2) + 42.25 * (sensor_row - 1)
            assert detector.id == 9 * SCIENCE_RAFTS.index(f"{row}{column}") + (
                3 * sensor_row + sensor_column
            )


def test_makers_of_rafts_and_sizes_of_sensors() -> None:
    makers: dict[str, set[str]] = {}
    for detector in detectors("LSSTCam"):
        if detector.kind is ImageKind.SCIENCE:
            makers.setdefault(detector.physical_type, set()).add(str(detector.raft))
    assert makers["ITL"] == {"R01", "R02", "R03", "R10", "R20", "R41", "R42", "R43"}
    assert len(makers["E2V"]) == 13
    sizes = {
        (each.kind, each.physical_type, each.width_px, each.height_px)
        for each in detectors("LSSTCam")
    }
    assert sizes == {
        (ImageKind.SCIENCE, "E2V", 4096, 4004),
        (ImageKind.SCIENCE, "ITL", 4072, 4000),
        (ImageKind.GUIDER, "ITL_G", 4072, 4000),
        (ImageKind.WAVEFRONT, "ITL_WF", 4072, 2000),
    }


def test_corners_are_numbered_after_the_science_sensors() -> None:
    numbers = {
        f"{raft}_{sensor}": detector_by_name("LSSTCam", f"{raft}_{sensor}").id
        for raft in ("R00", "R04", "R40", "R44")
        for sensor in ("SG0", "SG1", "SW0", "SW1")
    }
    assert list(numbers.values()) == list(range(189, 205))


def test_no_two_detectors_lie_on_each_other() -> None:
    areas = [(detector.name, area_mm(detector)) for detector in detectors("LSSTCam")]
    for index, (name, (left, bottom, right, top)) in enumerate(areas):
        for other, (left2, bottom2, right2, top2) in areas[index + 1 :]:
            apart = right <= left2 or right2 <= left or top <= bottom2 or top2 <= bottom
            assert apart, f"{name} and {other}"


def test_corner_rafts_are_one_raft_turned_by_quarters() -> None:
    for sensor in ("SG0", "SG1", "SW0", "SW1"):
        places = {}
        for raft, turn in (("R44", 0), ("R40", 90), ("R00", 180), ("R04", 270)):
            detector = detector_by_name("LSSTCam", f"{raft}_{sensor}")
            places[turn] = (detector.x_mm, detector.y_mm, detector.yaw_deg)
        x, y, yaw = places[0]
        assert places[90] == (-y, x, (yaw + 90) % 360)
        assert places[180] == (-x, -y, (yaw + 180) % 360)
        assert places[270] == (y, -x, (yaw + 270) % 360)


@pytest.mark.parametrize("name", ["LSSTComCam", "LSSTComCamSim"])
def test_comcam_is_one_raft(name: str) -> None:
    found = detectors(name)

    assert [detector.name for detector in found] == [
        f"R22_S{row}{column}" for row in range(3) for column in range(3)
    ]
    assert [detector.id for detector in found] == list(range(9))


def test_latiss_is_one_detector_without_a_raft() -> None:
    (detector,) = detectors("LATISS")

    assert (detector.id, detector.name) == (0, "RXX_S00")
    assert (detector.raft, detector.sensor) == (None, "RXX_S00")
    assert detector_by_name("LATISS", "R00_S00") is detector


def test_simulated_lsstcam_has_the_focal_plane_and_filters_of_the_real_one() -> None:
    assert detectors("LSSTCamSim") == detectors("LSSTCam")
    assert physical_filters("LSSTCamSim") == physical_filters("LSSTCam")


def test_lsstcam_filters_on_the_sky() -> None:
    bands = {each.name: each.band for each in physical_filters("LSSTCam")}

    assert {name: band for name, band in bands.items() if band in set("ugrizy")} == {
        "u_24": "u",
        "g_6": "g",
        "r_57": "r",
        "i_39": "i",
        "z_20": "z",
        "y_10": "y",
    }
    assert {name for name, band in bands.items() if band == "white"} == {
        "ph_5",
        "ef_43",
        "empty",
        "none",
    }
    assert bands["unknown"] == "unknown"


def test_latiss_filters_are_combined_with_gratings() -> None:
    bands = {each.name: each.band for each in physical_filters("LATISS")}

    assert len(bands) == 707
    assert bands["SDSSr_65mm~empty"] == "r"
    assert bands["empty~SDSSg_65mm"] == "g"
    assert bands["empty~holo4_003"] == "white"
    assert bands["unknown~unknown"] == "unknown"
    assert "diffuser~empty" not in bands
    assert "BG40~SDSSg_65mm" not in bands


@pytest.mark.parametrize("name", instrument_names())
def test_names_and_ids_are_unique(name: str) -> None:
    found = detectors(name)
    assert len({detector.name for detector in found}) == len(found)
    assert len({detector.id for detector in found}) == len(found)
    filters = physical_filters(name)
    assert len({each.name for each in filters}) == len(filters)


def test_every_instrument_has_its_translator_and_back() -> None:
    assert set(TRANSLATORS) == set(instrument_names())
    assert {name: instrument(name).translator for name in TRANSLATORS} == {
        name: translator.name for name, translator in TRANSLATORS.items()
    }


def test_unknown_names_are_said() -> None:
    with pytest.raises(UnknownDetectorError, match="no detector 'R22_S33'"):
        detector_by_name("LSSTCam", "R22_S33")
    with pytest.raises(InstrumentDataError, match=r"no instrument 'MegaCam'; known are .*LATISS"):
        detectors("MegaCam")


def test_header_of_nobody_is_of_no_instrument() -> None:
    assert instrument_of({}) is None
    assert instrument_of({"INSTRUME": "ComCam"}) is None


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "config" / "instruments" / "Toy"
    folder.mkdir(parents=True)
    monkeypatch.setattr("translators.instruments.config_root", lambda: tmp_path / "config")
    instrument.cache_clear()
    instrument_names.cache_clear()
    yield folder
    instrument.cache_clear()
    instrument_names.cache_clear()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: Toy", "telescope"),
        ("name: [", "instrument.yaml"),
        ("", "instrument.yaml"),
    ],
)
def test_wrong_data_of_an_instrument_are_refused_with_the_file(
    own_config: Path, content: str, says: str
) -> None:
    (own_config / "instrument.yaml").write_text(content)

    with pytest.raises(InstrumentDataError, match=says):
        instrument("Toy")


TOY = """
name: {name}
telescope: Dome
translator: Toy
recognise: [{{INSTRUME: [toy]}}]
camera_codes: [TY]
files: {{hdus: {{science: 1}}, checksums: false}}
filters: [{{name: r, band: r}}]
focal_plane:
  sensors: {{CCD: {{width_px: 100, height_px: 100}}}}
  layouts: {{ONE: [{{name: S00, id: 0, kind: science, type: {type}, at_mm: [0, 0]}}]}}
  rafts:
    - {{name: R00, layout: {layout}, first_id: 0, at_mm: [0, 0]}}
{more}
"""


def test_instrument_is_data_only(own_config: Path) -> None:
    (own_config / "instrument.yaml").write_text(
        TOY.format(name="Toy", type="CCD", layout="ONE", more="")
    )

    assert instrument_names() == ("Toy",)
    assert instrument("Toy").recognises({"INSTRUME": "TOY"})
    assert instrument("Toy").raw_run == "Toy/raw/all"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Other"}, "folder and name must agree"),
        ({"type": "CMOS"}, "CMOS"),
        ({"layout": "TWO"}, "TWO"),
        ({"more": "    - {name: R01, layout: ONE, first_id: 0, at_mm: [9, 9]}"}, "same number"),
        ({"more": "  aliases: {R07_S00: R77_S00}"}, "R77_S00"),
    ],
)
def test_instrument_whose_data_do_not_fit_together_is_refused(
    own_config: Path, changes: dict[str, str], says: str
) -> None:
    values = {"name": "Toy", "type": "CCD", "layout": "ONE", "more": ""} | changes
    (own_config / "instrument.yaml").write_text(TOY.format(**values))

    with pytest.raises(InstrumentDataError, match=says):
        instrument("Toy")
