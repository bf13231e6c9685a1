"""Where the files of `config/` are: in a checkout, or inside an installed wheel."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def config_root() -> Path:
    """Return the folder that holds `instruments/`, `sal/`, `events/` and the examples.

    Raises
    ------
    FileNotFoundError
        Neither a wheel nor a checkout is around this file.
    """
    for candidate in (_HERE / "_config", _HERE.parent / "config"):
        if (candidate / "instruments").is_dir():
            return candidate
    raise FileNotFoundError(
        f"no config folder beside {_HERE}: the installation is incomplete, install arriero again"
    )
