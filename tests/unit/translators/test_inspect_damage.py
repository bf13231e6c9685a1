"""Every way in which a file arrives broken, and what is told of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.findings import Severity
from translators.inspect import inspect_file
from translators.inspection import Inspection, Verdict

WriteRaw = Callable[..., Path]
BLOCK = 2880
FUZZ = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)


def codes(inspection: Inspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


def rewrite(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of LSSTCam with all its 19 HDUs and good checksums, as short as it can be."""
    path = tmp_path_factory.mktemp("whole") / "whole.fits"
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "lsstCam", "RAFTBAY": "R22", "CCDSLOT": "S11"})
    hdus = [primary]
    for number in range(18):
        pixels = np.arange(number, number + 900, dtype=np.int32)
        hdus.append(fits.ImageHDU(pixels, name=f"HDU{number}"))
    fits.HDUList(hdus).writeto(path, checksum=True)
    assert inspect_file(path).findings == ()
    return path.read_bytes()


def test_a_cut_at_or_beside_any_block_s_end_is_found(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "cut.fits"
    ends = {hdu.offset for hdu in inspect_file(rewrite(path, whole)).hdus}

    for boundary in range(0, len(whole) + 1, BLOCK):
        for length in (boundary - 1, boundary, boundary + 1):
            if not 0 <= length < len(whole):
                continue
            inspection = inspect_file(rewrite(path, whole[:length]))
            found = codes(inspection)
            assert not inspection.whole, f"cut at {length}"
            assert "checksum.wrong" not in found, f"cut at {length}"
            if length == 0:
                assert found == ["file.empty"]
            elif length in ends:
                assert found == ["structure.hdu_count"]
            elif length == 1:
                assert found == ["structure.not_fits"]
            elif length - 1 in ends:
                assert found == ["structure.trailing_bytes"]
            else:
                assert found == ["structure.truncated"]


def test_one_byte_of_the_next_hdu_is_no_blank_filling(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "cut.fits"
    third = inspect_file(rewrite(path, whole)).hdus[3].offset

    (finding,) = inspect_file(rewrite(path, whole[: third + 1])).findings

    assert finding.severity is Severity.ERROR
    assert "1 bytes" in finding.sentence


@pytest.mark.parametrize(("change", "severity"), [(-1, Severity.ERROR), (1, Severity.WARNING)])
def test_one_hdu_less_or_more_is_told_though_each_is_sound(
    tmp_path: Path, whole: bytes, change: int, severity: Severity
) -> None:
    path = tmp_path / "count.fits"
    last = inspect_file(rewrite(path, whole)).hdus[-1].offset
    content = whole[:last] if change < 0 else whole + whole[last:]

    inspection = inspect_file(rewrite(path, content))

    (finding,) = inspection.findings
    assert (finding.code, finding.severity) == ("structure.hdu_count", severity)
    assert str(19 + change) in finding.sentence
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.GOOD}


@FUZZ
@given(data=st.data())
def test_swapped_blocks_never_pass_for_the_same_file(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    """The checksums of FITS are blind to the order of blocks in an HDU: the digest is not."""
    path = tmp_path / "swapped.fits"
    good = inspect_file(rewrite(path, whole))
    first, second = sorted(
        data.draw(st.lists(st.integers(0, len(whole) // BLOCK - 1), min_size=2, max_size=2))
    )
    blocks = [whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK)]
    blocks[first], blocks[second] = blocks[second], blocks[first]
    swapped = b"".join(blocks)

    inspection = inspect_file(rewrite(path, swapped))

    same = swapped == whole
    assert (inspection.sha256 == good.sha256) is same
    assert (inspection.crc64nvme == good.crc64nvme) is same
    if not same and inspection.whole:
        owners = {_owner(good, first), _owner(good, second)}
        assert len(owners) == 1, "only blocks of the data of one HDU can be swapped unseen"


def _owner(inspection: Inspection, block: int) -> tuple[int, bool]:
    """Return to which HDU a block belongs, and whether to its data."""
    at = block * BLOCK
    hdu = [hdu for hdu in inspection.hdus if hdu.offset <= at][-1]
    return hdu.index, at >= hdu.offset + hdu.header_bytes


@FUZZ
@given(tail=st.binary(min_size=1, max_size=6000))
def test_anything_behind_the_last_hdu_is_told(tmp_path: Path, whole: bytes, tail: bytes) -> None:
    inspection = inspect_file(rewrite(tmp_path / "tail.fits", whole + tail))

    blank = not tail.strip(b"\0") or not tail.strip(b" ")
    assert inspection.whole is blank
    (finding,) = [each for each in inspection.findings if each.code.startswith("structure.")]
    expected = Severity.WARNING if blank else Severity.ERROR
    assert (finding.severity, inspection.size_bytes) == (expected, len(whole + tail))
    assert len(inspection.hdus) >= 19


@pytest.mark.parametrize("index", [0, 7, 18])
def test_an_end_card_that_is_overwritten_is_missed(
    tmp_path: Path, whole: bytes, index: int
) -> None:
    path = tmp_path / "endless.fits"
    offset = inspect_file(rewrite(path, whole)).hdus[index].offset
    content = bytearray(whole)
    end = content.index(b"END".ljust(80), offset)
    content[end : end + 80] = b" " * 80

    inspection = inspect_file(rewrite(path, bytes(content)))

    missing = [each for each in inspection.findings if each.severity is Severity.ERROR]
    assert [each.code for each in missing] == ["structure.missing_end"]
    assert missing[0].hdu == index
    assert inspection.primary["INSTRUME"] == "lsstCam"
    assert "XTENSION" not in inspection.primary


@FUZZ
@given(noise=st.binary(min_size=1, max_size=60), card=st.integers(3, 8))
def test_bytes_that_are_no_text_in_a_card_are_told_and_the_others_read(
    tmp_path: Path, whole: bytes, noise: bytes, card: int
) -> None:
    content = bytearray(whole)
    at = card * 80 + 12
    content[at : at + len(noise)] = noise

    inspection = inspect_file(rewrite(tmp_path / "noise.fits", bytes(content)))

    printable = all(0x20 <= byte < 0x7F for byte in noise)
    assert ("header.non_ascii" in codes(inspection)) is not printable
    assert len(inspection.hdus) == 19
    assert all(value.isascii() for value in inspection.primary.values() if isinstance(value, str))
    assert inspection.sha256 != ""


def header_of(*cards: str) -> bytes:
    text = b"".join(card.encode().ljust(80) for card in (*cards, "END"))
    return text + b" " * (-len(text) % BLOCK)


def integer(keyword: str, value: int) -> str:
    return f"{keyword:8}= {value:>20}"


START = ("SIMPLE  =                    T", "BITPIX  =                   64")
HUGE = int("9" * 69)


@pytest.mark.parametrize(
    ("cards", "code"),
    [
        ([integer("NAXIS", 1), integer("NAXIS1", 1 << 60)], "structure.mandatory_card"),
        ([integer("NAXIS", 1), integer("NAXIS1", 1 << 58)], "structure.truncated"),
        ([integer("NAXIS", 1), integer("NAXIS1", HUGE)], "structure.mandatory_card"),
        ([integer("NAXIS", 1), integer("NAXIS1", -5)], "structure.mandatory_card"),
        (
            [integer("NAXIS", 999), *(integer(f"NAXIS{n}", HUGE) for n in range(1, 1000))],
            "structure.mandatory_card",
        ),
        (
            [integer("NAXIS", 999), *(integer(f"NAXIS{n}", 1) for n in range(1, 1000))],
            "structure.truncated",
        ),
        ([integer("NAXIS", 1000), integer("NAXIS1", 1)], "structure.mandatory_card"),
        ([integer("NAXIS", HUGE)], "structure.mandatory_card"),
        (
            [integer("NAXIS", 1), integer("NAXIS1", 9), integer("PCOUNT", HUGE)],
            "structure.mandatory_card",
        ),
        (
            [integer("NAXIS", 1), integer("NAXIS1", 9), integer("GCOUNT", -1)],
            "structure.mandatory_card",
        ),
    ],
    ids=range(10),
)
def test_absurd_lengths_are_told_and_nothing_is_reserved_for_them(
    tmp_path: Path, cards: list[str], code: str
) -> None:
    path = rewrite(tmp_path / "absurd.fits", header_of(*START, *cards))

    tracemalloc.start()
    try:
        inspection = inspect_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert code in codes(inspection)
    assert not inspection.whole
    assert peak < 8_000_000


def test_an_empty_axis_makes_an_image_without_data(tmp_path: Path) -> None:
    cards = (integer("NAXIS", 3), *(integer(f"NAXIS{n}", HUGE * (n != 2)) for n in (1, 2, 3)))

    inspection = inspect_file(rewrite(tmp_path / "flat.fits", header_of(*START, *cards)))

    assert inspection.whole
    assert inspection.hdus[0].data_bytes == 0


def test_a_header_full_of_axes_that_are_not_there_is_given_up_at_the_first(tmp_path: Path) -> None:
    remarks = ["COMMENT " + "NAXIS7" * 12] * 30_000
    content = header_of(*START, integer("NAXIS", 999), *remarks)

    inspection = inspect_file(rewrite(tmp_path / "axes.fits", content))

    assert codes(inspection) == ["structure.mandatory_card"]
    assert "NAXIS1 is absent" in inspection.findings[0].sentence


def test_a_string_over_very_many_cards_is_read_once(tmp_path: Path) -> None:
    part = "'" + "y" * 66 + "&'"
    long_string = [f"LONG    = {part}", *[f"CONTINUE  {part}"] * 100_000]
    content = header_of(*START, integer("NAXIS", 0), *long_string)

    inspection = inspect_file(rewrite(tmp_path / "long.fits", content))

    value = inspection.primary["LONG"]
    assert isinstance(value, str)
    assert len(value) == 100_001 * 66 + 1
    assert inspection.whole


@pytest.mark.parametrize(
    ("card", "code"),
    [("what is this", "header.bad_card"), ("TWICE   = {}", "header.duplicate_keyword")],
)
def test_very_many_bad_cards_are_counted_not_listed(tmp_path: Path, card: str, code: str) -> None:
    cards = [card.format(number) for number in range(5000)]
    content = header_of(*START, integer("NAXIS", 0), *cards)

    inspection = inspect_file(rewrite(tmp_path / "bad.fits", content))

    told = [each for each in inspection.findings if each.code == code]
    assert len(told) == 21
    assert told[-1].sentence.endswith(
        f"the same is wrong with {5000 - 20 - (code != 'header.bad_card')} more cards"
    )
    assert inspection.whole


def test_of_a_very_long_header_only_the_beginning_is_kept_as_bytes(tmp_path: Path) -> None:
    cards = [f"HISTORY line {number}" for number in range(40_000)]

    inspection = inspect_file(
        rewrite(tmp_path / "long.fits", header_of(*START, integer("NAXIS", 0), *cards))
    )

    assert len(inspection.header_block) == 4096 * 80
    assert inspection.header_block.startswith(b"SIMPLE  =")


def test_absent_and_wrong_checksums_are_two_things(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "sums.fits"
    hdus = inspect_file(rewrite(path, whole)).hdus
    content = bytearray(whole)
    content[hdus[4].offset + hdus[4].header_bytes] ^= 1
    for keyword in (b"CHECKSUM=", b"DATASUM ="):
        at = content.index(keyword, hdus[9].offset)
        content[at : at + 80] = b"COMMENT".ljust(80)

    inspection = inspect_file(rewrite(path, bytes(content)))

    assert codes(inspection) == ["checksum.wrong", "checksum.absent"]
    assert inspection.hdus[4].datasum is Verdict.WRONG
    assert (inspection.hdus[9].datasum, inspection.hdus[9].checksum) == (Verdict.ABSENT,) * 2
    verdicts = {hdu.checksum for hdu in inspection.hdus if hdu.index not in {4, 9}}
    assert verdicts == {Verdict.GOOD}
