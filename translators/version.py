"""The version of the installed distribution."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTION = "arriero"


@lru_cache(maxsize=1)
def distribution_version() -> str:
    """Return the version of this software, `unknown` in a checkout that is not installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
