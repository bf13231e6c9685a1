"""What the simulators count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from daemons.bus import Topic


class SimulatorMetrics:
    """Counters of one simulated observatory and camera.

    Parameters
    ----------
    registry
        Where they are registered; a private one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._messages = Counter(
            "arriero_simulator_messages_total",
            "Messages that the simulated observatory sent.",
            ["component", "topic"],
            registry=registry,
        )
        self._files = Counter(
            "arriero_simulator_files_total",
            "Files that the simulated camera wrote.",
            ["kind"],
            registry=registry,
        )
        self._bytes = Counter(
            "arriero_simulator_file_bytes_total",
            "Bytes that the simulated camera wrote.",
            registry=registry,
        )
        self._headers = Counter(
            "arriero_simulator_headers_total",
            "Headers that the simulated camera asked for, by what came of it.",
            ["outcome"],
            registry=registry,
        )

        self._failures = Counter(
            "arriero_simulator_failures_total",
            "What the simulated camera could not write.",
            ["what"],
            registry=registry,
        )

    def message_sent(self, topic: Topic) -> None:
        """Count a message of the observatory."""
        self._messages.labels(topic.component, topic.name).inc()

    def file_written(self, kind: str, size_bytes: int) -> None:
        """Count a file of the camera."""
        self._files.labels(kind).inc()
        self._bytes.inc(size_bytes)

    def header(self, outcome: str) -> None:
        """Count a header that was asked for."""
        self._headers.labels(outcome).inc()

    def failure(self, what: str) -> None:
        """Count something that could not be written."""
        self._failures.labels(what).inc()
