"""Fixtures for every test: see `tests.support.fixtures`."""

from __future__ import annotations

pytest_plugins = ["tests.support.fixtures"]
