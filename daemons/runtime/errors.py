"""The exception tree of the daemons.

::

    ArrieroError                 code, retryable, exit_code
    ├── SettingsError            configuration that cannot be used (exit 78, EX_CONFIG)
    ├── UsageError               a command line that makes no sense (exit 64, EX_USAGE)
    ├── UnavailableError         a broker, store or database out of reach; retryable (exit 69)
    ├── CommandRefusedError      the state does not allow the command (exit 75)
    ├── CommandFailedError       the command was carried out and went wrong (exit 1)
    ├── AlreadyRunningError      another process holds what this one needs (exit 75)
    └── (each room's own, below one of these or below ArrieroError)

Exit codes: 0 fine; 1 something was wrong, as printed; 64, 69, 75, 78 as in
sysexits.h; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ArrieroError(Exception):
    """Root of what the daemons raise; the message says what, to what, and what to do."""

    code: ClassVar[str] = "arriero.error"
    """Stable name for machines: logs, metrics, `--json`."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""
    exit_code: ClassVar[int] = 1
    """What a command that ends with this error returns to the shell."""


class SettingsError(ArrieroError):
    """Configuration that cannot be used; the message carries file and line.

    Parameters
    ----------
    message
        What is wrong, where, and what to do.
    problems
        The same, one entry for each thing that is wrong.
    """

    code = "settings.invalid"
    exit_code = 78

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class UsageError(ArrieroError):
    """A command line that makes no sense."""

    code = "usage"
    exit_code = 64


class UnavailableError(ArrieroError):
    """A broker, store or database is out of reach; it may come back."""

    code = "unavailable"
    retryable = True
    exit_code = 69


class CommandRefusedError(ArrieroError):
    """A command that the service's state does not allow."""

    code = "command.refused"
    exit_code = 75


class CommandFailedError(ArrieroError):
    """A command that the state allows, but that went wrong; the service is in FAULT."""

    code = "command.failed"


class AlreadyRunningError(ArrieroError):
    """Another process holds what this one needs: a lock, a socket."""

    code = "already_running"
    exit_code = 75
