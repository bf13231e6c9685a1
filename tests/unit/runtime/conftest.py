"""What the tests of the runtime share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.logs import restored_logging


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Let a test configure the logs of the process, and put everything back."""
    with restored_logging():
        yield
