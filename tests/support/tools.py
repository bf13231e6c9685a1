"""Programs that tests ask for their judgement."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def needed_tool(name: str, package: str) -> str:
    """Return the path of a program, or fail with what to install.

    With `ARRIERO_ALLOW_MISSING_SERVERS=1` the test is skipped instead.
    """
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        sentence = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("ARRIERO_ALLOW_MISSING_SERVERS") == "1":
            pytest.skip(sentence)
        pytest.fail(sentence, pytrace=False)
    return found
