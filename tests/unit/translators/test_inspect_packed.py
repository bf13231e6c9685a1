"""Images packed by fpack: the header of before is seen, the bytes are judged as they are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from translators.checks.files import check_file
from translators.fits.cards import parse_header
from translators.fits.comments import card_units
from translators.inspect import inspect_file
from translators.inspection import Inspection, PackedImage, Verdict
from translators.policy import InspectionPolicy

WriteRaw = Callable[..., Path]
needs_fpack = pytest.mark.skipif(
    shutil.which("fpack") is None or shutil.which("funpack") is None,
    reason="fpack and funpack are not installed",
)
DOME: dict[str, Any] = {
    "INSTRUME": "domecam",
    "OBJECT": "it's M31 / core",
    "EXPTIME": (30.0, "[s] exposure time"),
    "DATE-OBS": "2025-05-02T04:12:47.100",
    "LONGNAME": "x" * 150,
    "HIERARCH DOME SHUTTER STATE": True,
    # Names that look like those of the table or of the convention, and are none.
    "ZD": (33.5, "[deg] zenith distance"),
    "ZENITH": 1,
    "TTEMP": 9.5,
    "TFORMAT": "raw",
    "ZIMAGER": 4,
    "ZVALUE": 5,
    "ZTILED": 6,
    "UNKNOWN": None,
}


def cards_of(header: fits.Header) -> dict[str, Any]:
    return {
        keyword: None if isinstance(value, fits.card.Undefined) else value
        for keyword, value in header.items()
        if keyword not in {"", "COMMENT", "HISTORY"}
    }


def dome_image(kind: str = "u2", **cards: Any) -> fits.PrimaryHDU:
    pixels = np.random.default_rng(3).integers(900, 1100, size=(20, 30)).astype(kind)
    hdu = fits.PrimaryHDU(pixels)
    hdu.header.update(DOME | cards)
    hdu.header["COMMENT"] = "a remark"
    return hdu


def fpack(path: Path, *options: str) -> Path:
    packed = path.with_name(path.name + ".fz")
    subprocess.run(["fpack", *options, "-O", str(packed), str(path)], check=True)
    return packed


def unpacked(path: Path) -> dict[str, Any]:
    """The primary header as cfitsio restores it."""
    plain = path.with_name("unpacked.fits")
    subprocess.run(["funpack", "-C", "-O", str(plain), str(path)], check=True)
    with fits.open(plain) as opened:
        return cards_of(opened[0].header)


def codes(inspection: Inspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


@needs_fpack
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4"])
@pytest.mark.parametrize("options", [(), ("-g",), ("-h",), ("-w",)], ids=" ".join)
@pytest.mark.parametrize("name", [None, "SCI"])
def test_the_header_is_the_one_that_unpacking_restores(
    tmp_path: Path, kind: str, options: tuple[str, ...], name: str | None
) -> None:
    path = tmp_path / "dome.fits"
    extra = {} if name is None else {"EXTNAME": name}
    dome_image(kind, **extra).writeto(path, checksum=True)
    before = inspect_file(path)
    packed = fpack(path, *options)

    inspection = inspect_file(packed)

    assert inspection.findings == ()
    assert inspection.primary == before.primary
    assert list(inspection.primary) == list(before.primary)
    assert inspection.primary == unpacked(packed)
    assert [hdu.kind for hdu in inspection.hdus] == ["PRIMARY", "BINTABLE"]
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.GOOD}
    assert inspection.packed is not None
    assert inspection.packed.hdu == 1
    assert inspection.packed.checksum == before.primary["CHECKSUM"]
    assert inspection.packed.datasum == before.primary["DATASUM"]
    assert inspection.size_bytes == packed.stat().st_size


@needs_fpack
def test_further_extensions_stay_behind_the_packed_image(tmp_path: Path) -> None:
    path = tmp_path / "both.fits"
    extension = fits.ImageHDU(np.ones((9, 9), "i4"), name="MASK")
    fits.HDUList([dome_image(), extension]).writeto(path, checksum=True)

    inspection = inspect_file(fpack(path))

    assert inspection.primary["INSTRUME"] == "domecam"
    assert [hdu.name for hdu in inspection.hdus] == ["PRIMARY", "COMPRESSED_IMAGE", "MASK"]


@needs_fpack
def test_packed_without_checksums_says_so_of_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "dome.fits"
    dome_image().writeto(path, checksum=True)

    inspection = inspect_file(fpack(path, "-C"))

    assert codes(inspection) == ["checksum.absent"]
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.ABSENT}
    assert inspection.packed is not None
    assert inspection.packed.checksum == inspection.primary["CHECKSUM"]


@needs_fpack
def test_extensions_that_were_packed_leave_the_camera_s_primary_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mef.fits"
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "mosaic"
    image = fits.ImageHDU(np.ones((9, 9), "i4"), name="A")
    fits.HDUList([primary, image]).writeto(path, checksum=True)

    inspection = inspect_file(fpack(path))

    assert inspection.packed is None
    assert inspection.primary == inspect_file(path).primary
    assert inspection.findings == ()


def table(*cards: str, drop: tuple[str, ...] = ()) -> bytes:
    """A table that holds a packed image, card by card, without data."""
    packed = [
        "XTENSION= 'BINTABLE'",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                    8",
        "NAXIS2  =                    2",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "TFIELDS =                    1",
        "TTYPE1  = 'COMPRESSED_DATA'",
        "TFORM1  = '1PB(5)'",
        "ZIMAGE  =                    T",
        "ZTILE1  =                    8",
        "ZCMPTYPE= 'RICE_1'",
        "ZNAXIS1 =                    8",
        "ZNAXIS2 =                    2",
        "ZNAXIS  =                    2",
        "ZBITPIX =                   16",
        "ZSIMPLE =                    T",
        "EXTNAME = 'COMPRESSED_IMAGE'",
        "INSTRUME= 'domecam'",
        *cards,
    ]
    kept = [card for card in packed if card[:8].rstrip() not in drop]
    return block(*kept) + b"\0" * 2880


def block(*cards: str) -> bytes:
    text = "".join(card.ljust(80) for card in (*cards, "END")).encode("latin-1")
    return text + b" " * (-len(text) % 2880)


BARE = (
    "SIMPLE  =                    T",
    "BITPIX  =                   16",
    "NAXIS   =                    0",
    "EXTEND  =                    T",
    "COMMENT   FITS (Flexible Image Transport System) format",
)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "dome.fits.fz"
    path.write_bytes(content)
    return path


def test_mandatory_cards_stand_first_in_the_order_of_the_standard(tmp_path: Path) -> None:
    inspection = inspect_file(written(tmp_path, block(*BARE) + table()))

    assert list(inspection.primary.items()) == [
        ("SIMPLE", True),
        ("BITPIX", 16),
        ("NAXIS", 2),
        ("NAXIS1", 8),
        ("NAXIS2", 2),
        ("INSTRUME", "domecam"),
    ]
    assert inspection.packed == PackedImage(1, "RICE_1", None, None)


@pytest.mark.parametrize("absent", ["ZIMAGE", "ZSIMPLE"])
def test_a_table_that_is_no_packed_primary_is_left_alone(tmp_path: Path, absent: str) -> None:
    inspection = inspect_file(written(tmp_path, block(*BARE) + table(drop=(absent,))))

    assert inspection.packed is None
    assert list(inspection.primary) == ["SIMPLE", "BITPIX", "NAXIS", "EXTEND"]


def test_a_primary_with_cards_of_its_own_is_the_header_whatever_follows(tmp_path: Path) -> None:
    own = block(*BARE, "INSTRUME= 'lsstCam'")

    inspection = inspect_file(written(tmp_path, own + table()))

    assert inspection.packed is None
    assert inspection.primary["INSTRUME"] == "lsstCam"
    assert inspection.header_block.endswith(b"'lsstCam'".ljust(70))


def test_a_raw_with_compressed_amplifiers_keeps_its_primary(write_raw: WriteRaw) -> None:
    path = write_raw()
    inspection = inspect_file(path)
    header = path.read_bytes()[: inspection.hdus[0].header_bytes]

    assert inspection.packed is None
    assert inspection.header_block == header[: header.index(b"END".ljust(80))]
    assert inspection.primary == parse_header(inspection.header_block).cards


def test_bad_cards_of_a_packed_image_are_told_of_its_table(tmp_path: Path) -> None:
    content = block(*BARE) + table("NOISE   =                 what", "OBJECT  = 'Fl\xe4che'")

    inspection = inspect_file(written(tmp_path, content))

    bad, ascii_ = [each for each in inspection.findings if each.code.startswith("header.")]
    assert {bad.hdu, ascii_.hdu} == {1}
    assert {bad.code, ascii_.code} == {"header.bad_card", "header.non_ascii"}
    assert inspection.primary["OBJECT"] == "Fl?che"


def test_a_packed_image_that_is_cut_is_truncated_and_still_known(tmp_path: Path) -> None:
    content = block(*BARE) + table()

    inspection = inspect_file(written(tmp_path, content[:-1]))

    assert codes(inspection)[0] == "structure.truncated"
    assert inspection.primary["INSTRUME"] == "domecam"
    assert inspect_file(written(tmp_path, content[:2880])).packed is None


def test_a_packed_image_whose_table_makes_no_sense_is_known_and_set_aside(tmp_path: Path) -> None:
    inspection = inspect_file(written(tmp_path, block(*BARE) + table(drop=("NAXIS1",))))

    assert codes(inspection) == ["structure.mandatory_card", "checksum.absent"]
    assert inspection.primary["INSTRUME"] == "domecam"


def test_a_flipped_bit_in_packed_pixels_is_found(tmp_path: Path) -> None:
    path = tmp_path / "dome.fits.fz"
    image = dome_image("i4")
    packed = fits.CompImageHDU(image.data, header=image.header)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path, checksum=True)
    whole = inspect_file(path)
    assert whole.packed is not None
    assert whole.findings == ()
    content = bytearray(path.read_bytes())
    content[whole.hdus[1].offset + whole.hdus[1].header_bytes + 200] ^= 1
    path.write_bytes(content)

    assert codes(inspect_file(path)) == ["checksum.wrong"]


@pytest.mark.parametrize(
    ("count", "found"),
    [(18, ["structure.hdu_count"]), (19, []), (20, []), (21, ["structure.hdu_count"])],
)
def test_the_hdus_of_a_packed_file_are_counted_as_they_are_or_as_they_were(
    tmp_path: Path, count: int, found: list[str]
) -> None:
    """An instrument that writes 19 HDUs; the empty primary HDU may be the packer's."""
    extension = block("XTENSION= 'IMAGE'", "BITPIX  =                    8", BARE[2])
    content = block(*BARE) + table().replace(b"'domecam'", b"'lsstCam'")
    path = written(tmp_path, content + extension * (count - 2))

    inspection = inspect_file(path)

    assert len(inspection.hdus) == count
    assert [code for code in codes(inspection) if code != "checksum.absent"] == found
    assert inspection.whole is (count >= 19)
    assert not inspect_file(path, policy=InspectionPolicy(expected_hdus=count + 1)).whole


def test_units_of_a_packed_image_are_those_of_its_cards(tmp_path: Path) -> None:
    content = block(*BARE) + table("EXPTIME =                 30.0 / [s] exposure time")

    inspection = inspect_file(written(tmp_path, content))

    assert card_units(inspection.header_block)["EXPTIME"] == "s"


def test_a_packed_image_is_checked_by_its_own_header(tmp_path: Path) -> None:
    checked = check_file(written(tmp_path, block(*BARE) + table()))

    assert checked.header["INSTRUME"] == "domecam"
