"""The camera's files, asked of everybody who reads FITS."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

from daemons.simulators.camera_events import end_of_image_telemetry
from daemons.simulators.fits_bodies import STAMP_SHAPE, VARIANTS, BodyLibrary, pixels
from daemons.simulators.fits_primary import GUIDER_ABSENT
from daemons.simulators.fits_writer import (
    RenderedFile,
    expected_sensors,
    render,
    render_uncompressed,
)
from daemons.simulators.focal_plane import Sensor, choose_sensors, sensors
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.image import Image
from daemons.simulators.night import ImageType, Night
from tests.support.tools import needed_tool
from translators.inspect import inspect_file
from translators.inspection import Verdict
from translators.sidecar import header_from_sidecar
from translators.translate import translate

UPPER = [f"Segment1{column}" for column in range(8)]
LOWER = [f"Segment0{column}" for column in range(7, -1, -1)]


_PACKAGES = {"fitsverify": "fitsverify", "funpack": "libcfitsio-bin"}


def _tool(name: str) -> str:
    return needed_tool(name, _PACKAGES.get(name, name))


def _image(night: Night, kind: ImageType) -> Image:
    exposure = next(each for each in night.exposures if each.image_type is kind)
    return Image.from_event(end_of_image_telemetry(exposure), exposure.filter.name)


@pytest.fixture
def science(night: Night) -> Image:
    return _image(night, ImageType.OBJECT)


def _sensor(name: str) -> Sensor:
    return sensors()[name]


def _written(file: RenderedFile, folder: Path) -> Path:
    path = folder / file.name
    path.write_bytes(b"".join(file.buffers))
    assert path.stat().st_size == file.size_bytes
    return path


def _verify(path: Path) -> None:
    """Ask cfitsio's fitsverify: no error and no warning."""
    report = subprocess.run(
        [_tool("fitsverify"), str(path)], capture_output=True, text=True, check=False
    )
    assert "found 0 warning(s) and 0 error(s)" in report.stdout, report.stdout[-3000:]


def _names(path: Path) -> list[str]:
    with fits.open(path, disable_image_compression=True) as hdus:
        return [hdu.name for hdu in hdus]


FILES = [
    ("R22_S11", ImageType.OBJECT),
    ("R01_S20", ImageType.OBJECT),
    ("R22_S00", ImageType.BIAS),
    ("R10_S12", ImageType.DARK),
    ("R33_S21", ImageType.FLAT),
    ("R44_SW0", ImageType.OBJECT),
    ("R00_SW1", ImageType.FLAT),
    ("R04_SG1", ImageType.OBJECT),
]


@pytest.fixture(params=FILES, ids=lambda each: f"{each[0]}-{each[1].lower()}")
def file_and_sensor(
    request: pytest.FixtureRequest,
    night: Night,
    header: HeaderDocument,
    tiny_bodies: BodyLibrary,
) -> tuple[RenderedFile, Sensor]:
    name, kind = request.param
    sensor = _sensor(name)
    return render(_image(night, kind), sensor, header, tiny_bodies, most_stamps=5), sensor


def test_cfitsio_finds_nothing_wrong(
    file_and_sensor: tuple[RenderedFile, Sensor], tmp_path: Path
) -> None:
    file, _ = file_and_sensor
    _verify(_written(file, tmp_path))


def test_astropy_finds_nothing_wrong(
    file_and_sensor: tuple[RenderedFile, Sensor], tmp_path: Path
) -> None:
    path = _written(file_and_sensor[0], tmp_path)
    with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.verify("exception")
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
    report = subprocess.run(
        # It takes the checksums of compressed HDUs for missing, also in astropy's own files.
        [_tool("fitscheck"), "--compliance", "--ignore-missing", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stderr


def test_our_own_inspection_finds_nothing_wrong(
    file_and_sensor: tuple[RenderedFile, Sensor], tmp_path: Path
) -> None:
    found = inspect_file(_written(file_and_sensor[0], tmp_path))
    assert found.findings == ()
    assert all(hdu.checksum is hdu.datasum is Verdict.GOOD for hdu in found.hdus)


def test_a_sidecar_is_the_primary_header(
    file_and_sensor: tuple[RenderedFile, Sensor], tmp_path: Path
) -> None:
    file, _ = file_and_sensor
    name, content = file.sidecar
    assert name == file.name.replace(".fits", ".json")
    assert content.split(b"\n")[1].strip() == b'"__CONTENT__": "metadata",'
    assert header_from_sidecar(content) == inspect_file(_written(file, tmp_path)).primary


def test_a_detector_has_the_camera_s_hdus(
    science: Image, header: HeaderDocument, tiny_bodies: BodyLibrary, tmp_path: Path
) -> None:
    for name, segments in (
        ("R22_S11", UPPER + LOWER),
        ("R01_S00", UPPER + LOWER),
        ("R40_SW1", UPPER),
    ):
        path = _written(render(science, _sensor(name), header, tiny_bodies), tmp_path)
        assert _names(path) == ["PRIMARY", *segments, "REB_COND", "CONFIG_COND"]


@pytest.mark.parametrize("kind", list(ImageType))
def test_pixels_are_unpacked_as_they_were(
    night: Night, tiny_bodies: BodyLibrary, tmp_path: Path, kind: ImageType
) -> None:
    image, sensor = _image(night, kind), _sensor("R22_S11")
    path = _written(render(image, sensor, None, tiny_bodies), tmp_path)
    with fits.open(path) as hdus:
        for channel in range(16):
            variant = (image.seq_num + sensor.number + channel) % VARIANTS
            hdu = hdus[1 + channel]
            assert hdu.data.dtype == np.dtype("int32")
            np.testing.assert_array_equal(hdu.data, pixels(kind, variant, tiny_bodies.shape))


def test_neighbouring_amplifiers_and_exposures_differ(
    science: Image, tiny_bodies: BodyLibrary
) -> None:
    sensor = _sensor("R22_S11")
    one = render(science, sensor, None, tiny_bodies)
    next_one = render(replace(science, seq_num=science.seq_num + 1), sensor, None, tiny_bodies)
    assert one.buffers[2] != one.buffers[4]
    assert one.buffers[2] != next_one.buffers[2]


def test_unpacking_gives_the_uncompressed_file_to_the_byte(
    science: Image, header: HeaderDocument, tiny_bodies: BodyLibrary, tmp_path: Path
) -> None:
    sensor = _sensor("R22_S11")
    packed = _written(render(science, sensor, header, tiny_bodies), tmp_path)
    unpacked = tmp_path / "unpacked.fits"
    subprocess.run(
        [_tool("funpack"), "-C", "-O", str(unpacked), str(packed)], check=True, capture_output=True
    )
    raw = render_uncompressed(science, sensor, header, tiny_bodies)
    assert unpacked.read_bytes() == b"".join(raw.buffers)
    _verify(unpacked)


@pytest.mark.slow
def test_a_file_of_true_size_is_valid(
    science: Image, header: HeaderDocument, true_bodies: BodyLibrary, tmp_path: Path
) -> None:
    path = _written(render(science, _sensor("R22_S11"), header, true_bodies), tmp_path)
    assert 15e6 < path.stat().st_size < 22e6
    _verify(path)
    with fits.open(path, checksum=True) as hdus:
        assert 120 <= len(hdus[0].header) <= 150
        assert hdus["Segment17"].data.shape == (2048, 576)
        assert hdus["Segment17"].header["DATASEC"] == "[11:522,1:2002]"
    with fits.open(path, disable_image_compression=True) as hdus:
        segment = hdus["Segment17"].header
        assert (segment["ZBITPIX"], segment["ZTILE1"], segment["ZTILE2"]) == (32, 576, 1)
        assert (segment["ZCMPTYPE"], segment["ZVAL1"], segment["ZVAL2"]) == ("RICE_1", 32, 4)
        assert {"ZHECKSUM", "ZDATASUM", "CHECKSUM", "DATASUM"} <= set(segment)
        assert len(hdus["REB_COND"].header) > 95
    assert inspect_file(path).findings == ()


@pytest.mark.parametrize(
    ("name", "segment", "expected"),
    [
        (
            "R22_S22",
            "Segment10",
            {
                "DATASEC": "[11:522,1:2002]",
                "DETSEC": "[512:1,1:2002]",
                "DETSIZE": "[1:4096,1:4004]",
                "DTV1": 523,
                "DTV2": 0,
                "CRVAL1A": 2003.0,
                "CRVAL2A": 523.0,
                "CRVAL1C": 4005.0,
                "CRVAL2C": 523.0,
                "CRVAL2R": 9050.0,
                "CRVAL2F": 34450.0,
                "CRVAL1E": 34450.0,
                "PC1_1E": -1.0,
                "PC1_2F": -1.0,
            },
        ),
        (
            "R22_S22",
            "Segment05",
            {
                "DETSEC": "[2561:3072,4004:2003]",
                "DTV1": 2550,
                "DTV2": 4005,
                "DTM1_1": 1.0,
                "DTM2_2": -1.0,
                "CRVAL1A": 0.0,
                "CRVAL2A": -10.0,
                "CRVAL2C": 2550.0,
                "PC1_2C": 1.0,
                "PC2_1C": 1.0,
            },
        ),
        (
            "R02_S01",
            "Segment15",
            {
                "DATASEC": "[4:512,1:2000]",
                "DETSEC": "[3054:2546,1:2000]",
                "DETSIZE": "[1:4072,1:4000]",
                "DTV1": 3058,
                "CRVAL1C": 4001.0,
                "CRVAL1R": 4126.0,
                "CRVAL2R": 7372.0,
                "CRVAL1B": 3058.0,
            },
        ),
        (
            "R02_S01",
            "Segment00",
            {
                "DETSEC": "[509:1,4000:2001]",
                "DTV1": 513,
                "DTV2": 4001,
                "DTM1_1": -1.0,
                "CRVAL1A": 0.0,
                "CRVAL2A": 513.0,
                "PC1_2C": 1.0,
                "PC2_1C": -1.0,
            },
        ),
        ("R00_SW0", "Segment17", {"DETSIZE": "[1:4072,1:2000]", "DETSEC": "[4072:3564,1:2000]"}),
    ],
)
def test_amplifiers_are_where_they_are_on_the_real_camera(
    science: Image,
    true_bodies: BodyLibrary,
    tmp_path: Path,
    name: str,
    segment: str,
    expected: dict[str, object],
) -> None:
    path = _written(render(science, _sensor(name), None, true_bodies), tmp_path)
    with fits.open(path, disable_image_compression=True) as hdus:
        header = hdus[segment].header
        assert {keyword: header[keyword] for keyword in expected} == expected


def test_a_guider_has_its_stamps(
    science: Image, header: HeaderDocument, tiny_bodies: BodyLibrary, tmp_path: Path
) -> None:
    file = render(science, _sensor("R00_SG0"), header, tiny_bodies, most_stamps=7)
    assert file.name == f"{science.obs_id}_R00_SG0_guider.fits"
    path = _written(file, tmp_path)
    with fits.open(path) as hdus:
        assert len(hdus) == 8
        primary = hdus[0].header
        assert primary["N_STAMPS"] == 7
        assert (primary["ROIROWS"], primary["ROICOLS"]) == STAMP_SHAPE
        assert not GUIDER_ABSENT & set(primary)
        assert primary["IMGTYPE"] == "UNKNOWN"
        assert isinstance(primary["FILTPOS"], str)
        times = [hdu.header["STMPTIME"] for hdu in hdus[1:]]
        assert times == sorted(times)
        assert [hdu.ver for hdu in hdus[1:]] == list(range(1, 8))
        assert all(hdu.data.shape == STAMP_SHAPE for hdu in hdus[1:])


def test_a_guider_has_as_many_stamps_as_fit_the_exposure(
    science: Image, tiny_bodies: BodyLibrary
) -> None:
    short = replace(science, exposure_time_s=1.5)
    file = render(short, _sensor("R00_SG0"), None, tiny_bodies)
    assert header_from_sidecar(file.sidecar[1])["N_STAMPS"] == 10


def test_keywords_come_from_their_owners(
    science: Image, header: HeaderDocument, tiny_bodies: BodyLibrary
) -> None:
    spoilt = HeaderDocument(
        {
            **header.primary,
            "OBSID": HeaderCard("MC_O_19990101_000001", ""),
            "BITPIX": HeaderCard(16, ""),
        },
        header.sensors,
    )
    file = render(science, _sensor("R22_S11"), spoilt, tiny_bodies)
    primary = header_from_sidecar(file.sidecar[1])
    assert primary["OBSID"] == science.obs_id
    assert primary["DAYOBS"] == science.day_obs
    assert primary["SEQNUM"] == science.seq_num
    assert primary["BITPIX"] == 8
    assert primary["INSTRUME"] == "lsstCam"
    assert primary["RASTART"] == 12.50001
    assert primary["OBJECT"] == "O'Higgins field"
    assert primary["ROTSTART"] == 31.5
    assert primary["SIMULATE MTDOMETRAJECTORY"] == 1
    assert primary["CCDTEMP"] == -99.5
    assert primary["DATE-BEG"] == primary["DATE-OBS"] < primary["DATE-END"]
    assert Time(primary["DATE-END"], scale="tai").mjd == pytest.approx(primary["MJD-END"])
    assert Time(primary["DATE"], scale="utc").mjd == pytest.approx(primary["MJD"])
    assert (
        abs(Time(primary["DATE"], scale="utc") - Time(primary["DATE-END"], scale="tai")) < 1 * u.ms
    )
    other = render(science, _sensor("R22_S12"), spoilt, tiny_bodies)
    assert "CCDTEMP" not in header_from_sidecar(other.sidecar[1])


def test_a_lost_header_leaves_undefined_values(
    science: Image, header: HeaderDocument, tiny_bodies: BodyLibrary, tmp_path: Path
) -> None:
    file = render(science, _sensor("R22_S11"), None, tiny_bodies)
    found = inspect_file(_written(file, tmp_path))
    assert found.findings == ()
    layout = set(header.primary) - {"SIMULATE MTDOMETRAJECTORY", "ROTSTART", "TEMP_SET"}
    undefined = {keyword for keyword, value in found.primary.items() if value is None}
    assert layout <= undefined
    assert found.primary["OBSID"] == science.obs_id
    report = subprocess.run(
        [_tool("fitsverify"), str(tmp_path / file.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in report.stdout.splitlines() if line.startswith("*** ")]
    assert complaints
    assert all("has a null value" in line for line in complaints)


@pytest.mark.parametrize("kind", [ImageType.OBJECT, ImageType.BIAS])
def test_files_are_translated(
    night: Night, header: HeaderDocument, tiny_bodies: BodyLibrary, kind: ImageType
) -> None:
    image = _image(night, kind)
    for sensor in choose_sensors(["R22_S11", "R01_S00", "R44_SW0"], guiders=False):
        file = render(image, sensor, header, tiny_bodies)
        told = translate(header_from_sidecar(file.sidecar[1]), file_name=file.name)
        assert told.findings == ()
        assert told.identity.obs_id == image.obs_id
        assert told.identity.detector == sensor.number
        assert told.identity.kind is sensor.kind
        assert told.observation is not None


def _bytes(files: Sequence[RenderedFile]) -> list[bytes]:
    return [b"".join(file.buffers) for file in files]


def test_the_same_night_gives_the_same_bytes(night: Night, header: HeaderDocument) -> None:
    image = _image(night, ImageType.OBJECT)
    chosen = choose_sensors(["R22_S11", "R44_SW0", "R44_SG0"], guiders=False)
    first, second = (
        _bytes(
            [render(image, each, header, BodyLibrary((20, 70)), most_stamps=3) for each in order]
        )
        for order in (chosen, chosen)
    )
    assert first == second


def test_the_expected_sensors_are_listed() -> None:
    chosen = choose_sensors("all", guiders=True)
    name, content = expected_sensors("MC_O_20261103_000001", chosen)
    assert name == "MC_O_20261103_000001_expectedSensors.json"
    text = content.decode()
    assert text.count('"SCIENCE"') == 197
    assert text.count('"GUIDER"') == 8
    assert '"R22_S11": "SCIENCE"' in text
