"""Figures of event stream and control bus.

One `BusMetrics` per registry, however many streams and buses a process opens:
`bus_metrics` finds it again.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge


class BusMetrics:
    """The figures; label `bus` is `event_stream` or `control_bus`.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "arriero_bus_published_total",
            "Messages that the broker has taken for good.",
            ["bus"],
            registry=registry,
        )
        self.publish_failures = Counter(
            "arriero_bus_publish_failures_total",
            "Publications that ended with an error, by its code.",
            ["bus", "code"],
            registry=registry,
        )
        self.delivered = Counter(
            "arriero_bus_delivered_total",
            "Messages handed to a subscriber, redeliveries among them.",
            ["bus", "group"],
            registry=registry,
        )
        self.poison = Counter(
            "arriero_bus_poison_messages_total",
            "Messages that could not be read and were set aside.",
            ["bus"],
            registry=registry,
        )
        self.lag = Gauge(
            "arriero_bus_lag_records",
            "Kafka records that wait to be read in the partitions of this member.",
            ["bus", "group"],
            registry=registry,
        )
        self.client_restarts = Counter(
            "arriero_bus_client_restarts_total",
            "Clients given up and made anew; cause is `error`, `stuck` or `timeout`.",
            ["bus", "cause"],
            registry=registry,
        )


_KNOWN: WeakKeyDictionary[CollectorRegistry, BusMetrics] = WeakKeyDictionary()
"""A registry refuses a second counter of the same name, so each has one set."""


def bus_metrics(registry: CollectorRegistry | None) -> BusMetrics:
    """Return the figures of a registry; of a private one when there is none."""
    if registry is None:
        return BusMetrics(CollectorRegistry())
    if registry not in _KNOWN:
        _KNOWN[registry] = BusMetrics(registry)
    return _KNOWN[registry]
