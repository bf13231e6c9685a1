"""The forwarder's measures, for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from daemons.forwarder.model import FileState
from daemons.forwarder.records import Summary
from daemons.runtime.clock import Clock

STAGE_BUCKETS = (
    0.25,
    0.5,
    *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
    *(10.0, 12.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Seconds; fine around the 7 s that an exposure may take, and not cut off behind it."""
COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
"""Seconds; a commit is one write to the disk."""


class ForwarderMetrics:
    """Everything that is counted and measured.

    Parameters
    ----------
    registry
        Where the metrics are kept.
    clock
        The time.
    summary
        The journal at its last commit.
    """

    def __init__(
        self, registry: CollectorRegistry, *, clock: Clock, summary: Callable[[], Summary]
    ) -> None:
        self._clock = clock
        self._summary = summary
        self.files = Counter(
            "arriero_files", "Files that came to a state.", ["state"], registry=registry
        )
        self.stage = Histogram(
            "arriero_stage_seconds",
            "Time that a file spent in a stage of its way.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.stored_bytes = Counter(
            "arriero_stored_bytes", "Bytes of images stored and verified.", registry=registry
        )
        self.errors = Counter(
            "arriero_forwarder_errors",
            "Attempts that failed, by stage and code; most are repeated.",
            ["stage", "code"],
            registry=registry,
        )
        self.overflows = Counter(
            "arriero_notice_overflows",
            "Times that notices of files were lost and a full scan was made instead.",
            registry=registry,
        )
        self.scans = Histogram(
            "arriero_scan_seconds", "Time of a scan of the drop directory.", registry=registry
        )
        self.commits = Histogram(
            "arriero_journal_commit_seconds",
            "Time of a commit to the journal.",
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        self.published = Counter(
            "arriero_outbox_published", "Events put on the event stream.", registry=registry
        )
        for state in FileState:
            self.files.labels(state.value)
        self._exposures(registry)
        self._gauges(registry)

    def _exposures(self, registry: CollectorRegistry) -> None:
        """Measures of exposures, copies and notifications."""
        self.notified = Counter(
            "arriero_notifications", "S3 notification records sent.", registry=registry
        )
        self.copies = Counter(
            "arriero_copies",
            "Files that ended their way to a further store, by store and outcome.",
            ["store", "state"],
            registry=registry,
        )
        self.late = Counter(
            "arriero_exposures_late",
            "Exposures of which something was missing at a deadline: warned, late, incomplete.",
            ["deadline"],
            registry=registry,
        )
        self.exposures = Histogram(
            "arriero_exposure_seconds",
            "Time from the first file of an exposure to the last one stored, of this host's share.",
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        for deadline in ("warned", "late", "incomplete"):
            self.late.labels(deadline)

    def _gauges(self, registry: CollectorRegistry) -> None:
        """Gauges that are read when they are asked for."""
        unsent = Gauge(
            "arriero_oldest_unsent_seconds",
            "Age of the oldest file that is not stored; 0 where there is none.",
            registry=registry,
        )
        unsent.set_function(lambda: self.age(self._summary().oldest_waiting))
        depth = Gauge(
            "arriero_outbox_depth", "Events that wait to be published.", registry=registry
        )
        depth.set_function(lambda: self._summary().outbox_depth)
        oldest = Gauge(
            "arriero_outbox_oldest_seconds",
            "Age of the oldest event that waits to be published; 0 where there is none.",
            registry=registry,
        )
        oldest.set_function(lambda: self.age(self._summary().oldest_event))
        held = Gauge("arriero_files_held", "Files in each state now.", ["state"], registry=registry)
        for state in FileState:
            held.labels(state.value).set_function(self._holder(state))

    def _holder(self, state: FileState) -> Callable[[], float]:
        def count() -> float:
            tallies = self._summary().tallies
            return float(sum(tally.files for (_, at), tally in tallies.items() if at == state))

        return count

    def age(self, since: float | None) -> float:
        """Return the age of an instant in seconds; 0 for None and for the future."""
        return 0.0 if since is None else max(0.0, self._clock.utc() - since)

    def discovered(self, seconds: float) -> None:
        """Count a file that was taken into the journal after so long."""
        self.moved(FileState.DISCOVERED)
        self.stage.labels("settle").observe(seconds)

    def moved(self, state: FileState, count: int = 1) -> None:
        """Count files that came to a state."""
        self.files.labels(state.value).inc(count)

    def failure(self, stage: str, code: str) -> None:
        """Count an attempt that failed."""
        self.errors.labels(stage, code).inc()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage."""
        start = self._clock.monotonic()
        try:
            yield
        finally:
            self.stage.labels(stage).observe(self._clock.monotonic() - start)


class CommitTimer:
    """Measures the journal's commits; called in its writer thread."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._local = threading.local()

    def before_commit(self, labels: Sequence[str]) -> None:
        """Start the watch."""
        del labels
        self._local.start = time.perf_counter()

    def after_commit(self, labels: Sequence[str]) -> None:
        """Stop it."""
        del labels
        self._histogram.observe(time.perf_counter() - self._local.start)
