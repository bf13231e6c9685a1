"""What the admin API can tell a service to do: SAL's commands, and three for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from daemons.runtime.errors import CommandRefusedError, UsageError
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import Command, State

_FROM_TO: Mapping[str, tuple[State, State]] = MappingProxyType(
    {
        "drain": (State.ENABLED, State.DISABLED),
        "fault-clear": (State.FAULT, State.STANDBY),
        "recover": (State.FAULT, State.ENABLED),
    }
)

COMMANDS: tuple[str, ...] = (*Command, *_FROM_TO)
"""Every command, as it stands in the path of the request."""


async def perform(runner: ServiceRunner, command: str, fields: Mapping[str, Any]) -> State:
    """Carry out a command by name and return the state after it.

    `drain` finishes what is in hand and takes nothing new (ENABLED → DISABLED); `fault-clear`
    goes from FAULT to STANDBY, `recover` on to ENABLED.

    Raises
    ------
    UsageError
        There is no such command.
    CommandRefusedError
        The state does not allow it.
    CommandFailedError
        It went wrong; the service is in FAULT.
    """
    if command in _FROM_TO:
        before, after = _FROM_TO[command]
        if runner.state is not before:
            raise CommandRefusedError(
                f"{command} is for a service in {before.name}; {runner.name} is in "
                f"{runner.state.name}"
            )
        return await runner.go_to(after)
    if command not in COMMANDS:
        raise UsageError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}")
    return await runner.command(Command(command), **fields)
