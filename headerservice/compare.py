"""Compares two headers keyword by keyword: pure, whatever form they come in.

Exceptions::

    UnreadableHeaderError    (HeaderServiceError) bytes that are no header
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from headerservice.errors import HeaderServiceError

MAKING = frozenset({"DATE", "HDRREV", "HEADVER"})
"""Keywords that tell of the making of a header and not of the exposure."""
STRUCTURE = frozenset(
    {"SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "PCOUNT", "GCOUNT"}
    | {"BZERO", "BSCALE", "CHECKSUM", "DATASUM", "EXTNAME", "INHERIT", "END"}
)
"""Keywords of a FITS file's structure."""
_TEXT = frozenset({"COMMENT", "HISTORY", ""})
_FITS = b"SIMPLE  ="
_PRIMARY = "PRIMARY"

Values = Mapping[str, Mapping[str, Any]]
"""Value by keyword by HDU; null for a keyword without one."""


class UnreadableHeaderError(HeaderServiceError):
    """Bytes that are no header."""

    code = "headerservice.unreadable_header"
    exit_code = 65


@dataclass(frozen=True, slots=True)
class Difference:
    """A keyword that is not the same on both sides."""

    hdu: str
    keyword: str
    kind: str
    """`value`, `only_first`, `only_second`."""
    first: Any
    second: Any


def read_header(content: bytes, name: str) -> Values:
    """Return the values of a header: YAML or JSON of a header service, FITS, or FITS text.

    Raises
    ------
    UnreadableHeaderError
        It is none of these.
    """
    if content[: len(_FITS)] == _FITS and b"\n" not in content[:81]:
        return _of_fits(content, name)
    try:
        text = content.decode()
        if text[8:10] == "= " and "\n" in text[:82]:
            return _of_cards(text)
        document = json.loads(text) if text.startswith("{") else yaml.load(text, yaml.CSafeLoader)
        return {hdu: _of_entries(entries) for hdu, entries in document.items()}
    except (ValueError, AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UnreadableHeaderError(
            f"{name} is no header in YAML, JSON, FITS or FITS text: {str(error).splitlines()[0]}"
        ) from error


def compare(
    first: Values,
    second: Values,
    *,
    tolerance: float = 1e-9,
    ignore: Collection[str] = MAKING | STRUCTURE,
    common: bool = False,
) -> Iterator[Difference]:
    """Yield what differs, in the order of the first header.

    Parameters
    ----------
    first, second
        The headers.
    tolerance
        How far two numbers may be apart, relative to the greater, or absolute near zero.
    ignore
        Keywords that are left out.
    common
        Compare only HDUs and keywords that both have.
    """
    for hdu in dict.fromkeys([*first, *second]):
        if common and not (hdu in first and hdu in second):
            continue
        here, there = first.get(hdu, {}), second.get(hdu, {})
        for keyword in dict.fromkeys([*here, *there]):
            if keyword in ignore:
                continue
            if keyword in here and keyword in there:
                if not _same(here[keyword], there[keyword], tolerance):
                    yield Difference(hdu, keyword, "value", here[keyword], there[keyword])
            elif not common:
                kind = "only_first" if keyword in here else "only_second"
                yield Difference(hdu, keyword, kind, here.get(keyword), there.get(keyword))


def _same(first: Any, second: Any, tolerance: float) -> bool:
    numbers = [
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in (first, second)
    ]
    if all(numbers):
        if math.isnan(first) or math.isnan(second):
            return math.isnan(first) and math.isnan(second)
        return math.isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(first, str) and isinstance(second, str):
        return first.rstrip() == second.rstrip()
    return type(first) is type(second) and bool(first == second)


def _of_entries(entries: Any) -> dict[str, Any]:
    return {
        str(entry["keyword"]): entry["value"]
        for entry in entries
        if str(entry["keyword"]) not in _TEXT
    }


def _of_fits(content: bytes, name: str) -> Values:
    """Return the values of a FITS file's headers."""
    from astropy.io import fits  # noqa: PLC0415 - half a second, for FITS files alone

    found: dict[str, dict[str, Any]] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(content), lazy_load_hdus=True) as hdus:
                for number, hdu in enumerate(hdus):
                    title = str(hdu.header.get("EXTNAME", number)) if number else _PRIMARY
                    found[title] = _of_header(hdu.header)
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableHeaderError(f"{name} is no FITS file that can be read: {error}") from error
    return found


def _of_cards(text: str) -> Values:
    """Return the values of FITS cards, one a line, each header with its END."""
    from astropy.io import fits  # noqa: PLC0415 - as above

    found: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        if line.rstrip() == "END":
            header = fits.Header.fromstring("\n".join(lines), sep="\n")
            title = str(header.get("EXTNAME", len(found))) if found else _PRIMARY
            found[title] = _of_header(header)
            lines = []
    return found


def _of_header(header: Any) -> dict[str, Any]:
    from astropy.io import fits  # noqa: PLC0415 - as above

    return {
        card.keyword: None if isinstance(card.value, fits.card.Undefined) else card.value
        for card in header.cards
        if card.keyword not in _TEXT
    }
