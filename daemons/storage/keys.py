"""What a key, its metadata and its URI must look like, the same in every store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

HIDDEN = ".arriero"
"""First part of the keys under which stores keep what is their own; listings leave it out."""

_MAX_KEY_BYTES = 1024
"""S3's limit for the UTF-8 form of a key."""
_MAX_METADATA_BYTES = 2048
"""S3's limit for all names and values of an object's user metadata together."""
_METADATA_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_METADATA_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_IN_URI = "/+:=@,"
"""Characters of a key that stand for themselves in a URI, besides letters, digits and `_.-~`."""


def check_key(key: str) -> str:
    """Return the key when it can name an object in every store.

    Raises
    ------
    ValueError
        Empty, absolute, with an empty, `.` or `..` part, with control
        characters, not encodable, over 1024 bytes, or beginning with `.arriero/`.
    """
    if not key:
        raise ValueError("an object's key must not be empty")
    if any(part in {"", ".", ".."} for part in key.split("/")):
        raise ValueError(
            f"the key {key!r} must be relative, without empty, `.` or `..` parts between slashes"
        )
    if key.split("/", 1)[0] == HIDDEN:
        raise ValueError(f"the key {key!r} begins with {HIDDEN}, where stores keep their own")
    if _CONTROL.search(key):
        raise ValueError(f"the key {key!r} has control characters")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"the key {key!r} cannot be written as UTF-8: {error.reason}") from error
    if size > _MAX_KEY_BYTES:
        raise ValueError(f"the key {key[:40]!r}... has {size} bytes; S3 allows {_MAX_KEY_BYTES}")
    return key


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return user metadata when every store keeps them unchanged.

    Raises
    ------
    ValueError
        A name that is not lower-case ASCII, a value with other than printable
        ASCII characters or with blanks at its ends, or more than 2048 bytes.
    """
    checked = dict(metadata or {})
    for name, value in checked.items():
        if not _METADATA_NAME.fullmatch(name):
            raise ValueError(f"metadata name {name!r}: only lower-case a-z, 0-9, `.`, `_` and `-`")
        if not _METADATA_VALUE.fullmatch(value):
            raise ValueError(f"metadata {name}={value!r}: only printable ASCII, no blanks at ends")
    size = sum(len(name) + len(value) for name, value in checked.items())
    if size > _MAX_METADATA_BYTES:
        raise ValueError(f"metadata of {size} bytes; S3 allows {_MAX_METADATA_BYTES}")
    return checked


def quote_key(key: str) -> str:
    """Return a key as it stands in a URI; the Butler's `ResourcePath` reads it back."""
    return quote(key, safe=_PLAIN_IN_URI)
