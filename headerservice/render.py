"""Writes a header: YAML in the form that readers of header services know, JSON, FITS text.

YAML and JSON are a mapping from EXTNAME to a list of `{keyword, value, comment}`.
The YAML is written here and not by PyYAML, because the header of a whole focal
plane has to be out within milliseconds; `yaml.safe_load` of it gives the same
mapping, which a test proves for any header.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from headerservice.fits_text import END, card_lines
from headerservice.rules import Value
from headerservice.sensors import Card, Hdu

YAML_TYPE = "text/yaml"
"""Media type of the YAML, as largeFileObjectAvailable and HTTP name it."""

_KEPT = 512
"""Headers of sensors whose YAML is kept: they stay the same objects for a whole night."""


def to_yaml(hdus: Iterable[Hdu]) -> bytes:
    """Return headers as YAML."""
    first, *others = hdus
    return (_hdu_yaml(first) + "".join(_sensors.text(hdu) for hdu in others)).encode("ascii")


class _Kept:
    """The YAML of headers that were written before.

    They are known by identity: equal headers need not be the same, as 1, 1.0 and True are not.
    """

    def __init__(self) -> None:
        self._texts: OrderedDict[int, tuple[Hdu, str]] = OrderedDict()
        self._lock = Lock()

    def text(self, hdu: Hdu) -> str:
        """Return the YAML of a header."""
        known = self._texts.get(id(hdu))
        if known is not None and known[0] is hdu:
            return known[1]
        text = _hdu_yaml(hdu)
        with self._lock:
            self._texts[id(hdu)] = (hdu, text)
            if len(self._texts) > _KEPT:
                self._texts.popitem(last=False)
        return text


_sensors = _Kept()


def _hdu_yaml(hdu: Hdu) -> str:
    cards = "".join(
        f"{_before(card.keyword)}{_scalar(card.value)}{_behind(card.comment)}" for card in hdu.cards
    )
    return f"{json.dumps(hdu.name)}:\n{cards}" if cards else f"{json.dumps(hdu.name)}: []\n"


@lru_cache(maxsize=1024)
def _before(keyword: str) -> str:
    return f"- keyword: {json.dumps(keyword)}\n  value: "


@lru_cache(maxsize=1024)
def _behind(comment: str) -> str:
    return f"\n  comment: {json.dumps(comment)}\n"


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
    lines: list[str] = []
    for number, hdu in enumerate(hdus):
        if number:
            lines += card_lines(Card("EXTNAME", hdu.name, "name of this HDU"))
        for card in hdu.cards:
            lines += card_lines(card)
        lines.append(END)
    return ("\n".join(lines) + "\n").encode("ascii")
