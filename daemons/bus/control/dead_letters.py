"""Keeps messages of the control bus that nobody can read, in a file of this host.

Not on the bus: it belongs to the observatory, and others would have to read it.
"""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from daemons.bus.interface import PoisonMessage
from daemons.bus.lines_file import LinesFile

KEPT_BYTES = 64 * 1024
"""How much of a message is kept."""
_WAITING = 200
"""Messages that wait for the disk; a flood beyond that is only counted."""

_log = structlog.get_logger(__name__)


class ControlDeadLetters:
    """Writes poison messages to a file of JSON lines, off the event loop.

    Parameters
    ----------
    path
        The file; its size is bounded.
    """

    def __init__(self, path: Path) -> None:
        self._file = LinesFile(path)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bus-dead-letters")
        self._room = threading.Semaphore(_WAITING)

    def put(self, message: PoisonMessage) -> bool:
        """Take over a message; return False when there is no room for it. Never waits."""
        if not self._room.acquire(blocking=False):
            return False
        try:
            self._executor.submit(self._write, message)
        except RuntimeError:  # closed
            self._room.release()
            return False
        return True

    def close(self) -> None:
        """Write what waits and take no more."""
        self._executor.shutdown(wait=True)

    def _write(self, message: PoisonMessage) -> None:
        try:
            self._file.append(_line(message))
        except OSError as error:
            _log.warning("dead_letter_not_written", path=str(self._file.path), error=str(error))
        finally:
            self._room.release()


def _line(message: PoisonMessage) -> dict[str, Any]:
    return {
        "time": datetime.now(tz=UTC).isoformat(timespec="milliseconds"),
        "where": message.where,
        "reason": message.reason,
        "size_bytes": len(message.payload),
        "payload_base64": base64.b64encode(message.payload[:KEPT_BYTES]).decode(),
    }
