"""The life of a commandable service, as a pure state machine.

States and commands are those of SAL, so that observatory control software
finds what it knows. `transition` is the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

from daemons.runtime.errors import CommandRefusedError


class State(IntEnum):
    """Summary state; the numbers are SAL's."""

    DISABLED = 1
    ENABLED = 2
    FAULT = 3
    OFFLINE = 4
    STANDBY = 5


class Command(StrEnum):
    """The commands that move a service from state to state."""

    START = "start"
    ENABLE = "enable"
    DISABLE = "disable"
    STANDBY = "standby"
    EXIT_CONTROL = "exitControl"


_TRANSITIONS: Mapping[Command, Mapping[State, State]] = MappingProxyType(
    {
        Command.START: {State.STANDBY: State.DISABLED},
        Command.ENABLE: {State.DISABLED: State.ENABLED},
        Command.DISABLE: {State.ENABLED: State.DISABLED},
        Command.STANDBY: {State.DISABLED: State.STANDBY, State.FAULT: State.STANDBY},
        Command.EXIT_CONTROL: {State.STANDBY: State.OFFLINE},
    }
)


def transition(state: State, command: Command) -> State:
    """Return the state after a command.

    Raises
    ------
    CommandRefusedError
        The state does not allow the command.
    """
    after = _TRANSITIONS[command].get(state)
    if after is None:
        raise CommandRefusedError(
            f"{command} not allowed in state {state.name}; allowed: "
            f"{', '.join(allowed(state)) or 'nothing, the service has ended'}"
        )
    return after


def allowed(state: State) -> tuple[Command, ...]:
    """Return the commands that a state allows."""
    return tuple(command for command, moves in _TRANSITIONS.items() if state in moves)


def path_to(state: State, target: State) -> tuple[Command, ...]:
    """Return the shortest sequence of commands from one state to another.

    Raises
    ------
    CommandRefusedError
        No sequence of commands leads there.
    """
    paths: dict[State, tuple[Command, ...]] = {state: ()}
    frontier = [state]
    while frontier:
        here = frontier.pop(0)
        for command in allowed(here):
            there = transition(here, command)
            if there not in paths:
                paths[there] = (*paths[here], command)
                frontier.append(there)
    if target not in paths:
        raise CommandRefusedError(f"no command leads from {state.name} to {target.name}")
    return paths[target]
