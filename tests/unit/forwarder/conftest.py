from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.forwarder.harness import Bench


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(**settings: Any) -> Bench:
        return Bench(tmp_path, **settings)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
