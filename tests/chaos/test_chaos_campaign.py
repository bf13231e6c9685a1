"""The real forwarder is killed again and again while a camera writes, on a real store and broker.

`ARRIERO_CHAOS_KILLS` says how often in all (`make chaos`: thousands), `ARRIERO_CHAOS_SEED`
repeats a campaign's choices. Between kills connections to the store are reset, slowed
down and refused. In the end every file of the camera must be stored once and unaltered,
announced at least once, and nothing may be announced that is not stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import open_event_stream
from daemons.events import Event, ImageStored
from daemons.runtime.errors import ArrieroError
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectStore
from daemons.storage.factory import open_store
from daemons.storage.settings import StoreSettings
from tests.chaos.chaos_child import live
from tests.support.host import Host, s3_store
from tests.support.proxy import FaultyProxy
from tests.support.servers import Kafka, SeaweedFS
from tests.unit.forwarder.harness import detectors, raw_key, raw_name, small_raw

KILLS = int(os.environ.get("ARRIERO_CHAOS_KILLS", "200"))
CAMPAIGNS = 4
SEED = int(os.environ.get("ARRIERO_CHAOS_SEED", str(time.time_ns() % 1_000_000)))
ROOT = Path(__file__).parents[2]
END_S = 180.0

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(600 + 6 * KILLS),
]


@pytest.fixture(name="processes", scope="module")
def _processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the server process, which imports everything once
    context.set_forkserver_preload(["tests.chaos.chaos_child"])
    return context


@dataclass
class Camera:
    """Writes files in all the ways that cameras have."""

    drop: Path
    chance: random.Random
    files: dict[str, str] = field(default_factory=dict)
    """Object key to sha256 of what the camera wrote."""

    def write(self, number: int) -> None:
        """Let the n-th file appear."""
        names = detectors(9)
        seq_num, place = divmod(number, len(names))
        raft, sensor = names[place]
        content = small_raw(seq_num + 1, raft, sensor)
        path = self.drop / raw_name(seq_num + 1, raft, sensor)
        how = self.chance.choice(["rename", "write", "link"])
        staged = self.drop.parent / f"staged-{number}"
        if how == "write":
            half = len(content) // 2
            with path.open("wb") as out:
                out.write(content[:half])
                out.flush()
                out.write(content[half:])
        else:
            staged.write_bytes(content)
            if how == "rename":
                staged.rename(path)
            else:
                os.link(staged, path)
                staged.unlink()
        self.files[raw_key(seq_num + 1, raft, sensor)] = hashlib.sha256(content).hexdigest()


@pytest.fixture(name="host")
def _host(tmp_path: Path, kafka: Kafka, seaweedfs: SeaweedFS) -> Iterator[Host]:
    host = Host(
        tmp_path / "host",
        services=["forwarder"],
        event_stream={"url": kafka.url, "topic": f"chaos.{uuid4().hex[:8]}", "member": "chaos"},
        stores={"facility": s3_store(seaweedfs, tmp_path, seaweedfs.create_bucket())},
    )
    host.document["forwarder"]["reannounce_after_s"] = None
    yield host
    host.close()


@pytest.mark.parametrize("campaign", range(CAMPAIGNS))
async def test_killed_again_and_again_everything_arrives_once_unaltered_and_announced(
    campaign: int, host: Host, seaweedfs: SeaweedFS, processes: ForkServerContext
) -> None:
    seed = SEED + campaign
    chance = random.Random(seed)
    kills = -(-KILLS // CAMPAIGNS)
    camera = Camera(host.drop, chance)
    endpoint = urlsplit(seaweedfs.endpoint_url)
    async with FaultyProxy("127.0.0.1", endpoint.port or 80) as proxy:
        host.document["stores"]["facility"]["endpoint_url"] = f"http://127.0.0.1:{proxy.port}"
        host.write()
        for number in range(kills):
            for _ in range(chance.choice([0, 0, 1, 2])):
                await asyncio.to_thread(camera.write, len(camera.files))
            disturb(proxy, chance)
            await one_life(host, processes, chance, number, camera)
        calm(proxy)
        camera.write(len(camera.files))
        async with last_life(host, processes):
            await all_announced(host, len(camera.files), f"seed {seed}")
    store = direct_store(host, seaweedfs)
    try:
        await judge(host, store, camera.files, f"seed {seed}, {kills} kills")
    finally:
        await store.close()


def disturb(proxy: FaultyProxy, chance: random.Random) -> None:
    """Choose what goes wrong on the way to the store in this life."""
    calm(proxy)
    match chance.randrange(5):
        case 0:
            proxy.faults.reset_after_bytes = chance.randrange(1_000, 400_000)
        case 1:
            proxy.faults.latency_s = chance.uniform(0.0, 0.1)
        case 2:
            proxy.faults.bytes_per_s = chance.uniform(100_000, 5_000_000)
        case _:
            pass


def calm(proxy: FaultyProxy) -> None:
    """Let everything go well."""
    proxy.faults.reset_after_bytes = None
    proxy.faults.latency_s = 0.0
    proxy.faults.bytes_per_s = None


async def one_life(
    host: Host,
    processes: ForkServerContext,
    chance: random.Random,
    number: int,
    camera: Camera,
) -> None:
    """Start the process, let it live for a random while, kill it."""
    child = processes.Process(target=live, args=(str(host.config), str(host.folder / "run.log")))
    child.start()
    lifetime_s = chance.uniform(0.02, 0.4) if number % 3 else chance.uniform(0.4, 2.5)
    half = lifetime_s / 2
    await asyncio.sleep(half)
    if chance.random() < 0.5:
        await asyncio.to_thread(camera.write, len(camera.files))
    await asyncio.sleep(half)
    assert child.exitcode is None, f"it ended by itself: {tail(host)}"
    child.kill()
    await asyncio.to_thread(child.join, 30)
    child.close()


@asynccontextmanager
async def last_life(host: Host, processes: ForkServerContext) -> AsyncIterator[None]:
    child = processes.Process(target=live, args=(str(host.config), str(host.folder / "run.log")))
    child.start()
    try:
        yield
    finally:
        child.terminate()
        await asyncio.to_thread(child.join, 60)
        if child.exitcode is None:
            child.kill()
        child.close()


async def all_announced(host: Host, files: int, told: str) -> None:
    """Wait until the forwarder says that all is announced."""
    deadline = time.monotonic() + END_S
    forwarder: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with suppress(ArrieroError):
            forwarder = (await host.ask("/status"))["services"]["forwarder"]["status"]
            states = forwarder.get("images", {})
            announced = states.get("announced", {}).get("files", 0)
            if announced == files and set(states) == {"announced"}:
                return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{told}: not all announced: {forwarder}\n{tail(host)}")


def tail(host: Host) -> str:
    """Return the end of the log."""
    log = host.folder / "run.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:]) if log.exists() else ""


def direct_store(host: Host, seaweedfs: SeaweedFS) -> ObjectStore:
    """Return the store without the proxy."""
    section = {**host.document["stores"]["facility"], "endpoint_url": seaweedfs.endpoint_url}
    return open_store("facility", StoreSettings(**section))


async def judge(host: Host, store: ObjectStore, files: dict[str, str], told: str) -> None:
    """Compare what the camera wrote with what is stored and what was announced."""
    stored = [info.key async for info in store.list("LSSTCam/")]
    images = [key for key in stored if key.endswith(".fits")]
    assert sorted(images) == sorted(files), told
    assert len(stored) == 2 * len(files), f"{told}: one sidecar each"
    for key, sha256 in files.items():
        content = await store.get(key)
        assert hashlib.sha256(content).hexdigest() == sha256, f"{told}: {key}"
    events = await announced(host, {*files})
    numbers: dict[str, str] = {}
    for event in events:
        assert numbers.setdefault(event.sequence or "", event.id) == event.id, f"{told}: {event}"
    facts = [event.read(ImageStored) for event in events if event.type == ImageStored.event_type]
    assert {fact.key for fact in facts} == set(files), told
    assert all(fact.sha256 == files[fact.key] for fact in facts), told
    assert {event.type for event in events} <= {
        *("image.stored", "exposure.late", "exposure.incomplete"),
    }, told


async def announced(host: Host, wanted: set[str]) -> list[Event]:
    """Return all events of the stream, once each wanted key was told of and it is quiet."""
    stream = open_event_stream(
        EventStreamSettings(**{**host.document["event_stream"], "member": None}),
        client_id="judge",
        health=HealthBoard(),
        registry=CollectorRegistry(),
    )
    events: list[Event] = []
    left = set(wanted)
    try:
        async with stream.subscribe("judge") as subscription:
            await subscription.ready()
            while True:
                try:
                    async with asyncio.timeout(60.0 if left else 2.0):
                        delivery = await anext(aiter(subscription))
                except TimeoutError:
                    assert not left, f"never announced: {sorted(left)[:5]}"
                    return events
                await delivery.ack()
                events.append(delivery.message)
                if delivery.message.type == ImageStored.event_type:
                    left.discard(delivery.message.read(ImageStored).key)
    finally:
        await stream.close()
