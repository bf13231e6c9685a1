"""Keep astropy off the network while a header is translated.

A camera host may have no way out. The tables that astropy was installed with are
good enough for what a header needs, so nothing is fetched, and an old table is
no error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from astropy.utils import iers

_lock = threading.Lock()
_stack = ExitStack()
_inside = 0


@contextmanager
def offline() -> Iterator[None]:
    """Forbid downloads of Earth rotation and leap second tables within the block.

    astropy's configuration is one for the process. The first thread that comes in
    changes it and the last that leaves puts it back, so threads may overlap.
    """
    global _inside  # noqa: PLW0603 - mirrors a setting of astropy, which is global itself
    with _lock:
        if _inside == 0:
            _stack.enter_context(iers.conf.set_temp("auto_download", False))
            _stack.enter_context(iers.conf.set_temp("auto_max_age", None))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _stack.pop_all().close()
