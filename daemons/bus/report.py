"""What a broker connection tells the rest of its process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import structlog

from daemons.bus.metrics import BusMetrics
from daemons.runtime.health import HealthBoard

_log = structlog.get_logger(__name__)

Cause = Literal["error", "stuck", "timeout"]
"""Why a client was given up."""


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """Where one connection says how it is.

    A change is logged once, however often it is reported.
    """

    health: HealthBoard
    dependency: str
    """Name on the health board, such as `event_stream.publish`."""
    metrics: BusMetrics
    bus: str
    """Label of the figures: `event_stream` or `control_bus`."""

    def expect(self) -> None:
        """Name the dependency before it was ever reached."""
        self.health.expect(self.dependency)

    def up(self, reason: str) -> None:
        """Say that the broker is there."""
        before = self.health.dependencies.get(self.dependency)
        if before is None or not before.ok:
            _log.info("broker_connected", dependency=self.dependency, reason=reason)
        self.health.report(self.dependency, ok=True, reason=reason)

    def down(self, reason: str) -> None:
        """Say that the broker is away, and why."""
        before = self.health.dependencies.get(self.dependency)
        if before is None or before.ok or before.reason != reason:
            _log.warning("broker_away", dependency=self.dependency, reason=reason)
        self.health.report(self.dependency, ok=False, reason=reason)

    def given_up(self, cause: Cause, reason: str) -> None:
        """Say that a client was given up and is made anew."""
        self.metrics.client_restarts.labels(bus=self.bus, cause=cause).inc()
        _log.warning("client_given_up", dependency=self.dependency, cause=cause, reason=reason)
        self.down(reason)

    def lag(self, group: str, records: int) -> None:
        """Say how many records wait to be read by a group's member."""
        self.metrics.lag.labels(bus=self.bus, group=group).set(records)
