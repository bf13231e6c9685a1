"""An inspection never raises for what is in a file, and agrees with astropy on valid ones."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.findings import Finding
from translators.inspect import inspect_file
from translators.inspection import Inspection, Verdict

NUMPY_TYPES = ("u1", ">i2", ">i4", ">i8", ">f4", ">f8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a test."""
    return tmp_path_factory.mktemp("fuzz")


def inspect_bytes(folder: Path, content: bytes) -> Inspection:
    path = folder / "fuzz.fits"
    path.write_bytes(content)
    return inspect_file(path)


@st.composite
def images(draw: st.DrawFn) -> fits.ImageHDU:
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    kind = draw(st.sampled_from(NUMPY_TYPES))
    seed = draw(st.integers(0, 1000))
    pixels = np.random.default_rng(seed).integers(0, 100, size=shape).astype(kind)
    return fits.ImageHDU(pixels, name=draw(st.sampled_from(["", "SCI", "Segment10"])))


@st.composite
def tables(draw: st.DrawFn) -> fits.BinTableHDU:
    rows = draw(st.integers(0, 5))
    ragged = np.empty(rows, dtype=object)
    for row in range(rows):
        ragged[row] = np.arange(draw(st.integers(0, 900)), dtype=np.int16)
    columns = [
        fits.Column(name="x", format="D", array=np.arange(rows, dtype=float)),
        fits.Column(name="heap", format="PI()", array=ragged),
    ]
    return fits.BinTableHDU.from_columns(columns, name="TAB")


@st.composite
def compressed(draw: st.DrawFn) -> fits.CompImageHDU:
    seed = draw(st.integers(0, 1000))
    pixels = np.random.default_rng(seed).integers(0, 1000, size=(8, 16), dtype=np.int32)
    return fits.CompImageHDU(pixels, compression_type=draw(st.sampled_from(["RICE_1", "GZIP_1"])))


@st.composite
def fits_files(draw: st.DrawFn) -> bytes:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.extend(draw(st.lists(images() | tables() | compressed(), max_size=4)))
    hdus[0].header["OBJECT"] = draw(st.sampled_from(["Virgo", "x" * 100, "it's", ""]))
    hdus[0].header["HIERARCH SIMULATE MTMOUNT"] = 1
    out = io.BytesIO()
    hdus.writeto(out, checksum=draw(st.booleans()))
    return out.getvalue()


def verdict(of_astropy: int) -> Verdict:
    return {0: Verdict.WRONG, 1: Verdict.GOOD, 2: Verdict.ABSENT}[of_astropy]


FUZZ = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@FUZZ
@given(content=fits_files())
def test_valid_file_reads_as_astropy_reads_it(folder: Path, content: bytes) -> None:
    inspection = inspect_bytes(folder, content)

    assert {finding.code for finding in inspection.findings} <= {"checksum.absent"}
    with fits.open(io.BytesIO(content), disable_image_compression=True) as opened:
        assert len(inspection.hdus) == len(opened)
        for ours, theirs in zip(inspection.hdus, opened, strict=True):
            where = theirs.fileinfo()
            assert ours.offset == where["hdrLoc"]
            assert ours.data_bytes == where["datSpan"]
            assert ours.name.upper() == theirs.name.upper()
            assert ours.datasum is verdict(theirs.verify_datasum())
            assert ours.checksum is verdict(theirs.verify_checksum())
        assert inspection.primary == dict(opened[0].header)


def test_random_groups_have_the_right_length(tmp_path: Path) -> None:
    path = tmp_path / "groups.fits"
    data = fits.GroupData(
        np.arange(100.0, dtype=">f4").reshape(10, 1, 1, 2, 5),
        parnames=["a", "b"],
        pardata=[np.arange(10.0), np.arange(10.0)],
        bitpix=-32,
    )
    fits.HDUList([fits.GroupsHDU(data), fits.ImageHDU(np.ones(3))]).writeto(path, checksum=True)

    inspection = inspect_file(path)

    assert inspection.findings == ()
    assert [hdu.kind for hdu in inspection.hdus] == ["PRIMARY", "IMAGE"]


def test_ascii_table_and_primary_image(tmp_path: Path) -> None:
    path = tmp_path / "ascii.fits"
    table = fits.TableHDU.from_columns([fits.Column(name="n", format="I5", array=[1, 2, 3])])
    fits.HDUList([fits.PrimaryHDU(np.ones((30, 40))), table]).writeto(path, checksum=True)

    inspection = inspect_file(path)

    assert inspection.findings == ()
    assert [hdu.kind for hdu in inspection.hdus] == ["PRIMARY", "TABLE"]


def check_values(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        assert finding.code
        assert finding.sentence


@FUZZ
@given(content=st.binary(max_size=9000))
def test_any_bytes_give_findings_and_no_exception(folder: Path, content: bytes) -> None:
    inspection = inspect_bytes(folder, content)

    assert not inspection.whole
    check_values(inspection.findings)


@FUZZ
@given(content=st.binary(max_size=9000))
def test_anything_behind_a_fits_beginning_gives_no_exception(folder: Path, content: bytes) -> None:
    check_values(
        inspect_bytes(folder, b"SIMPLE  =                    T".ljust(80) + content).findings
    )


@FUZZ
@given(content=st.binary(max_size=3000))
def test_anything_behind_a_gzip_beginning_gives_no_exception(folder: Path, content: bytes) -> None:
    check_values(inspect_bytes(folder, b"\x1f\x8b\x08" + content).findings)
    check_values(inspect_bytes(folder, gzip.compress(content)).findings)


@FUZZ
@given(content=fits_files(), data=st.data())
def test_damaged_file_gives_no_exception(folder: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    joined = bytes(damaged[:cut]) + data.draw(st.sampled_from([b"", bytes(damaged), b"\0" * 2880]))

    check_values(inspect_bytes(folder, joined).findings)


@FUZZ
@given(content=fits_files(), data=st.data())
def test_one_changed_byte_of_a_file_with_checksums_is_never_whole(
    folder: Path, content: bytes, data: st.DataObject
) -> None:
    before = inspect_bytes(folder, content)
    if any(finding.code == "checksum.absent" for finding in before.findings):
        return
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= data.draw(st.integers(1, 255))

    inspection = inspect_bytes(folder, bytes(damaged))

    checks = [hdu.checksum for hdu in inspection.hdus]
    lost_the_card = Verdict.ABSENT in checks or len(checks) != len(before.hdus)
    assert not inspection.whole or lost_the_card
