"""What the header service answers: the keywords of an exposure, as YAML.

A mapping of HDU name (`PRIMARY`, `R22S11_PRIMARY`) to a list of cards with `keyword`,
`value` and `comment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from daemons.simulators.errors import HeaderDocumentError
from translators.inspection import CardValue

_LONG_KEYWORD = "HIERARCH "
_STATUS = "HDRSTAT"


@dataclass(frozen=True, slots=True)
class HeaderCard:
    """A keyword of a header document."""

    value: CardValue
    comment: str


Cards = Mapping[str, HeaderCard]
"""Keyword (HIERARCH without the prefix) to card."""


@dataclass(frozen=True, slots=True)
class HeaderDocument:
    """The header of an exposure: what every sensor shares, and what each has of its own."""

    primary: Cards = field(default_factory=dict)
    sensors: Mapping[str, Cards] = field(default_factory=dict)
    """By the sensor's name on the bus, such as `R22S11`."""

    @property
    def early(self) -> bool:
        """True for a first version, before the image has ended."""
        status = self.primary.get(_STATUS)
        return status is not None and status.value == "early"

    def of(self, sensor: str) -> dict[str, HeaderCard]:
        """Return the cards for a sensor: its own before those of all."""
        return {**self.primary, **self.sensors.get(sensor, {})}


def read_header(payload: bytes | str) -> HeaderDocument:
    """Read a header document.

    Raises
    ------
    HeaderDocumentError
        It is none.
    """
    try:
        content = yaml.load(payload, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise HeaderDocumentError(f"the header is no YAML: {error}") from error
    if not isinstance(content, Mapping) or "PRIMARY" not in content:
        raise HeaderDocumentError("the header has no PRIMARY")
    sensors = {
        name.removesuffix("_PRIMARY"): dict(_cards(name, cards))
        for name, cards in content.items()
        if isinstance(name, str) and name.endswith("_PRIMARY")
    }
    return HeaderDocument(dict(_cards("PRIMARY", content["PRIMARY"])), sensors)


def _cards(hdu: str, cards: Any) -> Iterator[tuple[str, HeaderCard]]:
    if not isinstance(cards, list):
        raise HeaderDocumentError(f"{hdu} of the header is no list of cards")
    for each in cards:
        if not isinstance(each, Mapping) or "keyword" not in each:
            raise HeaderDocumentError(f"{hdu} of the header has a card without a keyword: {each!r}")
        keyword, value = each["keyword"], each.get("value")
        if keyword in {None, "", "COMMENT", "HISTORY"}:
            continue
        if not isinstance(value, str | int | float | bool | None):
            raise HeaderDocumentError(
                f"{hdu} of the header has {keyword} = {value!r}, which is no value of a FITS card"
            )
        yield (
            str(keyword).removeprefix(_LONG_KEYWORD),
            HeaderCard(value, str(each.get("comment") or "")),
        )
