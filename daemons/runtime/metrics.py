"""The metrics that every process has.

Nothing uses the default registry of prometheus-client: a process makes one with
`new_registry` and hands it on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from daemons.runtime.health import HealthBoard
from daemons.runtime.state import State
from daemons.runtime.version import software_version

_LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def new_registry(*, host: str) -> CollectorRegistry:
    """Return a registry with the figures of the process and `arriero_build_info`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Info("arriero_build", "Release and host of this process.", registry=registry)
    build.info({"version": software_version(), "host": host})
    return registry


class LoopWatch:
    """Measures how late the event loop wakes: what a blocked loop costs everybody.

    Parameters
    ----------
    registry
        Gets `arriero_event_loop_lag_seconds` and `arriero_event_loop_lag_last_seconds`.
    interval_s
        How often to look.
    clock
        Seconds that never step.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        interval_s: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._beat = clock()
        self._histogram = Histogram(
            "arriero_event_loop_lag_seconds",
            "How much later than asked the event loop woke.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._last = Gauge(
            "arriero_event_loop_lag_last_seconds",
            "How much later than asked the event loop woke the last time.",
            registry=registry,
        )

    @property
    def silent_s(self) -> float:
        """Seconds since the loop last moved, as far as this watch saw."""
        return self._clock() - self._beat

    async def run(self) -> None:
        """Watch until cancelled."""
        self._beat = self._clock()
        while True:
            await asyncio.sleep(self._interval_s)
            now = self._clock()
            lag_s = max(0.0, now - self._beat - self._interval_s)
            self._histogram.observe(lag_s)
            self._last.set(lag_s)
            self._beat = now


class Watched(Protocol):
    """What `watch_services` shows of a service; `ServiceRunner` has it."""

    @property
    def name(self) -> str:
        """Name of the service."""
        ...

    @property
    def state(self) -> State:
        """Present state."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can do its job now."""
        ...

    @property
    def health(self) -> HealthBoard:
        """What it depends on."""
        ...


def watch_services(registry: CollectorRegistry, services: Sequence[Watched]) -> None:
    """Show state, readiness and dependencies of services on each scrape."""
    registry.register(_ServicesCollector(services))


class _ServicesCollector(Collector):
    """Reads the services when it is asked, so that nothing can be out of date."""

    def __init__(self, services: Sequence[Watched]) -> None:
        self._services = services

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without values, for the registry's check of duplicates."""
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        """Read the services."""
        state, ready, dependency = self._families()
        for service in self._services:
            state.add_metric([service.name], int(service.state))
            ready.add_metric([service.name], float(service.ready))
            for name, known in service.health.dependencies.items():
                dependency.add_metric([service.name, name], float(known.ok))
        yield from (state, ready, dependency)

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "arriero_service_state",
                "Summary state: 1 DISABLED, 2 ENABLED, 3 FAULT, 4 OFFLINE, 5 STANDBY.",
                labels=["service"],
            ),
            GaugeMetricFamily(
                "arriero_service_ready",
                "1 when the service works and all that it depends on is there.",
                labels=["service"],
            ),
            GaugeMetricFamily(
                "arriero_dependency_up",
                "1 when the dependency is there.",
                labels=["service", "dependency"],
            ),
        )
