"""The JSON sidecar of a FITS file: its header, or what it was translated to.

The formats are those that prompt processing and the Butler's ingest read, and
astro-metadata-translator's `read_sidecar`: a flat object, `__CONTENT__` first.
`metadata` is the header: `HIERARCH A B` as `HIERARCH.A.B`, undefined values as
null. `translated` is the record of `ObservationInfo.to_simple()`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, isinf
from typing import Any

from translators.errors import SidecarError
from translators.inspection import CardValue

CONTENT_KEY = "__CONTENT__"
"""Says of a sidecar or an index file what its values are."""

_HIERARCH = "HIERARCH"
_STANDARD_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
FITS_NAME = re.compile(r"\.(?:fits?|fts)(?:\.[gf]z)?$", re.IGNORECASE)
"""How FITS files are called."""
_VALUES = frozenset({str, int, bool, type(None)})


class Content(StrEnum):
    """What the values of a sidecar or an index file are."""

    METADATA = "metadata"
    """Those of the header, as it was written: corrections still have to be applied."""
    TRANSLATED = "translated"
    """Properties of the observation."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar holds."""

    content: Content
    values: Mapping[str, Any]
    """Cards as `Inspection.primary` has them, or the translated record."""


def sidecar_name(file_name: str) -> str:
    """Return the name of a file's sidecar: `.fits`, `.fits.gz` and `.fits.fz` become `.json`."""
    stem, found = FITS_NAME.subn("", file_name)
    return f"{stem if found else file_name}.json"


def sidecar_bytes(header: Mapping[str, CardValue]) -> bytes:
    """Return the sidecar of a primary header.

    Parameters
    ----------
    header
        Cards as `Inspection.primary` has them. What is not a number has no form in
        FITS nor in JSON and becomes undefined.
    """
    content: dict[str, CardValue] = {CONTENT_KEY: Content.METADATA.value}
    content |= {_sidecar_key(keyword): finite(value) for keyword, value in header.items()}
    return _json(content)


def translated_sidecar_bytes(record: Mapping[str, Any]) -> bytes:
    """Return the sidecar of a translated record.

    Parameters
    ----------
    record
        `ObservationInfo.to_simple()` as plain JSON.
    """
    return _json({CONTENT_KEY: Content.TRANSLATED.value, **record})


def read_sidecar(content: bytes) -> Sidecar:
    """Return what a sidecar holds.

    One without `__CONTENT__` is taken for a record where it names the observation
    and the instrument, else for a header, as astro-metadata-translator does.

    Raises
    ------
    SidecarError
        It is no JSON object of a header or a record.
    """
    found = json_object(content, "the sidecar")
    mode = found.pop(CONTENT_KEY, None)
    if mode is None:
        known = "observation_id" in found and "instrument" in found
        mode = Content.TRANSLATED if known else Content.METADATA
    if mode not in set(Content):
        raise SidecarError(f"the sidecar says that its content is {mode!r}, which nobody knows")
    if mode == Content.TRANSLATED:
        return Sidecar(Content.TRANSLATED, found)
    return Sidecar(Content.METADATA, header_of(found, "the sidecar"))


def header_from_sidecar(content: bytes) -> Mapping[str, CardValue]:
    """Return the header that a sidecar holds.

    Raises
    ------
    SidecarError
        It is no JSON object of a header.
    """
    found = json_object(content, "the sidecar")
    if found.pop(CONTENT_KEY, Content.METADATA) != Content.METADATA:
        raise SidecarError(
            "the sidecar holds translated values, not the header; write it again from the FITS file"
        )
    return header_of(found, "the sidecar")


def json_object(content: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object, strictly.

    Raises
    ------
    SidecarError
        It is none.
    """
    try:
        found = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"{what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SidecarError(f"{what} is a JSON {type(found).__name__}, not an object")
    return found


def header_of(values: Mapping[str, Any], what: str) -> dict[str, CardValue]:
    """Return the header that the values of a sidecar or an index are.

    Raises
    ------
    SidecarError
        Some are no values of cards.
    """
    wrong = [key for key, value in values.items() if not _is_card_value(value)]
    if wrong:
        raise SidecarError(f"in {what} {', '.join(wrong)} are no values of cards")
    return {
        _keyword(key) if key.startswith(_HIERARCH) else key: value for key, value in values.items()
    }


def finite(value: CardValue) -> CardValue:
    """Return a value, undefined where it is no number though it should be."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _is_card_value(value: Any) -> bool:
    return type(value) in _VALUES or (isinstance(value, float) and not isinf(value))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def _refuse(constant: str) -> CardValue:
    raise ValueError(f"{constant} is no JSON")


def _sidecar_key(keyword: str) -> str:
    if _STANDARD_KEYWORD.fullmatch(keyword):
        return keyword
    return ".".join((_HIERARCH, *keyword.split(" ")))


def _keyword(key: str) -> str:
    first, *rest = key.split(".")
    return " ".join(rest) if first == _HIERARCH and rest else key
