"""Free loopback ports, chosen with as few races as the kernel allows.

Ports come from below the range that the kernel hands out for outgoing
connections, so nobody takes one by accident between two starts of a server.
Among ourselves (several test sessions at once) a port is held by an abstract
Unix socket of that name, which the kernel gives back when the process ends.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
"""The address that every server of the tests listens on."""

_FIRST = 10_240
_LAST = 22_700
"""With the 10,000 that SeaweedFS adds still below the first ephemeral port, 32,768."""

_holds: dict[int, socket.socket] = {}
_random = random.SystemRandom()


def free_port(*, also: Sequence[int] = ()) -> int:
    """Return a free port that this process now holds.

    Parameters
    ----------
    also
        Distances to further ports that must be free too, such as SeaweedFS's
        10,000.
    """
    for _ in range(1000):
        port = _random.randint(_FIRST, _LAST)
        wanted = [port, *(port + distance for distance in also)]
        if _hold(port) and all(_is_free(candidate) for candidate in wanted):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST}")


def release(port: int) -> None:
    """Let other sessions choose a port again."""
    hold = _holds.pop(port, None)
    if hold is not None:
        hold.close()


def _hold(port: int) -> bool:
    if port in _holds:
        return False
    hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        hold.bind(f"\0arriero-test-port-{port}")
    except OSError:
        hold.close()
        return False
    _holds[port] = hold
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True
