"""The state machine of a commandable service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.runtime.errors import CommandRefusedError
from daemons.runtime.state import Command, State, allowed, path_to, transition

STATES = st.sampled_from(list(State))
COMMANDS = st.sampled_from(list(Command))


def test_numbers_are_those_of_sal() -> None:
    assert {state.name: int(state) for state in State} == {
        "DISABLED": 1,
        "ENABLED": 2,
        "FAULT": 3,
        "OFFLINE": 4,
        "STANDBY": 5,
    }


@given(STATES, COMMANDS)
def test_a_command_works_exactly_where_it_is_allowed(state: State, command: Command) -> None:
    if command in allowed(state):
        assert transition(state, command) in State
    else:
        with pytest.raises(
            CommandRefusedError, match=f"{command} not allowed in state {state.name}"
        ):
            transition(state, command)


@given(st.lists(COMMANDS, max_size=30))
def test_no_sequence_of_commands_leads_into_fault_or_out_of_offline(
    commands: list[Command],
) -> None:
    state = State.STANDBY
    for command in commands:
        if command in allowed(state):
            assert state is not State.OFFLINE
            state = transition(state, command)
            assert state is not State.FAULT


@given(STATES, STATES)
def test_path_leads_where_it_says_by_allowed_commands(start: State, target: State) -> None:
    try:
        commands = path_to(start, target)
    except CommandRefusedError:
        assert start is not target
        assert start is State.OFFLINE or target is State.FAULT
        return
    state = start
    for command in commands:
        state = transition(state, command)
    assert state is target


def test_path_from_fault_to_enabled_closes_first() -> None:
    assert path_to(State.FAULT, State.ENABLED) == (Command.STANDBY, Command.START, Command.ENABLE)
