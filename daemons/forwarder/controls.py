"""What operators set while the service runs: mode, concurrency, bandwidth.

It is kept in the journal, so that a paused forwarder is still paused after a
restart, and wins over the settings until it is taken back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.records import Decision
from daemons.runtime.clock import Clock

_log = structlog.get_logger(__name__)


class Mode(StrEnum):
    """What the forwarder does with files that wait."""

    RUNNING = "running"
    BACKLOG_PAUSED = "backlog_paused"
    """New exposures are sent, the backlog is not."""
    PAUSED = "paused"
    """No file begins; those in hand are finished, new ones are noted."""
    DRAINING = "draining"
    """What waits is sent, and no new file is taken in."""


MODE = "mode"
CONCURRENCY = "concurrency"
BANDWIDTH = "bandwidth_bytes_per_s"
"""0 for no ceiling."""


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that an operator set."""

    value: str
    who: str
    why: str
    at: float
    """UTC seconds."""


class Controls:
    """What is in force: what operators set, else the settings.

    Parameters
    ----------
    journal
        Where it is kept.
    live
        The settings.
    clock
        The time.
    own_ceiling
        What the store's own settings say of bandwidth, bytes per second.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        live: LiveSettings,
        clock: Clock,
        own_ceiling: float | None = None,
    ) -> None:
        self._journal = journal
        self._live = live
        self._clock = clock
        self._set: Mapping[str, Control] = {}
        self._own_ceiling = own_ceiling
        self._watchers: list[Callable[[], None]] = []

    async def load(self) -> None:
        """Read what was set before."""
        self._set = await self._journal.read("controls", _read)
        for name, control in self._set.items():
            _log.warning(
                "control_in_force",
                name=name,
                value=control.value,
                who=control.who,
                why=control.why,
                hint="`arriero resume` and `arriero limits --reset` take it back",
            )

    def on_change(self, call: Callable[[], None]) -> None:
        """Call something whenever a control or a setting may have changed."""
        self._watchers.append(call)

    def changed(self) -> None:
        """Tell everyone concerned to look again."""
        for call in self._watchers:
            call()

    @property
    def in_force(self) -> Mapping[str, Control]:
        """What operators set."""
        return self._set

    @property
    def mode(self) -> Mode:
        """What is done with files that wait."""
        return Mode(self._set[MODE].value) if MODE in self._set else Mode.RUNNING

    @property
    def concurrency(self) -> int:
        """Files that are worked on at the same time."""
        if CONCURRENCY in self._set:
            return int(self._set[CONCURRENCY].value)
        return self._live.settings.concurrency

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Ceiling on what is sent to the first store; None for none."""
        if BANDWIDTH in self._set:
            return int(self._set[BANDWIDTH].value) or None
        return self._live.settings.bandwidth_bytes_per_s or self._own_ceiling

    async def change(self, values: Mapping[str, str | None], decision: Decision) -> None:
        """Set things, or take them back (None); one transaction.

        Parameters
        ----------
        values
            `MODE`, `CONCURRENCY` or `BANDWIDTH` to what they are to be.
        decision
            Who, and why.
        """
        now = self._clock.utc()

        def job(base: sqlite3.Connection) -> Mapping[str, Control]:
            for name, value in values.items():
                if value is None:
                    base.execute("DELETE FROM controls WHERE name = ?", (name,))
                else:
                    base.execute(
                        "INSERT OR REPLACE INTO controls VALUES (?, ?, ?, ?, ?)",
                        (name, value, decision.who, decision.why, now),
                    )
            return _read(base)

        self._set = await self._journal.write("controls", job)
        _log.warning("controls_changed", **values, who=decision.who, why=decision.why)
        self.changed()


def _read(base: sqlite3.Connection) -> Mapping[str, Control]:
    rows = base.execute("SELECT name, value, who, why, at FROM controls")
    return {row["name"]: Control(row["value"], row["who"], row["why"], row["at"]) for row in rows}
