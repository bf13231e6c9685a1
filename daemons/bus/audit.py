"""Who commanded what, when, and what came of it.

Each command leaves one line in the log (`command_acknowledged`) and, where a file is
named, one JSON line there, written before the final acknowledgement goes out. On MQTT,
where the broker may deliver a command again after a kill, the file is also the memory
of what was carried out: such a command is acknowledged again, and not done twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from daemons.bus.commands import AckCode, Acknowledgement
from daemons.bus.interface import ControlMessage
from daemons.bus.lines_file import LinesFile
from daemons.runtime.executors import BlockingExecutor

REMEMBERED = 1000
"""Commands that are known again after a restart."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CommandId:
    """What tells one command from every other."""

    name: str
    identity: str
    origin: int
    sequence: int

    @classmethod
    def of(cls, command: ControlMessage) -> CommandId:
        """Return the id of a command."""
        return cls(command.topic.name, command.identity, command.origin, command.sequence)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command."""

    sent: float
    """When it was sent, TAI seconds: an issuer that begins anew may count from one again."""
    answer: Acknowledgement


class CommandAudit(Protocol):
    """Keeps what was commanded."""

    async def recall(self, component: str, index: int) -> Mapping[CommandId, Outcome]:
        """Return what came of the last commands to a component."""
        ...

    async def record(self, command: ControlMessage, answer: Acknowledgement) -> None:
        """Keep the final answer to a command; never raises."""
        ...


class NoAudit:
    """Keeps nothing: the log has to do."""

    async def recall(self, component: str, index: int) -> Mapping[CommandId, Outcome]:  # noqa: ARG002 - the protocol's signature
        """Return nothing."""
        return {}

    async def record(self, command: ControlMessage, answer: Acknowledgement) -> None:
        """Keep nothing."""


class FileAudit:
    """Keeps commands in a file of JSON lines, off the event loop.

    Parameters
    ----------
    path
        The file; several components may share it within one process.
    """

    def __init__(self, path: Path) -> None:
        self._file = LinesFile(path)
        self._executor = BlockingExecutor("command-audit", workers=1)

    async def recall(self, component: str, index: int) -> Mapping[CommandId, Outcome]:
        """Return what came of the last commands to a component."""
        try:
            lines = await self._executor.run(lambda: list(self._file.newest(REMEMBERED)))
        except OSError as error:
            _log.warning("command_audit_unreadable", path=str(self._file.path), error=str(error))
            return {}
        known: dict[CommandId, Outcome] = {}
        for line in lines:
            if (line.get("component"), line.get("index")) == (component, index):
                _recall(line, known)
        return known

    async def record(self, command: ControlMessage, answer: Acknowledgement) -> None:
        """Keep the final answer to a command; a file that cannot be written is told in the log."""
        try:
            await self._executor.run(self._file.append, _line(command, answer))
        except OSError as error:
            _log.exception(
                "command_audit_not_written",
                path=str(self._file.path),
                error=str(error),
                hint="make room or mend the permissions; commands go on without it",
            )

    async def close(self) -> None:
        """Give back the thread."""
        self._executor.close()


def _line(command: ControlMessage, answer: Acknowledgement) -> dict[str, Any]:
    return {
        "time": datetime.now(tz=UTC).isoformat(timespec="milliseconds"),
        "component": command.topic.component,
        "index": command.topic.index,
        "command": command.topic.name,
        "fields": dict(command.fields),
        "identity": command.identity,
        "origin": command.origin,
        "sequence": command.sequence,
        "sent_tai": float(command.sent),
        "outcome": answer.code.name,
        "result": answer.result,
        "error": answer.error,
    }


def _recall(line: Mapping[str, Any], known: dict[CommandId, Outcome]) -> None:
    try:
        key = CommandId(
            str(line["command"]),
            str(line["identity"]),
            int(line["origin"]),
            int(line["sequence"]),
        )
        answer = Acknowledgement(
            AckCode[str(line["outcome"])], str(line["result"]), error=int(line["error"])
        )
        sent = float(line["sent_tai"])
    except (KeyError, ValueError, TypeError):
        return  # another line, or of another version
    known[key] = Outcome(sent, answer)
