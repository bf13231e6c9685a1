"""How the several connections of one control bus are told as two dependencies and a few figures.

`control_bus.publish` is the connection that sends; `control_bus.subscribe` stands for all
open subscriptions: it is well when each of them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from daemons.bus.control.dead_letters import ControlDeadLetters
from daemons.bus.interface import PoisonMessage
from daemons.bus.metrics import BusMetrics
from daemons.bus.report import ConnectionReport
from daemons.runtime.health import Dependency, HealthBoard

BUS = "control_bus"
"""Label of the figures."""
PUBLISH = f"{BUS}.publish"
"""Dependency that sends."""
SUBSCRIBE = f"{BUS}.subscribe"
"""Dependency that reads."""

_LOGGED_FIRST = 5
_LOGGED_EACH = 100
_PREVIEW_BYTES = 64
_log = structlog.get_logger(__name__)


class _ReaderBoard(HealthBoard):
    """The board of one subscription; passes on every report, also a new reason alone."""

    def __init__(self, listener: Callable[[Dependency], None]) -> None:
        super().__init__()
        self._listener = listener

    def report(self, name: str, *, ok: bool, reason: str) -> None:
        """Say how a dependency is."""
        super().report(name, ok=ok, reason=reason)
        self._listener(self.dependencies[name])


class ControlReporting:
    """Reports of one control bus.

    Parameters
    ----------
    health
        The board of the process.
    metrics
        The figures of the process.
    dead_letters
        Where messages are kept that cannot be read, besides the log.
    """

    def __init__(
        self,
        health: HealthBoard,
        metrics: BusMetrics,
        *,
        dead_letters: ControlDeadLetters | None = None,
    ) -> None:
        self.metrics = metrics
        self._dead_letters = dead_letters
        self._health = health
        self._readers: dict[object, Dependency] = {}
        self._poison: dict[str, int] = {}

    def publisher(self) -> ConnectionReport:
        """Return the report of the connection that sends."""
        return ConnectionReport(self._health, PUBLISH, self.metrics, BUS)

    @property
    def health(self) -> HealthBoard:
        """The board of the process."""
        return self._health

    @contextmanager
    def subscriber(self) -> Iterator[ConnectionReport]:
        """Give the report of one subscription, which counts until it is closed."""
        key = object()
        board = _ReaderBoard(lambda dependency: self._heard(key, dependency))
        report = ConnectionReport(board, SUBSCRIBE, self.metrics, BUS)
        report.expect()
        try:
            yield report
        finally:
            self._readers.pop(key, None)
            self._tell()

    def _heard(self, reader: object, dependency: Dependency) -> None:
        self._readers[reader] = dependency
        self._tell()

    def _tell(self) -> None:
        if not self._readers:
            self._health.report(SUBSCRIBE, ok=True, reason="no subscription is open")
            return
        worst = min(self._readers.values(), key=lambda dependency: dependency.ok)
        self._health.report(SUBSCRIBE, ok=worst.ok, reason=worst.reason)

    def poison(self, message: PoisonMessage, *, source: str) -> None:
        """Count a message that cannot be read; log the first ones of a source, then few."""
        self.metrics.poison.labels(bus=BUS).inc()
        if self._dead_letters is not None and not self._dead_letters.put(message):
            _log.debug("dead_letter_left_out", where=message.where)
        count = self._poison[source] = self._poison.get(source, 0) + 1
        if count <= _LOGGED_FIRST or count % _LOGGED_EACH == 0:
            _log.warning(
                "control_bus_poison_message",
                where=message.where,
                reason=message.reason,
                payload=message.payload[:_PREVIEW_BYTES].hex(),
                size_bytes=len(message.payload),
                count=count,
            )

    def close(self) -> None:
        """Write the dead letters that wait."""
        if self._dead_letters is not None:
            self._dead_letters.close()
