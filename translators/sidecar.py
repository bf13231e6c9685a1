"""The JSON sidecar of a FITS file: its primary header for who cannot read FITS.

The format is the one that prompt processing and the Butler's ingest read: a flat
object, `__CONTENT__` first, `HIERARCH A B` as `HIERARCH.A.B`, undefined values as
null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite, isinf

from translators.errors import SidecarError
from translators.inspection import CardValue

_CONTENT_KEY = "__CONTENT__"
_METADATA = "metadata"
"""Says that the values are those of the header, not translated ones."""

_HIERARCH = "HIERARCH"
_STANDARD_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")


def sidecar_bytes(header: Mapping[str, CardValue]) -> bytes:
    """Return the sidecar of a primary header.

    Parameters
    ----------
    header
        Cards as `Inspection.primary` has them. What is not a number has no form in
        FITS nor in JSON and becomes undefined.
    """
    content: dict[str, CardValue] = {_CONTENT_KEY: _METADATA}
    content |= {_sidecar_key(keyword): _finite(value) for keyword, value in header.items()}
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def header_from_sidecar(content: bytes) -> Mapping[str, CardValue]:
    """Return the header that a sidecar holds.

    Raises
    ------
    SidecarError
        It is no JSON object of a header.
    """
    try:
        found = json.loads(content, parse_constant=_refuse)
    except ValueError as error:
        raise SidecarError(f"the sidecar is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SidecarError(f"the sidecar is a JSON {type(found).__name__}, not an object")
    if found.pop(_CONTENT_KEY, _METADATA) != _METADATA:
        raise SidecarError(
            "the sidecar holds translated values, not the header; write it again from the FITS file"
        )
    wrong = [
        key
        for key, value in found.items()
        if isinstance(value, (dict, list)) or (isinstance(value, float) and isinf(value))
    ]
    if wrong:
        raise SidecarError(f"in the sidecar {', '.join(wrong)} are no values of cards")
    return {_keyword(key): value for key, value in found.items()}


def _refuse(constant: str) -> CardValue:
    raise ValueError(f"{constant} is no JSON")


def _finite(value: CardValue) -> CardValue:
    return None if isinstance(value, float) and not isfinite(value) else value


def _sidecar_key(keyword: str) -> str:
    if _STANDARD_KEYWORD.fullmatch(keyword):
        return keyword
    return ".".join((_HIERARCH, *keyword.split(" ")))


def _keyword(key: str) -> str:
    first, *rest = key.split(".")
    return " ".join(rest) if first == _HIERARCH and rest else key
