"""Figures of publishing; the same for every transport."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daemons.bus.interface import BusError
from daemons.bus.metrics import BusMetrics

BUS = "event_stream"
"""Label of our figures, and first part of our names on the health board."""


@contextmanager
def counted(metrics: BusMetrics) -> Iterator[None]:
    """Count one publication, as taken or by the code of what went wrong."""
    try:
        yield
    except BusError as error:
        metrics.publish_failures.labels(bus=BUS, code=error.code).inc()
        raise
    metrics.published.labels(bus=BUS).inc()
