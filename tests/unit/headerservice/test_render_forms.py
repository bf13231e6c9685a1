"""YAML, JSON and FITS text say the same, value by value."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headerservice.render import to_fits_text, to_json, to_yaml
from headerservice.sensors import Card, Hdu

PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)
TEXT = st.text(PRINTABLE, max_size=300).map(str.rstrip)
VALUE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
)
SPECIAL = {"COMMENT", "HISTORY", "CONTINUE", "END", "HIERARCH", "EXTNAME"}
KEYWORD = st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True).filter(
    lambda word: word not in SPECIAL
) | st.from_regex(r"HIERARCH [A-Z]{1,12} [A-Z0-9_]{2,20}", fullmatch=True)
CARDS = st.lists(
    st.builds(Card, KEYWORD, VALUE, st.text(PRINTABLE, max_size=60)),
    unique_by=lambda card: card.keyword,
    max_size=12,
).map(tuple)
HDUS = st.lists(
    st.builds(Hdu, st.from_regex(r"R[0-9]{2}S[0-9]{2}_PRIMARY", fullmatch=True), CARDS),
    min_size=1,
    max_size=4,
    unique_by=lambda hdu: hdu.name,
).map(tuple)


def fits_headers(text: bytes) -> list[fits.Header]:
    """Return what astropy reads."""
    lines = text.decode("ascii").splitlines()
    assert all(len(line) == 80 for line in lines)
    headers, begun = [], 0
    for place, line in enumerate(lines):
        if line.rstrip() == "END":
            headers.append(fits.Header.fromstring("".join(lines[begun:place])))
            begun = place + 1
    assert begun == len(lines)
    return headers


def plain(value: Any) -> Any:
    return None if isinstance(value, fits.card.Undefined) else value


@settings(max_examples=80, deadline=None)
@given(HDUS)
@example((Hdu("PRIMARY", (Card("A", "'" * 80, "x"), Card("B", "a" * 66 + "''b&", "y"))),))
@example((Hdu("PRIMARY", (Card("A", 1, ""),)), Hdu("R00S00_PRIMARY", (Card("A", True, ""),))))
@example((Hdu("PRIMARY", ()), Hdu("R00S00_PRIMARY", (Card("A", -0.0, ""),))))
@example((Hdu("PRIMARY", ()), Hdu("R00S00_PRIMARY", (Card("A", 0.0, ""),))))
def test_the_three_forms_agree_value_by_value(hdus: tuple[Hdu, ...]) -> None:
    from_yaml = yaml.load(to_yaml(hdus), Loader=yaml.CSafeLoader)
    from_json = json.loads(to_json(hdus))
    from_fits = fits_headers(to_fits_text(hdus))
    assert list(from_yaml) == list(from_json) == [hdu.name for hdu in hdus]
    for number, (hdu, header) in enumerate(zip(hdus, from_fits, strict=True)):
        cards = [card for card in header.cards if card.keyword != "EXTNAME"]
        if number:
            assert header["EXTNAME"] == hdu.name
        for place, card in enumerate(hdu.cards):
            expected = repr(card.value)
            assert repr(from_yaml[hdu.name][place]["value"]) == expected
            assert repr(from_json[hdu.name][place]["value"]) == expected
            read = cards[place]
            assert read.keyword == card.keyword.removeprefix("HIERARCH ")
            assert repr(plain(read.value)) == expected
            assert card.comment.strip().startswith(read.comment.strip())
        assert len(cards) == len(hdu.cards)


@settings(max_examples=60, deadline=None)
@given(st.text(PRINTABLE, max_size=400).map(str.rstrip))
def test_a_comment_of_any_length_stays_what_it_is(text: str) -> None:
    (header,) = fits_headers(to_fits_text((Hdu("PRIMARY", (Card("COMMENT", text, ""),)),)))
    pieces = [text[place : place + 72] for place in range(0, max(len(text), 1), 72)]
    assert [str(line) for line in header["COMMENT"]] == [piece.rstrip() for piece in pieces]


@pytest.mark.parametrize(
    "value", [1.2345678901234567e-100, -2.2250738585072014e-308, 1.7976931348623157e308, 1e22]
)
def test_a_number_with_more_than_twenty_characters_is_not_cut(value: float) -> None:
    for keyword in ("X", "HIERARCH CALIB SOMETHING LONG_ENOUGH"):
        (header,) = fits_headers(to_fits_text((Hdu("PRIMARY", (Card(keyword, value, "c"),)),)))
        assert header[keyword.removeprefix("HIERARCH ")] == value


def test_headers_that_are_equal_but_not_the_same_keep_their_values() -> None:
    primary = Hdu("PRIMARY", ())
    for value in (1, True, 1.0, 0.0, -0.0, False, 0):
        body = to_yaml((primary, Hdu("R00S00_PRIMARY", (Card("A", value, ""),))))
        (card,) = yaml.safe_load(body)["R00S00_PRIMARY"]
        assert repr(card["value"]) == repr(value)
