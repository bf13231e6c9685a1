"""Index files: the headers or the records of many files, what they share told once.

The format is astro-metadata-translator's, which the Butler's ingest looks for as
`_index.json` in a folder of raws: `__CONTENT__`, `__COMMON__` with what all files
share, and for each file what it has of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from translators.errors import SidecarError
from translators.sidecar import CONTENT_KEY, Content, finite, header_of, json_object

COMMON_KEY = "__COMMON__"
"""What is the same for all files; by this key an index is known."""

INDEX_NAME = "_index.json"
"""How an index is called that concerns the folder in which it is."""


@dataclass(frozen=True, slots=True)
class Index:
    """What an index holds."""

    content: Content
    files: Mapping[str, Mapping[str, Any]]
    """By path relative to the index: cards as `Inspection.primary` has them, or the
    translated record."""


def index_bytes(files: Mapping[str, Mapping[str, Any]], content: Content) -> bytes:
    """Return an index file.

    Parameters
    ----------
    files
        Headers or records by path relative to the folder of the index; at least one.
    content
        Which of the two they are.
    """
    if not files:
        raise ValueError("an index of no files says nothing; do not write one")
    cleaned = {name: {k: finite(v) for k, v in values.items()} for name, values in files.items()}
    common = _common(list(cleaned.values()))
    index: dict[str, Any] = {CONTENT_KEY: content.value, COMMON_KEY: common}
    for name, values in cleaned.items():
        index[name] = {key: value for key, value in values.items() if key not in common}
    return json.dumps(index, allow_nan=False).encode() + b"\n"


def read_index(content: bytes) -> Index:
    """Return what an index file holds, the common part put into every file.

    Raises
    ------
    SidecarError
        It is no index.
    """
    found = json_object(content, "the index")
    common = found.pop(COMMON_KEY, None)
    mode = found.pop(CONTENT_KEY, Content.METADATA)
    if not isinstance(common, dict):
        raise SidecarError(f"the index has no {COMMON_KEY} with what its files share")
    if mode not in set(Content):
        raise SidecarError(f"the index says that its content is {mode!r}, which nobody knows")
    wrong = [name for name, values in found.items() if not isinstance(values, dict)]
    if wrong:
        raise SidecarError(f"in the index, what is told of {', '.join(wrong)} is no JSON object")
    files = {name: {**common, **values} for name, values in found.items()}
    if mode == Content.METADATA:
        files = {name: header_of(values, f"the index, {name}") for name, values in files.items()}
    return Index(Content(mode), files)


def _common(headers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all have with the same value; 1, 1.0 and True are not the same."""
    first, *others = headers
    common = dict(first)
    for other in others:
        for key in [key for key, value in common.items() if not _same(value, other, key)]:
            del common[key]
    return common


def _same(value: Any, other: Mapping[str, Any], key: str) -> bool:
    return key in other and type(other[key]) is type(value) and bool(other[key] == value)
