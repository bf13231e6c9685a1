"""Which release of arriero this is."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version


@lru_cache(maxsize=1)
def software_version() -> str:
    """Return the version of the installed distribution; `unknown` from a bare source tree."""
    try:
        return version("arriero")
    except PackageNotFoundError:
        return "unknown"
