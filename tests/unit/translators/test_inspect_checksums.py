"""What an inspection says of DATASUM and CHECKSUM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from translators.findings import Severity
from translators.fits.checksums import checksum_verdict, datasum_verdict, fold, word_sum
from translators.inspect import inspect_file
from translators.inspection import Verdict
from translators.instruments import instrument
from translators.policy import InspectionPolicy

WriteRaw = Callable[..., Path]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def test_one_flipped_bit_in_data_is_found(write_raw: WriteRaw) -> None:
    path = write_raw()
    hdu = inspect_file(path).hdus[5]
    flip(path, hdu.offset + hdu.header_bytes + 100)

    inspection = inspect_file(path)

    (finding,) = inspection.findings
    assert (finding.code, finding.severity, finding.hdu) == ("checksum.wrong", Severity.ERROR, 5)
    assert "DATASUM and CHECKSUM" in finding.sentence
    assert not inspection.whole
    assert inspection.hdus[5].datasum is Verdict.WRONG
    assert {hdu.datasum for hdu in inspection.hdus if hdu.index != 5} == {Verdict.GOOD}


def test_edited_card_is_found_by_checksum_only(write_raw: WriteRaw) -> None:
    path = write_raw()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"r_57", b"g_57", 1))

    inspection = inspect_file(path)

    (finding,) = inspection.findings
    assert finding.hdu == 0
    assert finding.sentence.startswith("HDU 0 (PRIMARY): its bytes do not fit CHECKSUM;")
    assert inspection.hdus[0].datasum is Verdict.GOOD
    assert inspection.hdus[0].checksum is Verdict.WRONG


def test_wrong_checksums_may_be_a_warning(write_raw: WriteRaw) -> None:
    path = write_raw()
    hdu = inspect_file(path).hdus[5]
    flip(path, hdu.offset + hdu.header_bytes)

    assert inspect_file(path, policy=InspectionPolicy(wrong_checksum=Severity.WARNING)).whole


def test_absent_checksums_are_a_warning_where_the_instrument_writes_them(
    write_raw: WriteRaw,
) -> None:
    inspection = inspect_file(write_raw(checksum=False))

    (finding,) = inspection.findings
    assert (finding.code, finding.severity) == ("checksum.absent", Severity.WARNING)
    assert finding.sentence.startswith("19 of 19 HDUs")
    assert inspection.whole
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.ABSENT}


def test_absent_checksums_are_an_information_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "dome.fits"
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)

    (finding,) = inspect_file(path).findings

    assert (finding.code, finding.severity) == ("checksum.absent", Severity.INFO)


def test_absent_checksums_may_be_an_error(write_raw: WriteRaw) -> None:
    policy = InspectionPolicy(absent_checksum=Severity.ERROR)

    assert not inspect_file(write_raw(checksum=False), policy=policy).whole


def test_cut_hdu_is_not_said_to_be_altered_as_well(write_raw: WriteRaw) -> None:
    path = write_raw()
    path.write_bytes(path.read_bytes()[:30_000])

    assert [finding.code for finding in inspect_file(path).findings] == ["structure.truncated"]


@pytest.mark.parametrize("empty", [None, ""])
def test_undefined_checksum_cards_count_as_absent(empty: str | None) -> None:
    assert datasum_verdict(empty, 5) is Verdict.ABSENT
    assert checksum_verdict(empty, 5) is Verdict.ABSENT


@pytest.mark.parametrize("card", [7, "7", " 7 "])
def test_datasum_may_be_a_number_or_text(card: int | str) -> None:
    assert datasum_verdict(card, 7) is Verdict.GOOD
    assert datasum_verdict(card, 8) is Verdict.WRONG


def test_datasum_that_is_no_number_is_wrong() -> None:
    assert datasum_verdict("seven", 7) is Verdict.WRONG


def test_both_zeros_of_the_ones_complement_are_a_good_checksum() -> None:
    assert checksum_verdict("x", 0xFFFFFFFF) is Verdict.GOOD
    assert checksum_verdict("x", 0) is Verdict.GOOD
    assert checksum_verdict("x", 1) is Verdict.WRONG


def ones_complement_sum(data: bytes) -> int:
    """The definition, word by word."""
    total = 0
    for start in range(0, len(data), 4):
        total += int.from_bytes(data[start : start + 4], "big")
        if total > 0xFFFFFFFF:
            total -= 0xFFFFFFFF
    return total


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=300).map(b"".join))
def test_sum_is_the_ones_complement_sum(data: bytes) -> None:
    assert fold(word_sum(data)) == ones_complement_sum(data)


@pytest.mark.parametrize("words", [32_767, 32_768, 32_769, 65_536, 100_000])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_sum_of_many_words_is_exact(words: int, seed: int | None) -> None:
    if seed is None:
        data = np.full(words, 0xFFFFFFFF, dtype=np.uint32)
    else:
        data = np.random.default_rng(seed).integers(0, 1 << 32, size=words, dtype=np.uint32)

    exact = sum(int(word) for word in data.byteswap())

    assert word_sum(data.tobytes()) == exact


@given(st.binary(min_size=0, max_size=64).map(lambda data: data * 4), st.integers(0, 16))
def test_sum_of_parts_is_the_sum_of_the_whole(data: bytes, at: int) -> None:
    cut = min(at * 4, len(data))
    assert fold(word_sum(data[:cut]) + word_sum(data[cut:])) == fold(word_sum(data))


def test_many_wrong_checksums_are_one_finding_that_names_the_hdus(write_raw: WriteRaw) -> None:
    path = write_raw()
    for hdu in inspect_file(path).hdus[1:13]:
        flip(path, hdu.offset + hdu.header_bytes)

    (finding,) = inspect_file(path).findings

    assert (finding.code, finding.severity, finding.hdu) == ("checksum.wrong", Severity.ERROR, None)
    assert finding.sentence.startswith("12 of 19 HDUs (HDU 1, 2, 3, 4, 5, 6, 7, 8 and 4 more):")


def test_checksums_that_a_compressor_carried_along_say_nothing_and_are_told(
    write_raw: WriteRaw,
) -> None:
    """CHECKSUM and DATASUM of the image before compression are not those of the table."""
    path = write_raw()
    content = bytearray(path.read_bytes())
    for hdu in inspect_file(path).hdus[1:17]:
        cards = range(hdu.offset, hdu.offset + hdu.header_bytes, 80)
        for keyword, kept in ((b"DATASUM ", b"ZDATASUM"), (b"CHECKSUM", b"ZHECKSUM")):
            here = [card for card in cards if content[card : card + 8] == keyword]
            there = [card for card in cards if content[card : card + 8] == kept]
            if not there:  # the next card moves on by one: END has room behind it
                there = [card for card in cards if content[card : card + 8] == b"END     "]
                content[there[0] + 80 : there[0] + 160] = b"END".ljust(80)
            for name, at in ((keyword, here[0]), (kept, there[0])):
                content[at : at + 80] = name + b"= '1234567890ABCDEF'".ljust(72)
    path.write_bytes(content)

    inspection = inspect_file(path)

    assert inspection.whole
    assert [finding.code for finding in inspection.findings] == ["checksum.borrowed"]
    assert {hdu.checksum for hdu in inspection.hdus[1:17]} == {Verdict.BORROWED}
    flip(path, inspection.hdus[0].header_bytes - 10)
    assert "checksum.wrong" in {finding.code for finding in inspect_file(path).findings}


def test_a_simulated_camera_is_sent_on_with_a_warning_a_real_one_is_not() -> None:
    assert instrument("LSSTComCamSim").files.wrong_checksum is Severity.WARNING
    for name in ("LSSTCam", "LSSTComCam", "LATISS"):
        assert instrument(name).files.wrong_checksum is Severity.ERROR
