"""Headers read from every form in which they are kept."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.errors import SidecarError, TranslatorsError, UnreadableFileError
from translators.find import find_files
from translators.headerfile import read_entries, yaml_value
from translators.inspect import inspect_file
from translators.sidecar import Content, sidecar_bytes

Cards = dict[str, Any]
WriteRaw = Callable[..., Path]
NAME = "MC_O_20250501_000123_R22_S11.fits"


def header_in(path: Path, **options: Any) -> Cards:
    (entry,) = read_entries(path, **options)
    return dict(entry.values)


def test_primary_header_is_that_of_the_inspection(write_raw: WriteRaw) -> None:
    path = write_raw()

    (entry,) = read_entries(path)

    assert entry.values == inspect_file(path).primary
    assert list(entry.values) == list(inspect_file(path).primary)
    assert (entry.file_name, entry.content, entry.findings) == (NAME, Content.METADATA, ())


def test_header_of_a_file_wrapped_in_gzip(write_raw: WriteRaw, tmp_path: Path) -> None:
    plain = write_raw()
    wrapped = tmp_path / f"{NAME}.gz"
    wrapped.write_bytes(gzip.compress(plain.read_bytes()))

    assert header_in(wrapped) == header_in(plain)


def test_header_of_a_chosen_hdu_is_put_over_the_first(write_raw: WriteRaw) -> None:
    path = write_raw()

    header = header_in(path, hdu=3)

    assert header["EXTNAME"] == "SEGMENT12"
    assert header["OBSID"] == "MC_O_20250501_000123"
    assert header_in(path, hdu=0) == header_in(path)


def test_packed_file_of_a_foreign_camera_has_its_header_in_the_first_extension(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c4d.fits.fz"
    image = fits.CompImageHDU(np.zeros((4, 4), dtype=np.int32))
    image.header["INSTRUME"] = "DECam"
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)

    assert header_in(path)["INSTRUME"] == "DECam"
    assert "INSTRUME" not in header_in(path, hdu=0)


def test_hdu_that_is_not_there_is_named(write_raw: WriteRaw) -> None:
    with pytest.raises(UnreadableFileError, match=r"has no HDU 40; it ends after HDU 18"):
        read_entries(write_raw(), hdu=40)


def test_sidecar_yaml_and_header_text_tell_the_same(sky_header: Cards, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(sidecar_bytes(sky_header))
    (tmp_path / "a.yaml").write_text(json.dumps(sky_header))
    hdu = fits.PrimaryHDU()
    for key, value in sky_header.items():
        hdu.header[f"HIERARCH {key}" if " " in key else key] = value
    (tmp_path / "a.hdr").write_text(hdu.header.tostring(sep="\n"))

    assert header_in(tmp_path / "a.json") == sky_header
    assert header_in(tmp_path / "a.yaml") == sky_header
    text = header_in(tmp_path / "a.hdr")
    assert {key: text[key] for key in sky_header} == sky_header
    assert read_entries(tmp_path / "a.hdr")[0].file_name == "a.fits"


def test_yaml_is_read_without_its_traps() -> None:
    text = "OBJECT: NO\nSEQNUM: 0051\nREASON: 2026-03-15\nA: 51\nB: 1.5\nC: true\nD:\nE: 1e3\n"

    assert yaml_value(text, "a.yaml") == {
        "OBJECT": "NO",
        "SEQNUM": "0051",
        "REASON": "2026-03-15",
        "A": 51,
        "B": 1.5,
        "C": True,
        "D": None,
        "E": 1000.0,
    }


def test_header_as_the_lsst_pipelines_write_it_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "!<lsst.daf.base.PropertyList>\n"
        "- [OBSID, String, MC_O_20250501_000123, the id]\n"
        "- [SEQNUM, Int, 123, '']\n"
        "- [COMMENT, String, nothing, '']\n"
    )

    assert header_in(path) == {"OBSID": "MC_O_20250501_000123", "SEQNUM": 123}


def test_bad_card_in_a_header_text_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    path.write_text("OBSID   = 'x'\nEXPTIME = thirty\nEND\n")

    (entry,) = read_entries(path)

    (finding,) = entry.findings
    assert finding.code == "header.bad_card"
    assert finding.sentence.startswith(f"{path}:2: ")


def test_index_gives_an_entry_for_each_file(tmp_path: Path) -> None:
    path = tmp_path / "_index.json"
    path.write_text('{"__COMMON__": {"A": 1}, "one.fits": {"B": 2}, "two.fits": {"B": 3}}')

    one, two = read_entries(path)

    assert (one.file_name, dict(one.values)) == ("one.fits", {"A": 1, "B": 2})
    assert (two.place, dict(two.values)) == (f"{path}#two.fits", {"A": 1, "B": 3})


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("a.fits", b"", UnreadableFileError, "is empty"),
        ("a.fits", b"junk" * 1000, UnreadableFileError, "no FITS file"),
        ("a.fits", b"SIMPLE  =" + b" " * 5000, UnreadableFileError, "no END card"),
        ("a.fits.gz", b"\x1f\x8bjunkjunkjunk", UnreadableFileError, "gzip"),
        ("a.json", b"{", SidecarError, "no JSON"),
        ("a.yaml", b"- 1\n- 2\n", SidecarError, "no mapping"),
        ("a.yaml", b"A: 1\nB: [\n", SidecarError, "a.yaml:3"),
        ("a.hdr", b"\n\n", UnreadableFileError, "no card"),
    ],
)
def test_what_holds_no_header_is_told(
    name: str, content: bytes, error: type[Exception], says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(error, match=says):
        read_entries(path)


def test_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="No such file"):
        read_entries(tmp_path / "a.fits")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.fits", "a.json", "a.yaml", "a.hdr", "a.fits.gz"]),
    st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="ignore")),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with suppress(TranslatorsError):
        for entry in read_entries(path):
            assert isinstance(dict(entry.values), dict)


def test_every_image_below_a_folder_is_found_once(tmp_path: Path) -> None:
    night = tmp_path / "20250501"
    night.mkdir()
    for name in ("b.fits", "b.json", "a.json", "c.fits.fz", "_index.json", "notes.txt"):
        (night / name).touch()
    (tmp_path / "z.fit").touch()

    found = [path.name for path in find_files([tmp_path])]

    assert found == ["z.fit", "a.json", "b.fits", "c.fits.fz"]


def test_pattern_chooses_among_names(tmp_path: Path) -> None:
    for name in ("b.fits", "b.json", "a.json"):
        (tmp_path / name).touch()

    assert [path.name for path in find_files([tmp_path], "*.json")] == ["a.json", "b.json"]
    assert [*find_files([tmp_path / "b.json"], "*.fits")] == [tmp_path / "b.json"]


def test_path_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="does not exist"):
        list(find_files([tmp_path / "nothing"]))
