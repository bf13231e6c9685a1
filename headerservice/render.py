"""Writes a header: YAML in the form that readers of header services know, JSON, FITS text.

YAML and JSON are a mapping from EXTNAME to a list of `{keyword, value, comment}`.
The YAML is written here and not by PyYAML, because the header of a whole focal
plane has to be out within milliseconds; `yaml.safe_load` of it gives the same
mapping, which a test proves for any header.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headerservice.rules import Value
from headerservice.sensors import Card, Hdu

if TYPE_CHECKING:
    from astropy.io import fits

YAML_TYPE = "text/yaml"
"""Media type of the YAML, as largeFileObjectAvailable and HTTP name it."""

_CARD_LENGTH = 80
_VALUE_END = 30
"""Column at which a value of fixed format ends."""


def to_yaml(hdus: Iterable[Hdu]) -> bytes:
    """Return headers as YAML."""
    first, *others = hdus
    return (_hdu_yaml(first) + _others_yaml(tuple(others))).encode("ascii")


@lru_cache(maxsize=4)
def _others_yaml(hdus: tuple[Hdu, ...]) -> str:
    """Return the YAML of the sensors: they stay the same for a whole night."""
    return "".join(_hdu_yaml(hdu) for hdu in hdus)


def _hdu_yaml(hdu: Hdu) -> str:
    cards = "".join(
        f"- keyword: {json.dumps(card.keyword)}\n"
        f"  value: {_scalar(card.value)}\n"
        f"  comment: {json.dumps(card.comment)}\n"
        for card in hdu.cards
    )
    return f"{json.dumps(hdu.name)}:\n{cards}" if cards else f"{json.dumps(hdu.name)}: []\n"


def _scalar(value: Value | None) -> str:
    """Return a value so that YAML 1.1 and 1.2 readers take it for the same."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        mantissa, exponential, exponent = text.partition("e")
        if exponential and "." not in mantissa:
            return f"{mantissa}.0e{exponent}"  # YAML 1.1 wants a point, or takes it for a text
        return text
    return json.dumps(value)


def to_json(hdus: Iterable[Hdu]) -> bytes:
    """Return headers as JSON."""
    return json.dumps(as_mapping(hdus), allow_nan=False).encode("ascii")


def as_mapping(hdus: Iterable[Hdu]) -> dict[str, list[dict[str, Any]]]:
    """Return headers as plain values."""
    return {hdu.name: [card._asdict() for card in hdu.cards] for hdu in hdus}


def from_mapping(data: Mapping[str, Any]) -> tuple[Hdu, ...]:
    """Return the headers that `as_mapping` was made of."""
    return tuple(Hdu(name, tuple(Card(**card) for card in cards)) for name, cards in data.items())


def to_fits_text(hdus: Iterable[Hdu]) -> bytes:
    """Return headers as FITS cards, one a line of 80 characters, each header with its END.

    A long text goes on in CONTINUE cards. An EXTNAME stands before the cards of
    each header but the first.
    """
    texts = [
        _fits_header(hdu, named=number > 0).tostring(sep="\n", endcard=True, padding=False)
        for number, hdu in enumerate(hdus)
    ]
    return ("\n".join(texts) + "\n").encode("ascii")


def _fits_header(hdu: Hdu, *, named: bool) -> fits.Header:
    from astropy.io import fits  # noqa: PLC0415 - half a second that the service does not need to start

    cards = [Card("EXTNAME", hdu.name, "name of this HDU"), *hdu.cards] if named else hdu.cards
    header = fits.Header()
    for card in cards:
        header.append(_fits_card(card), end=True, bottom=True)
    return header


def _fits_card(card: Card) -> fits.Card:
    """Return a card with as much of its comment as fits."""
    from astropy.io import fits  # noqa: PLC0415 - as above

    if card.keyword == "COMMENT":
        return fits.Card("COMMENT", card.value)
    value = fits.card.UNDEFINED if card.value is None else card.value
    bare = str(fits.Card(card.keyword, value)).rstrip() + (" " if card.value is None else "")
    if len(bare) > _CARD_LENGTH:
        return fits.Card(card.keyword, value, card.comment)  # goes on in CONTINUE cards
    begin = len(bare) if bare.startswith("HIERARCH") else max(len(bare), _VALUE_END)
    return fits.Card(card.keyword, value, card.comment[: max(0, _CARD_LENGTH - begin - len(" / "))])
