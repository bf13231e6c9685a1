"""Looks now and then at what no message tells: telemetry that stopped, and the leap seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from daemons.bus import Topic
from daemons.runtime.clock import Clock, leap_seconds_expire
from daemons.runtime.health import HealthBoard
from headerservice.leap import leap_second_finding
from headerservice.metrics import Metrics
from headerservice.rules import Definitions
from headerservice.series import SampleStore
from headerservice.silence import SilenceWatch

LEAP_SECONDS = "leap_seconds"
"""Name on the health board. It never makes a service unready: a table that has run out is
right until a leap second is announced."""


class Upkeep:
    """What the housekeeping looks at.

    Parameters
    ----------
    samples
        The memory of the bus.
    definitions
        Returns the definitions in use.
    clock
        The time.
    health
        Where the table of leap seconds is reported.
    metrics
        Where findings are counted.
    """

    def __init__(
        self,
        samples: SampleStore,
        definitions: Callable[[], Definitions],
        *,
        clock: Clock,
        health: HealthBoard,
        metrics: Metrics,
    ) -> None:
        self._samples = samples
        self._definitions = definitions
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._silence = SilenceWatch()
        self._leap_looked: date | None = None

    def look(self) -> None:
        """Look, and tell what has changed; the leap seconds once a day."""
        found = self._silence.look(
            self._definitions(), self._samples.newest_time, float(self._clock.tai())
        )
        self._metrics.count_findings(found)
        now = datetime.fromtimestamp(float(self._clock.utc()), tz=UTC)
        if self._leap_looked == now.date():
            return
        self._leap_looked = now.date()
        finding = leap_second_finding(now)
        reason = f"they are known until {leap_seconds_expire():%Y-%m-%d}"
        if finding is not None:
            self._metrics.count_findings((finding,))
            reason = finding.sentence
        self._health.report(LEAP_SECONDS, ok=True, reason=reason)

    @property
    def silent(self) -> tuple[str, ...]:
        """Telemetry that is silent now."""
        return tuple(str(topic) for topic in self._silence.silent)


@dataclass(frozen=True, slots=True)
class TopicAge:
    """Age of the newest message of a topic, for each scrape."""

    samples: SampleStore
    topic: Topic
    clock: Clock

    def __call__(self) -> float:
        """Return it, seconds; NaN where nothing was heard."""
        newest = self.samples.newest_time(self.topic)
        return float("nan") if newest is None else float(self.clock.tai()) - newest
