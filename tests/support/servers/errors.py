"""What goes wrong with real servers.

::

    ServerError
    ├── MissingServerError      a program or artifact is not on this machine; says what to install
    └── ServerStartError        it is there and did not come up; carries the tail of its log
        └── PortTakenError      another process has one of the ports; choose others and try again
"""

from __future__ import annotations


class ServerError(RuntimeError):
    """Root of what starting and stopping real servers raises."""


class MissingServerError(ServerError):
    """A program or artifact is not on this machine; the message says what to install."""


class ServerStartError(ServerError):
    """The server did not become ready; the message ends with the tail of its log."""


class PortTakenError(ServerStartError):
    """Another process listens on one of the chosen ports."""
