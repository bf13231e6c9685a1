from __future__ import annotations

import json
from typing import Any

import yaml
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from headerservice.render import as_mapping, from_mapping, to_fits_text, to_json, to_yaml
from headerservice.sensors import Card, Hdu

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=120)
VALUE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
)
KEYWORD = st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True)
CARD = st.builds(Card, KEYWORD, VALUE, TEXT)
HDUS = st.lists(
    st.builds(
        Hdu, st.from_regex(r"R[0-9]{2}S[0-9]{2}_PRIMARY", fullmatch=True), st.lists(CARD).map(tuple)
    ),
    min_size=1,
    unique_by=lambda hdu: hdu.name,
).map(tuple)


@settings(max_examples=40)  # the pure Python loader is slow
@given(HDUS)
def test_yaml_reads_back_as_what_was_written_with_every_loader(hdus: tuple[Hdu, ...]) -> None:
    body = to_yaml(hdus)
    expected = as_mapping(hdus)
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        read = yaml.load(body, Loader=loader)  # noqa: S506 - both are safe
        assert read == expected
        assert [_types(read)] == [_types(expected)]
    assert from_mapping(read) == hdus
    assert json.loads(to_json(hdus)) == expected


def _types(document: Any) -> list[str]:
    return [type(card["value"]).__name__ for cards in document.values() for card in cards]


def test_numbers_and_texts_that_yaml_readers_mistake() -> None:
    values = [1e-05, 1e16, -0.0, 5e-324 * 2**60, "20251121", "1e5", "NO", "0o17", "12:30", "~", ""]
    hdus = (Hdu("PRIMARY", tuple(Card("X", value, "") for value in values)),)
    read = yaml.safe_load(to_yaml(hdus))["PRIMARY"]
    assert [repr(card["value"]) for card in read] == [repr(value) for value in values]


def test_fits_text_is_what_astropy_reads() -> None:
    primary = Hdu(
        "PRIMARY",
        (
            Card("SIMPLE", True, "conforms to the FITS standard"),
            Card("BITPIX", 8, "bits"),
            Card("NAXIS", 0, "axes"),
            Card("COMMENT", "---- Pointing ----", ""),
            Card("RA", 150.123456789, "[deg] " + "long comment " * 8),
            Card("EMUIMAGE", None, "image that was played back instead"),
            Card("OBJECT", "x" * 150, "a long text"),
            Card("HIERARCH SIMULATE MTDOMETRAJECTORY", 1, "0 for the real trajectory"),
            Card("HIERARCH CALIB LED_NAMES", None, "lamps that are on " * 5),
            Card("QUOTE", "O'Neill", "quoted"),
        ),
    )
    text = to_fits_text((primary, Hdu("R22S11_PRIMARY", (Card("CCDSLOT", "S11", "slot"),))))
    lines = text.decode("ascii").splitlines()
    assert all(len(line) == 80 for line in lines)
    first = lines[: lines.index("END".ljust(80))]
    header = fits.Header.fromstring("".join(first))
    assert header["RA"] == 150.123456789
    assert header["EMUIMAGE"] is None
    assert header["OBJECT"] == "x" * 150
    assert header["SIMULATE MTDOMETRAJECTORY"] == 1
    assert header["QUOTE"] == "O'Neill"
    assert lines[3].startswith("COMMENT ---- Pointing")
    assert lines.count("END".ljust(80)) == 2
    assert any(line.startswith("EXTNAME = 'R22S11_PRIMARY'") for line in lines)
