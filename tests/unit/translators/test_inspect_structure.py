"""What an inspection finds in whole and in broken files."""

from __future__ import annotations

import gzip
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from awscrt.checksums import crc64nvme

from translators.errors import UnreadableFileError
from translators.findings import Severity
from translators.fits.source import CHUNK_BYTES
from translators.inspect import inspect_file
from translators.inspection import Inspection, Verdict
from translators.policy import InspectionPolicy

WriteRaw = Callable[..., Path]


def codes(inspection: Inspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


def offsets(path: Path) -> list[int]:
    return [hdu.offset for hdu in inspect_file(path).hdus]


def rewrite(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_whole_raw_has_no_findings_and_tells_its_structure(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = path.read_bytes()

    inspection = inspect_file(path)

    assert inspection.findings == ()
    assert inspection.whole
    assert inspection.size_bytes == len(content)
    assert inspection.sha256 == hashlib.sha256(content).hexdigest()
    assert inspection.crc64nvme == f"{crc64nvme(content):016x}"
    assert [hdu.index for hdu in inspection.hdus] == list(range(19))
    assert [hdu.name for hdu in inspection.hdus][:2] == ["PRIMARY", "Segment10".upper()]
    assert {hdu.kind for hdu in inspection.hdus} == {"PRIMARY", "BINTABLE"}
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.GOOD}
    assert {hdu.datasum for hdu in inspection.hdus} == {Verdict.GOOD}


def test_hdus_lie_where_astropy_finds_them(write_raw: WriteRaw) -> None:
    path = write_raw()

    inspection = inspect_file(path)

    with fits.open(path, disable_image_compression=True) as opened:
        for ours, theirs in zip(inspection.hdus, opened, strict=True):
            where = theirs.fileinfo()
            assert ours.offset == where["hdrLoc"]
            assert ours.header_bytes == where["datLoc"] - where["hdrLoc"]
            assert ours.data_bytes == where["datSpan"]


def test_file_larger_than_a_chunk_is_read_in_pieces_with_the_same_result(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 1 << 30, size=(700, 900), dtype=np.int32)
    path = tmp_path / "large.fits"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(pixels[::-1])]
    fits.HDUList(hdus).writeto(path, checksum=True)

    inspection = inspect_file(path)

    assert inspection.size_bytes > 3 * CHUNK_BYTES
    assert inspection.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert inspection.crc64nvme == f"{crc64nvme(path.read_bytes()):016x}"
    assert [hdu.datasum for hdu in inspection.hdus] == [Verdict.GOOD] * 3


def test_every_cut_inside_a_file_is_found(write_raw: WriteRaw) -> None:
    path = write_raw(amplifiers=2)
    policy = InspectionPolicy(expected_hdus=5)
    content = path.read_bytes()
    assert inspect_file(path, policy=policy).whole

    for length in range(0, len(content), 1777):
        rewrite(path, content[:length])
        inspection = inspect_file(path, policy=policy)
        assert not inspection.whole, f"cut at {length} of {len(content)}"
        assert inspection.size_bytes == length


def test_cut_in_data_says_how_many_bytes_are_missing(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = path.read_bytes()
    last_amplifier = inspect_file(path).hdus[16]
    data_begin = last_amplifier.offset + last_amplifier.header_bytes
    rewrite(path, content[: data_begin + 1000])

    (finding,) = inspect_file(path).findings

    assert finding.code == "structure.truncated"
    assert finding.severity is Severity.ERROR
    assert finding.hdu == 16
    assert f"{last_amplifier.data_bytes - 1000} bytes are missing" in finding.sentence


def test_cut_in_header_is_truncated(write_raw: WriteRaw) -> None:
    path = write_raw()
    rewrite(path, path.read_bytes()[: offsets(path)[3] + 1120])

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.truncated"]
    assert "header of HDU 3" in inspection.findings[0].sentence
    assert "1760 bytes are missing" in inspection.findings[0].sentence


def test_cut_in_the_padding_behind_end_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "short.fits"
    fits.PrimaryHDU().writeto(path)
    rewrite(path, path.read_bytes()[:-80])

    inspection = inspect_file(path)

    assert codes(inspection)[0] == "structure.truncated"
    assert "behind its END card" in inspection.findings[0].sentence
    assert "80 bytes are missing" in inspection.findings[0].sentence


@pytest.mark.parametrize("kept", [1, 9, 18])
def test_cut_exactly_between_hdus_is_found_by_the_number_of_hdus(
    write_raw: WriteRaw, kept: int
) -> None:
    path = write_raw()
    rewrite(path, path.read_bytes()[: offsets(path)[kept]])

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.hdu_count"]
    assert inspection.findings[0].severity is Severity.ERROR
    assert f"after {kept} of 19 HDUs" in inspection.findings[0].sentence


def test_more_hdus_than_known_are_a_warning(write_raw: WriteRaw) -> None:
    path = write_raw()
    with fits.open(path, mode="append", checksum=True) as opened:
        extra = fits.BinTableHDU(name="NEW_COND")
        extra.add_checksum()
        opened.append(extra)

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.hdu_count"]
    assert inspection.whole


def test_wavefront_sensor_has_fewer_hdus(
    write_raw: WriteRaw, sky_header: dict[str, object]
) -> None:
    cards = sky_header | {"RAFTBAY": "R44", "CCDSLOT": "SW1"}

    assert inspect_file(write_raw(cards, amplifiers=8)).findings == ()
    assert codes(inspect_file(write_raw(cards, amplifiers=7))) == ["structure.hdu_count"]


def test_guider_file_has_an_hdu_for_each_stamp(write_stamps: WriteRaw) -> None:
    assert inspect_file(write_stamps(4)).findings == ()
    assert codes(inspect_file(write_stamps(3, announced=4))) == ["structure.hdu_count"]


def test_plain_raw_of_a_guide_sensor_has_all_amplifiers(
    write_raw: WriteRaw, sky_header: dict[str, object]
) -> None:
    cards = sky_header | {"RAFTBAY": "R00", "CCDSLOT": "SG1"}

    assert inspect_file(write_raw(cards)).findings == ()


def test_unknown_sensor_of_a_known_camera_is_taken_for_a_science_sensor(
    write_raw: WriteRaw, sky_header: dict[str, object]
) -> None:
    assert inspect_file(write_raw(sky_header | {"CCDSLOT": "S77"})).findings == ()


def test_number_of_stamps_that_is_no_number_is_not_counted_with(
    write_raw: WriteRaw, sky_header: dict[str, object]
) -> None:
    assert inspect_file(write_raw(sky_header | {"N_STAMPS": None}, amplifiers=3)).findings == ()


def test_long_name_of_an_hdu_goes_over_continue_cards(tmp_path: Path) -> None:
    path = tmp_path / "long.fits"
    name = "A" * 60 + "B" * 60
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(2), name=name)]).writeto(path)

    assert inspect_file(path).hdus[1].name == name


def test_expected_number_of_hdus_can_be_given(write_raw: WriteRaw) -> None:
    path = write_raw(amplifiers=3)

    assert inspect_file(path, policy=InspectionPolicy(expected_hdus=6)).whole
    assert not inspect_file(path, policy=InspectionPolicy(expected_hdus=7)).whole


def test_file_of_an_unknown_instrument_may_have_any_number_of_hdus(write_raw: WriteRaw) -> None:
    path = write_raw({"INSTRUME": "DOMECAM"}, amplifiers=3)

    assert inspect_file(path).findings == ()


def test_empty_file(tmp_path: Path) -> None:
    inspection = inspect_file(rewrite(tmp_path / "empty.fits", b""))

    assert codes(inspection) == ["file.empty"]
    assert inspection.hdus == ()
    assert inspection.primary == {}
    assert inspection.sha256 == hashlib.sha256(b"").hexdigest()
    assert inspection.crc64nvme == "0" * 16


@pytest.mark.parametrize(
    ("content", "looks"),
    [(b"SIMPLE\n", "text"), (b"a log file\n" * 1000, "text"), (bytes(range(256)) * 30, "binary")],
)
def test_what_is_no_fits_file_is_said_to_be_none(
    tmp_path: Path, content: bytes, looks: str
) -> None:
    inspection = inspect_file(rewrite(tmp_path / "notes.fits", content))

    assert codes(inspection) == ["structure.not_fits"]
    assert looks in inspection.findings[0].sentence
    assert inspection.size_bytes == len(content)


def test_header_without_end_stops_the_walk(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = bytearray(path.read_bytes())
    end = content.index(b"END" + b" " * 77, offsets(path)[2])
    content[end : end + 3] = b"AND"
    rewrite(path, bytes(content))

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.missing_end"]
    assert inspection.findings[0].hdu == 2
    assert inspection.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("card", "replacement"),
    [
        (b"BITPIX  =                    8", b"BITPIX  =                    7"),
        (b"NAXIS   =                    0", b"NAXIS   =                  'x'"),
        (b"NAXIS   =                    0", b"NAXIS   =                   -1"),
        (b"NAXIS   =                    0", b"NAXIS   =                    3"),
        (b"NAXIS   =                    0", b"NAXOS   =                    0"),
    ],
)
def test_broken_mandatory_card_stops_the_walk(
    write_raw: WriteRaw, card: bytes, replacement: bytes
) -> None:
    path = write_raw()
    rewrite(path, path.read_bytes().replace(card, replacement, 1))

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.mandatory_card"]
    assert inspection.primary["OBSID"] == "MC_O_20250501_000123"


def test_extension_of_no_kind_stops_the_walk(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = path.read_bytes()
    rewrite(path, content.replace(b"XTENSION= 'BINTABLE'", b"XTENSION=          7", 1))

    inspection = inspect_file(path)

    assert codes(inspection) == ["structure.mandatory_card"]
    assert "XTENSION" in inspection.findings[0].sentence
    assert len(inspection.hdus) == 2


def test_garbage_behind_the_last_hdu_is_an_error_and_blank_filling_a_warning(
    write_raw: WriteRaw,
) -> None:
    path = write_raw()
    content = path.read_bytes()

    for tail, whole in ((b"\0" * 5760, True), (b" " * 10, True), (b"PK\3\4" * 900, False)):
        inspection = inspect_file(rewrite(path, content + tail))
        assert codes(inspection) == ["structure.trailing_bytes"]
        assert inspection.whole is whole
        assert f"{len(tail)} bytes" in inspection.findings[0].sentence
        assert len(inspection.hdus) == 19


def test_gzip_wrapped_file_is_inspected_inside(write_raw: WriteRaw) -> None:
    path = write_raw()
    wrapped = gzip.compress(path.read_bytes())

    inspection = inspect_file(rewrite(path, wrapped))

    assert codes(inspection) == ["structure.gzip"]
    assert inspection.whole
    assert inspection.sha256 == hashlib.sha256(wrapped).hexdigest()
    assert inspection.size_bytes == len(wrapped)
    assert len(inspection.hdus) == 19
    assert inspection.primary["OBSID"] == "MC_O_20250501_000123"


def test_gzip_that_the_name_announces_is_no_finding(write_raw: WriteRaw) -> None:
    plain = write_raw()
    path = plain.with_name(plain.name + ".gz")

    assert inspect_file(rewrite(path, gzip.compress(plain.read_bytes()))).findings == ()


def test_gzip_in_several_members_is_one_file(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = path.read_bytes()
    wrapped = gzip.compress(content[:5000]) + gzip.compress(content[5000:])

    assert codes(inspect_file(rewrite(path, wrapped))) == ["structure.gzip"]


def test_gzip_may_be_refused(write_raw: WriteRaw) -> None:
    path = write_raw()
    rewrite(path, gzip.compress(path.read_bytes()))

    assert not inspect_file(path, policy=InspectionPolicy(gzip=Severity.ERROR)).whole


@pytest.mark.parametrize("cut", [3, 12, 5000, -1])
def test_broken_gzip_is_found(write_raw: WriteRaw, cut: int) -> None:
    path = write_raw()
    rewrite(path, gzip.compress(path.read_bytes())[:cut])

    inspection = inspect_file(path)

    assert "gzip.broken" in codes(inspection)
    assert not inspection.whole


def test_altered_gzip_is_found(write_raw: WriteRaw) -> None:
    path = write_raw()
    wrapped = bytearray(gzip.compress(path.read_bytes()))
    wrapped[-6] ^= 1

    assert "gzip.broken" in codes(inspect_file(rewrite(path, bytes(wrapped))))


def test_file_that_is_gone_or_no_file_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "file").touch()
    for path in (
        tmp_path / "gone.fits",
        tmp_path,
        tmp_path / "pipe.fits",
        tmp_path / "file" / "inside.fits",
    ):
        with pytest.raises(UnreadableFileError, match=str(path)):
            inspect_file(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_cannot_be_read(write_raw: WriteRaw) -> None:
    path = write_raw()
    path.chmod(0)

    with pytest.raises(UnreadableFileError, match="Permission denied"):
        inspect_file(path)


def during_the_read(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something to the file when its first chunk has been read."""
    read = os.readv
    pending = [action]

    def readv(descriptor: int, buffers: list[memoryview]) -> int:
        count = read(descriptor, buffers)
        while pending:
            pending.pop()()
        return count

    monkeypatch.setattr(os, "readv", readv)


def test_file_that_grows_while_it_is_read_has_changed(
    write_raw: WriteRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raw()
    content = path.read_bytes()
    rewrite(path, content[:-2880])

    def grow() -> None:
        with path.open("ab") as opened:
            opened.write(content[-2880:])

    during_the_read(monkeypatch, grow)

    inspection = inspect_file(path)

    assert codes(inspection)[0] == "file.changed"
    assert not inspection.whole
    assert inspect_file(path).whole


def test_file_that_is_rewritten_while_it_is_read_has_changed(
    write_raw: WriteRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raw()
    during_the_read(monkeypatch, lambda: rewrite(path, path.read_bytes()))

    assert codes(inspect_file(path)) == ["file.changed"]


def test_file_that_is_replaced_while_it_is_read_has_changed(
    write_raw: WriteRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raw()
    other = write_raw(name="other.fits")
    during_the_read(monkeypatch, lambda: other.replace(path))

    assert codes(inspect_file(path)) == ["file.changed"]


def test_file_that_is_removed_while_it_is_read_has_changed(
    write_raw: WriteRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raw()
    during_the_read(monkeypatch, path.unlink)

    inspection = inspect_file(path)

    assert codes(inspection) == ["file.changed"]
    assert len(inspection.hdus) == 19


def test_device_fault_while_reading_is_unreadable(
    write_raw: WriteRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    path = write_raw()
    during_the_read(monkeypatch, fail)

    with pytest.raises(UnreadableFileError, match="Input/output error"):
        inspect_file(path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.fits"
    noise = np.random.default_rng(2)
    hdus = [fits.PrimaryHDU()]
    for name in range(16):
        pixels = noise.integers(0, 1 << 30, size=(512, 576), dtype=np.int32)
        hdus.append(fits.ImageHDU(pixels, name=f"SEGMENT{name}"))
    fits.HDUList(hdus).writeto(path, checksum=True)
    assert path.stat().st_size > 18_000_000

    tracemalloc.start()
    try:
        inspection = inspect_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert inspection.whole
    assert peak < 3_000_000


def test_link_is_followed(write_raw: WriteRaw, tmp_path: Path) -> None:
    link = tmp_path / "link.fits"
    link.symlink_to(write_raw())

    assert inspect_file(link).whole
