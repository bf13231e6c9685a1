"""Fixtures of the header service's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headerservice.rules import Definitions
from tests.unit.headerservice.rig import Rig, lsstcam, settings_for


@pytest.fixture
def definitions() -> Definitions:
    return lsstcam()


@pytest.fixture
def make_rig(tmp_path: Path) -> Callable[..., Rig]:
    def make(**changes: Any) -> Rig:
        parts = {
            name: changes.pop(name)
            for name in ("control_broker", "event_broker", "store", "stream", "schemas")
            if name in changes
        }
        return Rig(tmp_path, settings_for(tmp_path, **changes), **parts)

    return make
