"""Keep astropy off the network while a header is translated.

A camera host may have no way out. The tables that astropy was installed with are
good enough for what a header needs, so nothing is fetched, and an old table is
no error. Observatories are not looked up by name either: astropy would fetch its
list of them. A translator that asks learns that the name is not known, and takes
the coordinates that it has of its own, the same on every host.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import astropy.units as u
from astropy.coordinates import EarthLocation
from astropy.coordinates.sites import SiteRegistry
from astropy.utils import data, iers

_lock = threading.Lock()
_stack = ExitStack()
_inside = 0


@contextmanager
def offline() -> Iterator[None]:
    """Forbid downloads of tables and lists of observatories within the block.

    astropy's configuration is one for the process. The first thread that comes in
    changes it and the last that leaves puts it back, so threads may overlap.
    """
    global _inside  # noqa: PLW0603 - mirrors a setting of astropy, which is global itself
    with _lock:
        if _inside == 0:
            _enter()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _stack.pop_all().close()


def _enter() -> None:
    _stack.enter_context(iers.conf.set_temp("auto_download", False))
    _stack.enter_context(iers.conf.set_temp("auto_max_age", None))
    _stack.enter_context(data.conf.set_temp("allow_internet", False))
    _stack.enter_context(_no_observatories())


@contextmanager
def _no_observatories() -> Iterator[None]:
    before = EarthLocation._site_registry  # noqa: SLF001 - astropy has no public way
    EarthLocation._site_registry = _REGISTRY  # noqa: SLF001 - as above
    try:
        yield
    finally:
        EarthLocation._site_registry = before  # noqa: SLF001 - as above


def _registry() -> SiteRegistry:
    """Return a list of one: astropy would fetch its own in place of an empty one."""
    registry = SiteRegistry()
    nowhere = EarthLocation.from_geocentric(0, 0, 0, unit=u.m)
    registry.add_site(["no observatory is known by name while offline"], nowhere)
    return registry


_REGISTRY = _registry()
