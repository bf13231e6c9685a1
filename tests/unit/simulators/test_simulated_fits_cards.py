from __future__ import annotations

import io
import math

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from daemons.simulators.fits_cards import BLOCK_BYTES, CARD_BYTES, card, padded, seal, section
from translators.fits.cards import parse_header
from translators.fits.checksums import fold, word_sum
from translators.inspection import CardValue

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda number: number == 0 or 1e-90 < abs(number) < 1e90
    ),
    PRINTABLE.map(str.rstrip),
)
MANDATORY = (
    card("SIMPLE", True),
    card("BITPIX", 8),
    card("NAXIS", 0),
    card("EXTEND", True),
)


@given(st.sampled_from(["OBJECT", "RA", "HIERARCH SIMULATE MTMOUNT"]), VALUES, PRINTABLE)
def test_a_card_is_read_back(keyword: str, value: CardValue, comment: str) -> None:
    written = card(keyword, value, comment)
    assert len(written) % CARD_BYTES == 0
    parsed = parse_header(written)
    assert parsed.findings == ()
    found = parsed.cards[keyword.removeprefix("HIERARCH ")]
    if isinstance(value, float):
        assert found == pytest.approx(value, rel=1e-13)
    else:
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_undefined(value: float) -> None:
    assert card("RA", value, "c").startswith(b"RA      =" + b" " * 22 + b"/ c")


def test_a_value_does_not_depend_on_what_was_written_before() -> None:
    assert card("A", 1) != card("A", 1.0) != card("A", True)
    assert card("A", -0.0) == card("A", 0.0)


def test_letters_outside_of_ascii_are_replaced() -> None:
    assert parse_header(card("OBJECT", "Señal")).cards == {"OBJECT": "Se?al"}


def test_a_long_comment_is_cut() -> None:
    written = card("OBJECT", "x" * 40, "y" * 70)
    assert len(written) == CARD_BYTES
    assert parse_header(written).cards == {"OBJECT": "x" * 40}


def test_a_section_is_commentary() -> None:
    assert parse_header(section("Pointing")).cards == {}
    assert len(section("Pointing")) == CARD_BYTES


@given(st.lists(VALUES, max_size=60), st.binary(max_size=6000))
def test_a_sealed_hdu_sums_to_zero(values: list[CardValue], data: bytes) -> None:
    data = padded(data)
    summed = fold(word_sum(data))
    cards = [card(f"KEY{place}", value) for place, value in enumerate(values)]
    header, checksum = seal(cards, summed)
    assert len(header) % BLOCK_BYTES == 0
    assert fold(word_sum(header) + summed) in {0, 0xFFFFFFFF}
    assert checksum.isalnum()
    assert len(checksum) == 16


@given(st.lists(VALUES, max_size=60))
def test_astropy_finds_the_checksums_right(values: list[CardValue]) -> None:
    cards = [card(f"KEY{place}", value) for place, value in enumerate(values)]
    header, _ = seal([*MANDATORY, *cards], 0)
    with fits.open(io.BytesIO(header), checksum=True) as written:
        assert written[0].verify_checksum() == 1
        assert written[0].verify_datasum() == 1
