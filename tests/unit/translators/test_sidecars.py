"""The JSON sidecar of a header and back."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translators.errors import SidecarError
from translators.sidecar import header_from_sidecar, sidecar_bytes
from translators.translate import translate

Cards = dict[str, Any]


def test_format_is_that_which_prompt_processing_reads(sky_header: Cards) -> None:
    content = sidecar_bytes({"OBSID": "MC_O_20250501_000123", "SIMULATE MTMOUNT": 1, "RA": None})

    assert list(json.loads(content).items()) == [
        ("__CONTENT__", "metadata"),
        ("OBSID", "MC_O_20250501_000123"),
        ("HIERARCH.SIMULATE.MTMOUNT", 1),
        ("RA", None),
    ]
    assert len(sidecar_bytes(sky_header)) < 4096


def test_header_comes_back(sky_header: Cards) -> None:
    header = sky_header | {"RASTART": None}

    again = header_from_sidecar(sidecar_bytes(header))

    assert again == header
    assert list(again) == list(header)


def test_header_from_a_sidecar_translates_as_the_file_does(sky_header: Cards) -> None:
    name = "MC_O_20250501_000123_R22_S11.fits"

    by_sidecar = translate(header_from_sidecar(sidecar_bytes(sky_header)), file_name=name)

    assert by_sidecar == translate(sky_header, file_name=name)


def test_what_is_not_a_number_becomes_undefined() -> None:
    content = sidecar_bytes({"A": math.nan, "B": math.inf, "C": 1.5})

    assert header_from_sidecar(content) == {"A": None, "B": None, "C": 1.5}


def test_sidecar_without_its_mark_is_taken_for_a_header() -> None:
    assert header_from_sidecar(b'{"OBSID": "x"}') == {"OBSID": "x"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no JSON"),
        (b"SIMPLE  = T", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[1, 2]", "list, not an object"),
        (b'{"__CONTENT__": "translated", "exposure_id": 5}', "translated values"),
        (b'{"OBSID": {"a": 1}, "RA": 5}', "OBSID are no values"),
        (b'{"RA": NaN}', "NaN is no JSON"),
        (b'{"RA": 1e999}', "RA are no values"),
    ],
)
def test_what_is_no_sidecar_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(SidecarError, match=says):
        header_from_sidecar(content)


WORDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=8)
KEYWORDS = WORDS.filter(lambda word: word != "HIERARCH") | st.lists(
    WORDS, min_size=2, max_size=3
).map(" ".join)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
)


@given(st.dictionaries(KEYWORDS, VALUES))
def test_every_header_comes_back(header: Cards) -> None:
    again = header_from_sidecar(sidecar_bytes(header))

    assert again == header
    assert [type(value) for value in again.values()] == [type(value) for value in header.values()]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(SidecarError):
        assert isinstance(header_from_sidecar(content), dict)
