"""`arriero run` and `arriero simulate` as separate processes, on real servers."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.host import Host, eventually, s3_store
from tests.support.servers import Kafka, Mosquitto, Postgres, SeaweedFS, SmallRegistry
from tests.support.servers.ports import free_port

KILLS = 8
"""How often a service is killed during a night."""

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(name="bucket")
def _bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.create_bucket()


@pytest.fixture(name="kafka_host")
def _kafka_host(
    tmp_path: Path,
    kafka: Kafka,
    schema_registry: SmallRegistry,
    seaweedfs: SeaweedFS,
    postgres: Postgres,
    bucket: str,
) -> Iterator[Host]:
    """A host on Kafka, S3 and PostgreSQL."""
    mark = uuid4().hex[:8]
    host = Host(
        tmp_path / "host",
        control_bus={
            "url": kafka.url,
            "registry_url": schema_registry.registry_url,
            "subname": f"test{mark}",
        },
        event_stream={"url": kafka.url, "topic": f"events.{mark}"},
        stores={"facility": s3_store(seaweedfs, tmp_path, bucket)},
    )
    host.document["registrar"]["database"] = postgres.create_database(f"butler_{mark}")
    with_header_port(host)
    yield host
    host.close()


@pytest.fixture(name="mqtt_host")
def _mqtt_host(
    tmp_path: Path, mosquitto: Mosquitto, seaweedfs: SeaweedFS, bucket: str
) -> Iterator[Host]:
    """A dome: one MQTT broker, an S3 account, SQLite."""
    mark = uuid4().hex[:8]
    host = Host(
        tmp_path / "dome",
        control_bus={"url": mosquitto.mqtt_url, "prefix": f"sal{mark}"},
        event_stream={"url": mosquitto.mqtt_url, "topic": f"events-{mark}"},
        stores={"facility": s3_store(seaweedfs, tmp_path, bucket)},
    )
    with_header_port(host)
    yield host
    host.close()


def with_header_port(host: Host) -> None:
    port = free_port()
    host.document["headerservice"]["http"] = {"port": port}
    host.simulator(exposures=3, detectors=4, header_url=f"http://127.0.0.1:{port}")


def stored(seaweedfs: SeaweedFS, bucket: str) -> list[str]:
    pages = seaweedfs.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def digest(seaweedfs: SeaweedFS, bucket: str, key: str) -> str:
    body = seaweedfs.client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return hashlib.sha256(body).hexdigest()


async def assert_arrived(host: Host, seaweedfs: SeaweedFS, bucket: str, images: int) -> None:
    """Every camera file is stored once, byte-identical, and every image registered once."""
    made = host.camera_files()
    fits = {name for name in made if name.endswith(".fits")}
    assert len(fits) == images
    await eventually(
        lambda: host.registered() == dict.fromkeys(fits, 1),
        what=f"{images} images registered once each",
        host=host,
    )
    keys = stored(seaweedfs, bucket)
    by_name = {key.rpartition("/")[2]: key for key in keys}
    times = Counter(key.rpartition("/")[2] for key in keys)
    assert {name: times[name] for name in made} == dict.fromkeys(made, 1)
    assert {name: digest(seaweedfs, bucket, by_name[name]) for name in made} == made


async def test_a_night_on_kafka_s3_and_postgresql(
    kafka_host: Host, seaweedfs: SeaweedFS, bucket: str
) -> None:
    services = kafka_host.run()
    await kafka_host.until_ready()
    assert kafka_host.simulate().wait(100) == 0

    await assert_arrived(kafka_host, seaweedfs, bucket, images=12)

    headers = [key for key in stored(seaweedfs, bucket) if "MTHeaderService_header" in key]
    assert len(headers) >= 3
    code, status = kafka_host.command("status")
    assert code == 0
    assert {each["state"] for each in status["services"].values()} == {"ENABLED"}
    assert services.stop() == 0


async def test_a_night_on_mqtt_and_s3(mqtt_host: Host, seaweedfs: SeaweedFS, bucket: str) -> None:
    services = mqtt_host.run()
    await mqtt_host.until_ready()
    assert mqtt_host.simulate().wait(100) == 0

    await assert_arrived(mqtt_host, seaweedfs, bucket, images=12)
    assert services.stop() == 0


async def test_services_killed_at_random_lose_and_double_nothing(
    kafka_host: Host, seaweedfs: SeaweedFS, bucket: str
) -> None:
    chance = random.Random(4)
    night = kafka_host.document["simulator"]
    kafka_host.simulator(**night | {"exposures": 5, "header_patience_s": 5.0})
    hosts = {name: only(kafka_host, name) for name in kafka_host.document["services"]}
    processes = {name: host.run(name) for name, host in hosts.items()}
    try:
        for host in hosts.values():
            await host.until_ready()
        simulation = kafka_host.simulate()
        for _kill in range(KILLS):
            await asyncio.sleep(chance.uniform(0.5, 4.0))
            name = chance.choice(sorted(hosts))
            processes[name].kill()
            processes[name] = hosts[name].run(name)
        assert simulation.wait(100) == 0
        await assert_arrived(kafka_host, seaweedfs, bucket, images=20)
        assert {name: process.stop() for name, process in processes.items()} == dict.fromkeys(
            hosts, 0
        )
    finally:
        for host in hosts.values():
            host.close()


def only(host: Host, service: str) -> Host:
    """Return the same host with one service and an admin socket of its own."""
    other = Host(host.folder / service)
    other.document = {
        **host.document,
        "services": [service],
        "admin": {"socket": str(other.socket)},
    }
    other.write()
    return other
