"""Units in the comments of cards."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from translators.fits.comments import card_units
from translators.inspect import inspect_file

WriteRaw = Callable[..., Path]


def units(*cards: str) -> dict[str, str]:
    return card_units("".join(card.ljust(80) for card in cards).encode("latin-1"))


@pytest.mark.parametrize(
    ("card", "unit"),
    [
        ("EXPTIME =                 30.0 / [s] exposure time", "s"),
        ("EXPTIME =                 30.0/[s]exposure time", "s"),
        ("EXPTIME =                 30.0 /  [ deg_C ] warm", "deg_C"),
        ("EXPTIME =                      / [m s-1] undefined", "m s-1"),
        ("EXPTIME = '30.0    '           / [s] text", "s"),
        ("EXPTIME = 'a / [mm] ''b'' '    / [s] text", "s"),
        ("EXPTIME =                 30.0 / exposure time [s]", None),
        ("EXPTIME =                 30.0 / exposure time", None),
        ("EXPTIME = 'a / [mm] b'", None),
        ("EXPTIME = 'never closed / [mm]", None),
        ("EXPTIME =                 30.0 / []", None),
        ("EXPTIME =                 30.0 / [[s]]", None),
        ("EXPTIME =                 30.0 / [s", None),
        ("EXPTIME =                 30.0 / [" + "s" * 31 + "]", None),
        ("EXPTIME =                 30.0", None),
    ],
)
def test_the_unit_is_what_the_comment_begins_with(card: str, unit: str | None) -> None:
    assert units(card) == ({} if unit is None else {"EXPTIME": unit})


def test_the_first_of_two_cards_counts_also_where_it_states_none() -> None:
    assert units("A       = 1 / [s] a", "A       = 1 / [m] a") == {"A": "s"}
    assert units("A       = 1 / a", "A       = 1 / [m] a") == {}


def test_hierarch_and_commentary() -> None:
    assert units(
        "HIERARCH DOME AZIMUTH = 12.5 / [deg] of the slit",
        "COMMENT EXPTIME = 30.0 / [s] no card",
        "HISTORY = 1 / [s]",
        "END",
    ) == {"DOME AZIMUTH": "deg"}


@given(st.binary(max_size=800))
def test_anything_gives_units_or_none(header: bytes) -> None:
    for keyword, unit in card_units(header).items():
        assert isinstance(keyword, str)
        assert unit
        assert unit == unit.strip()


@given(st.lists(st.sampled_from(["s", "deg", "m/s", "%", None]), max_size=30))
def test_units_are_those_that_astropy_wrote(wanted: list[str | None]) -> None:
    header = fits.Header()
    for number, unit in enumerate(wanted):
        comment = "no unit" if unit is None else f"[{unit}] a comment"
        header[f"KEY{number}"] = (number * 0.5, comment)

    found = card_units(header.tostring().encode())

    assert found == {f"KEY{n}": unit for n, unit in enumerate(wanted) if unit is not None}


def test_an_inspection_keeps_the_header_and_is_compared_and_shown_without_it(
    write_raw: WriteRaw,
) -> None:
    inspection = inspect_file(write_raw())

    assert inspection.header_block
    assert "header_block" not in repr(inspection)
    again = pickle.loads(pickle.dumps(inspection))  # noqa: S301 - our own bytes
    assert again == inspection
    assert again.header_block == inspection.header_block
