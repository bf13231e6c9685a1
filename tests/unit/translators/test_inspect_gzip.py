"""Files wrapped in gzip: judged inside, hashed as stored, and never half read in silence."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from awscrt.checksums import crc64nvme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.findings import Severity
from translators.fits.source import CHUNK_BYTES, GzipUnwrapper
from translators.inspect import inspect_file
from translators.inspection import Inspection, Verdict

WriteRaw = Callable[..., Path]
EMPTY_MEMBER = gzip.compress(b"", mtime=0)


def codes(inspection: Inspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


def rewrite(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def image() -> bytes:
    """A FITS file that is larger than a chunk, whole and compressed."""
    pixels = np.random.default_rng(5).integers(0, 1 << 30, size=(600, 700), dtype=np.int32)
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(pixels[:9])]).writeto(
        out, checksum=True
    )
    return out.getvalue()


@pytest.mark.parametrize("name", ["image.fits.gz", "image.fits"])
def test_a_wrapped_file_has_its_inner_structure_and_the_digests_of_what_is_stored(
    tmp_path: Path, image: bytes, name: str
) -> None:
    plain = inspect_file(rewrite(tmp_path / "plain.fits", image))
    wrapped = gzip.compress(image, 1)

    inspection = inspect_file(rewrite(tmp_path / name, wrapped))

    assert inspection.hdus == plain.hdus
    assert inspection.primary == plain.primary
    assert inspection.header_block == plain.header_block
    assert {hdu.checksum for hdu in inspection.hdus} == {Verdict.GOOD}
    assert inspection.size_bytes == len(wrapped)
    assert inspection.sha256 == hashlib.sha256(wrapped).hexdigest()
    assert inspection.crc64nvme == f"{crc64nvme(wrapped):016x}"
    assert codes(inspection) == ([] if name.endswith(".gz") else ["structure.gzip"])
    assert inspection.whole


def test_every_cut_of_a_wrapped_file_is_found(tmp_path: Path, write_raw: WriteRaw) -> None:
    wrapped = gzip.compress(write_raw(amplifiers=1).read_bytes())
    path = tmp_path / "cut.fits.gz"

    for length in range(2, len(wrapped), 97):
        inspection = inspect_file(rewrite(path, wrapped[:length]))
        assert "gzip.broken" in codes(inspection), f"cut at {length} of {len(wrapped)}"
        assert not inspection.whole
    for length in range(len(wrapped) - 9, len(wrapped)):
        assert codes(inspect_file(rewrite(path, wrapped[:length])))[0] == "gzip.broken"


@given(cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_members_in_a_row_are_one_file_however_they_are_cut(
    tmp_path: Path, cuts: list[int]
) -> None:
    content = fits_bytes()
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    wrapped = b"".join(
        gzip.compress(content[start:end], 1) for start, end in itertools.pairwise(edges)
    )

    inspection = inspect_file(rewrite(tmp_path / "members.fits.gz", wrapped))

    assert codes(inspection) == ["checksum.absent"]
    assert len(inspection.hdus) == 1


def fits_bytes() -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(np.arange(12.0)).writeto(out)
    return out.getvalue()


@pytest.mark.parametrize("early", range(4))
def test_a_member_that_begins_across_two_chunks_is_read(tmp_path: Path, early: int) -> None:
    """Its two first bytes are in one chunk, in two, or in the next."""
    content = fits_bytes()
    last = gzip.compress(content[2880:])
    first = padded_member(content[:2880], CHUNK_BYTES + 1 - early)
    assert len(first) == CHUNK_BYTES + 1 - early

    inspection = inspect_file(rewrite(tmp_path / "two.fits.gz", first + last))

    assert codes(inspection) == ["checksum.absent"]
    assert inspection.hdus[0].data_bytes == 2880


def padded_member(content: bytes, length: int) -> bytes:
    """Return a gzip member of an exact length; its header holds a long file name."""
    plain = gzip.compress(content, mtime=0)
    name = b"n" * (length - len(plain) - 1) + b"\0"
    return plain[:3] + b"\x08" + plain[4:10] + name + plain[10:]


@pytest.mark.parametrize(
    ("tail", "severity"),
    [
        (b"\0" * 512, Severity.WARNING),
        (b"\0", Severity.WARNING),
        (b"\x1f", Severity.ERROR),
        (b"\x1f\x1f", Severity.ERROR),
        (b"garbage", Severity.ERROR),
        (b"\0\0\x1f\x8b\x08", Severity.ERROR),
        (b"x" * 40_000, Severity.ERROR),
    ],
)
def test_what_stands_behind_the_last_member_is_told(
    tmp_path: Path, tail: bytes, severity: Severity
) -> None:
    wrapped = gzip.compress(fits_bytes())

    inspection = inspect_file(rewrite(tmp_path / "tail.fits.gz", wrapped + tail))

    found = inspection.findings[0]
    assert (found.code, found.severity) == ("structure.trailing_bytes", severity)
    assert f"there are {len(tail)} " in found.sentence
    assert inspection.whole is (severity is Severity.WARNING)


def test_a_last_member_that_is_cut_is_found(tmp_path: Path) -> None:
    content = fits_bytes()
    whole = gzip.compress(content[:2880]) + gzip.compress(content[2880:])

    for length in (len(whole) - 1, len(gzip.compress(content[:2880])) + 2):
        inspection = inspect_file(rewrite(tmp_path / "cut.fits.gz", whole[:length]))
        assert codes(inspection)[0] == "gzip.broken"


def test_a_member_cut_exactly_between_two_is_found_by_the_structure(tmp_path: Path) -> None:
    content = fits_bytes()

    inspection = inspect_file(rewrite(tmp_path / "cut.fits.gz", gzip.compress(content[:2880])))

    assert codes(inspection) == ["structure.truncated"]


def test_a_wrong_sum_of_the_content_is_found_also_when_it_comes_late(tmp_path: Path) -> None:
    """So much content in so few bytes that the inflater holds it back to the end."""
    wrapped = bytearray(gzip.compress(fits_bytes() + b"\0" * 50_000_000))
    wrapped[-6] ^= 1

    inspection = inspect_file(rewrite(tmp_path / "late.fits.gz", bytes(wrapped)))

    assert codes(inspection)[0] == "gzip.broken"


def test_very_many_tiny_members_are_read_without_copying_what_follows_each(tmp_path: Path) -> None:
    """What is left behind each member is copied; in large pieces that would take hours."""
    members = EMPTY_MEMBER * 200_000 + gzip.compress(fits_bytes())

    assert codes(inspect_file(rewrite(tmp_path / "m.fits.gz", members))) == ["checksum.absent"]


def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "zeros.fits.gz", gzip.compress(fits_bytes() + b"\0" * 60_000_000, 1))

    tracemalloc.start()
    try:
        inspection = inspect_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert codes(inspection)[0] == "structure.trailing_bytes"
    assert peak < 6_000_000


@given(content=st.binary(max_size=9000), cuts=st.lists(st.integers(1, 400), max_size=30))
def test_the_same_comes_out_however_the_bytes_come_in(content: bytes, cuts: list[int]) -> None:
    wrapped = gzip.compress(content[:4000]) + EMPTY_MEMBER + gzip.compress(content[4000:])
    out: list[bytes] = []
    unwrapper = GzipUnwrapper(lambda blocks: out.append(bytes(blocks)))
    start = 0
    for cut in [*cuts, len(wrapped)]:
        unwrapper.feed(memoryview(wrapped)[start : start + cut])
        start += cut
    unwrapper.finish()

    assert b"".join(out) == content
    assert all(len(part) % 2880 == 0 for part in out[:-1])
    assert (unwrapper.fault, unwrapper.trailing_bytes) == ("", 0)
