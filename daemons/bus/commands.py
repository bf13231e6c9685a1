"""Commands of the control bus: their acknowledgements, and sending one as a SAL Remote does.

Exceptions::

    RemoteCommandError    (CommandFailedError) the command was not carried out, or not answered
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from daemons.bus.control.private_fields import SEQUENCE_MAX
from daemons.bus.interface import ControlBus, ControlMessage, Topic
from daemons.runtime.errors import CommandFailedError

NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
"""What a command without arguments carries."""


class AckCode(IntEnum):
    """What an acknowledgement says; the numbers are SAL's."""

    ACK = 300
    INPROGRESS = 301
    STALLED = 302
    COMPLETE = 303
    NOPERM = -300
    NOACK = -301
    FAILED = -302
    ABORTED = -303
    TIMEOUT = -304

    @property
    def final(self) -> bool:
        """True when no further acknowledgement follows."""
        return self not in {AckCode.ACK, AckCode.INPROGRESS}


_CODES = frozenset(AckCode)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The answer to a command."""

    code: AckCode
    result: str
    error: int = 0
    timeout_s: float = 0.0
    """With INPROGRESS: for how much longer the issuer should wait."""

    def fields(self, command: ControlMessage, *, command_type: int) -> dict[str, Any]:
        """Return the payload of `ackcmd` that answers a command."""
        return {
            "ack": int(self.code),
            "error": self.error,
            "result": self.result,
            "identity": command.identity,
            "origin": command.origin,
            "cmdtype": command_type,
            "timeout": self.timeout_s,
        }


class RemoteCommandError(CommandFailedError):
    """A command on the control bus was not carried out, or nobody answered.

    Parameters
    ----------
    message
        What was asked of whom, and what came of it.
    ack
        The final answer; NOACK when none came, TIMEOUT when it was begun and not finished.
    """

    code = "command.remote_failed"
    exit_code = 75

    def __init__(self, message: str, ack: Acknowledgement) -> None:
        super().__init__(message)
        self.ack = ack

    @property
    def result(self) -> str:
        """What the commanded service said."""
        return self.ack.result


class CommandIssuer:
    """Sends commands and waits for their final acknowledgement.

    Parameters
    ----------
    bus
        Its identity is the issuer's: `user@host`, or a component's name.
    """

    def __init__(self, bus: ControlBus) -> None:
        self._bus = bus
        # One counter for all commands, begun anywhere: an acknowledgement names its
        # command by identity, process and number alone.
        self._sequence = random.randint(1, SEQUENCE_MAX)  # noqa: S311 - no secret

    async def issue(
        self,
        component: str,
        command: str,
        fields: Mapping[str, Any] = NO_FIELDS,
        *,
        index: int = 0,
        timeout_s: float = 10.0,
    ) -> Acknowledgement:
        """Send a command and return its final acknowledgement.

        Parameters
        ----------
        component
            Whom to command, such as `MTHeaderService`.
        command
            What to do, such as `start`.
        fields
            The command's arguments.
        index
            Which one, where the component is indexed.
        timeout_s
            How long to wait for an answer; the service may ask for more.

        Raises
        ------
        RemoteCommandError
            Refused, failed, or not answered in time.
        BusUnavailableError
            The broker is away.
        """
        topic = Topic(component, f"command_{command}", index)
        answers = Topic(component, "ackcmd", index)
        last = Acknowledgement(AckCode.NOACK, f"the bus did not take it within {timeout_s:g} s")
        try:
            async with (
                asyncio.timeout(timeout_s) as limit,
                self._bus.subscribe([answers], history=False) as subscription,
            ):
                await subscription.ready()
                sent = await self._bus.publish(topic, fields, sequence=self._next())
                last = Acknowledgement(AckCode.NOACK, "nobody answered in time")
                async for delivery in subscription:
                    answer = _answer(sent, delivery.message)
                    if answer is None:
                        continue
                    last = answer
                    if last.code.final:
                        break
                    now = asyncio.get_running_loop().time()
                    limit.reschedule(now + timeout_s + last.timeout_s)
        except TimeoutError:
            if last.code is not AckCode.NOACK:
                last = Acknowledgement(AckCode.TIMEOUT, "begun, and not finished in time")
        if last.code is AckCode.COMPLETE:
            return last
        raise RemoteCommandError(f"{topic}: {last.code.name}: {last.result}", last)

    def _next(self) -> int:
        self._sequence = self._sequence % SEQUENCE_MAX + 1
        return self._sequence


def _answer(command: ControlMessage, message: ControlMessage) -> Acknowledgement | None:
    """Return what a message on `ackcmd` says to a command, or nothing when it is for another."""
    fields = message.fields
    if (message.sequence, fields.get("identity"), fields.get("origin")) != (
        command.sequence,
        command.identity,
        command.origin,
    ):
        return None
    result = str(fields.get("result", ""))
    number = int(fields.get("ack", 0))
    if number not in _CODES:
        return Acknowledgement(AckCode.FAILED, f"answered with the unknown code {number}: {result}")
    return Acknowledgement(
        AckCode(number),
        result,
        error=int(fields.get("error", 0)),
        timeout_s=float(fields.get("timeout", 0.0)),
    )
