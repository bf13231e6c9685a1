"""Fixtures for every test: see `tests.support.fixtures`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a loaded machine is no failure
settings.load_profile("patient")

pytest_plugins = ["tests.support.fixtures"]
