"""The figures of the header service."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headerservice.quality import Quality
from headerservice.resolve import Resolution
from translators.findings import Finding, Severity

_LATENCY_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

_log = structlog.get_logger(__name__)


class Metrics:
    """The figures.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self.headers = counter(
            "arriero_headers_total", "Headers that were made, by status.", "status"
        )
        self.problems = counter(
            "arriero_header_keyword_problems_total",
            "Keywords without a value in a final header, by quality.",
            *("keyword", "quality"),
        )
        self.findings = counter(
            "arriero_header_findings_total",
            "What was wrong with messages and exposures, by code.",
            "code",
        )
        self.failures = counter(
            "arriero_header_publish_failures_total",
            "Failed attempts to store or announce, by error code.",
            "code",
        )
        self.crashes = counter(
            "arriero_header_crashes_total",
            "Exposures whose task failed unexpectedly and began anew.",
        )
        self.lost = counter(
            "arriero_header_lost_messages_total",
            "Messages that never came, by the numbers of their senders.",
            "topic",
        )
        self.messages = counter(
            "arriero_header_messages_total", "Messages that were taken, by kind.", "kind"
        )
        self._add_times(registry)
        self._add_gauges(registry)

    def _add_times(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=_LATENCY_BUCKETS_S, registry=registry)

        self.latency = histogram(
            "arriero_header_latency_seconds",
            "From the last event of an exposure to the announcement of its header.",
        )
        self.stage = histogram(
            "arriero_header_stage_seconds",
            "Parts of that: journal, resolve, render, store, announce.",
            "stage",
        )

    def _add_gauges(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.open_exposures = gauge(
            "arriero_header_open_exposures", "Exposures without a final header."
        )
        self.waiting = gauge(
            "arriero_header_waiting_headers", "Headers that are not stored or announced yet."
        )
        self.age = gauge(
            "arriero_header_topic_age_seconds",
            "Age of the newest message of each sampled topic.",
            "topic",
        )

    def count_findings(self, findings: Iterable[Finding], *, obs_id: str | None = None) -> None:
        """Count and log what is wrong."""
        for finding in findings:
            self.findings.labels(finding.code).inc()
            level = _log.info if finding.severity is Severity.INFO else _log.warning
            level("finding", code=finding.code, sentence=finding.sentence, obs_id=obs_id)

    def count_header(self, resolution: Resolution, status: str) -> None:
        """Count a header that was made."""
        self.headers.labels(status).inc()
        if status == "early":
            return
        for keyword, resolved in resolution.keywords.items():
            if not resolved.good and resolved.quality is not Quality.NOT_APPLICABLE:
                self.problems.labels(keyword, resolved.quality.value).inc()
        for problem in () if resolution.sensors is None else resolution.sensors.problems:
            self.problems.labels(problem.keyword, problem.quality.value).inc()
