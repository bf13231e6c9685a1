"""What a service is to the runtime that runs it.

The runner (`daemons.runtime.runner`) owns the state machine and calls::

    start    STANDBY  → DISABLED   open()
    enable   DISABLED → ENABLED    work() as a task, until cancelled
    disable  ENABLED  → DISABLED   drain(), then work() is cancelled
    standby  DISABLED → STANDBY    close()

A dependency that is away is no failure: the service waits for it inside
`work`, reports it to its `HealthBoard`, and goes on when it is back. Only what
a person must mend (an unusable configuration, a journal that is damaged) is
raised, and makes a FAULT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

JsonObject = Mapping[str, Any]
"""A JSON object: string keys; strings, numbers, booleans, null, lists and objects as values."""


class Service(Protocol):
    """A daemon of the suite, without its life cycle."""

    @property
    def name(self) -> str:
        """Name in configuration, logs and commands, such as `forwarder`."""
        ...

    async def open(self) -> None:
        """Take what must be held: journal, folders, locks. Quick; touches no network."""
        ...

    async def work(self) -> None:
        """Do the job until cancelled. Returning is a fault."""
        ...

    async def drain(self) -> None:
        """Take no new work and finish what is in hand; the caller bounds the time."""
        ...

    async def close(self) -> None:
        """Give back what `open` took. Idempotent; may follow a failed `open`."""
        ...

    def status(self) -> JsonObject:
        """Return what an operator wants to know: counts, ages, what waits and why."""
        ...

    def reload(self, settings: Any) -> tuple[str, ...]:
        """Take over what can change without a restart from new, valid settings of this service.

        Returns the dotted names of changed settings that need a restart.
        """
        ...
