"""The metrics of every process."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from daemons.runtime.health import HealthBoard
from daemons.runtime.metrics import LoopWatch, new_registry, watch_services
from daemons.runtime.state import State


class Known:
    """A service as a scrape sees it."""

    def __init__(self, name: str, state: State, health: HealthBoard) -> None:
        self.name = name
        self.state = state
        self.health = health
        self.ready = state is State.ENABLED and health.ready


def test_a_registry_tells_the_build_and_the_process() -> None:
    text = generate_latest(new_registry(host="fp01")).decode()
    assert 'arriero_build_info{host="fp01",version="' in text
    assert "process_resident_memory_bytes" in text
    assert "python_gc_objects_collected_total" in text


def test_registries_do_not_share_anything() -> None:
    for _ in range(2):
        LoopWatch(new_registry(host="a"))


def test_services_and_dependencies_are_read_at_each_scrape() -> None:
    registry = CollectorRegistry()
    board = HealthBoard()
    watch_services(registry, [Known("forwarder", State.FAULT, board)])
    board.report("store", ok=False, reason="away")
    assert registry.get_sample_value("arriero_service_state", {"service": "forwarder"}) == 3
    labels = {"service": "forwarder", "dependency": "store"}
    assert registry.get_sample_value("arriero_dependency_up", labels) == 0
    board.report("store", ok=True, reason="")
    assert registry.get_sample_value("arriero_dependency_up", labels) == 1
    assert registry.get_sample_value("arriero_service_ready", {"service": "forwarder"}) == 0


def test_services_cannot_be_registered_twice_in_silence() -> None:
    registry = CollectorRegistry()
    watch_services(registry, [])
    with pytest.raises(ValueError, match="Duplicated"):
        watch_services(registry, [])


async def test_a_blocked_loop_is_measured() -> None:
    registry = CollectorRegistry()
    watch = LoopWatch(registry, interval_s=0.01)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.03)
    time.sleep(0.3)  # noqa: ASYNC251 - blocks the loop, which is what is measured
    assert watch.silent_s >= 0.29
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert watch.silent_s < 0.29
    count = registry.get_sample_value("arriero_event_loop_lag_seconds_count")
    total = registry.get_sample_value("arriero_event_loop_lag_seconds_sum")
    assert count is not None
    assert total is not None
    assert count >= 2
    assert total >= 0.25
