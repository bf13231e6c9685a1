"""Broker, store or database down, at start or in the middle: wait, say so, go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.host import Host, eventually, s3_store
from tests.support.servers import Kafka, Postgres, SeaweedFS

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]


async def test_everything_is_away_at_start_and_again_in_the_middle(
    tmp_path: Path,
    start_kafka: Callable[[], Kafka],
    start_seaweedfs: Callable[[], SeaweedFS],
    start_postgres: Callable[[], Postgres],
) -> None:
    kafka, seaweedfs, postgres = start_kafka(), start_seaweedfs(), start_postgres()
    bucket = seaweedfs.create_bucket()
    host = Host(
        tmp_path / "host",
        services=["forwarder", "registrar"],
        event_stream={"url": kafka.url, "publish_timeout_s": 3.0},
        stores={"facility": s3_store(seaweedfs, tmp_path, bucket)},
    )
    host.document["registrar"]["database"] = postgres.create_database("butler")
    host.simulator(exposures=2, detectors=3)
    try:
        for server in (kafka, seaweedfs, postgres):
            await asyncio.to_thread(server.stop)
        services = host.run()
        answer = await host.until_ready(ready=False)
        assert services.running
        assert host.simulate().wait(60) == 0
        answer = await until_named(host, {"butler", "store.facility", "event_stream"})
        assert answer["ready"] is False

        for server in (kafka, seaweedfs, postgres):
            await asyncio.to_thread(server.restart)
        await host.until_ready(timeout_s=100)
        await all_registered(host)

        host.simulator(exposures=4, detectors=3)
        host.manifest_path.with_name(f"{host.manifest_path.name}.night.json").unlink()
        for server in (kafka, seaweedfs, postgres):
            await asyncio.to_thread(server.kill)
        assert host.simulate().wait(60) == 0
        await until_named(host, {"store.facility", "event_stream"})
        for server in (kafka, seaweedfs, postgres):
            await asyncio.to_thread(server.restart)
        await host.until_ready(timeout_s=100)
        await all_registered(host)
        assert len(host.registered()) == 12
        assert services.stop() == 0
    finally:
        host.close()


async def until_named(host: Host, names: set[str]) -> dict[str, object]:
    """Wait until `/readyz` names these dependencies as away, each with a reason."""
    for _attempt in range(300):
        answer = await host.ready()
        if answer is not None:
            away = {
                name: each["reason"]
                for service in answer["services"].values()
                for name, each in service["dependencies"].items()
                if not each["ok"]
            }
            if all(any(known.startswith(name) for known in away) for name in names):
                assert all(away.values())
                return answer
        await asyncio.sleep(0.2)
    raise AssertionError(f"/readyz does not name {names}: {answer}")


async def all_registered(host: Host) -> None:
    images = [name for name in host.camera_files() if name.endswith(".fits")]
    await eventually(
        lambda: host.registered() == dict.fromkeys(images, 1),
        what="registered",
        host=host,
        timeout_s=110,
    )
