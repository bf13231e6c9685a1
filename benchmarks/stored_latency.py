"""How long after a file appears `image.stored` is heard on the event stream.

    python -m benchmarks.stored_latency [--quick] [--exposures N] [--single N] [--only NAME ...]

A camera renames files of 19.5 MB into the drop directory of a forwarder with everything switched
on. Measured is the time from the rename of each file until a reader of the event stream has its
`image.stored`: for one file at a time, and for a host's share of an exposure that appears at once.
`embedded`: store and stream without any server, a directory on disk and the stream in memory, the
reader in the same process as the forwarder. `real`: Apache Kafka and SeaweedFS on this machine, the
forwarder in a process of its own. Their processor time shares this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from benchmarks.kit.camera import HOST_SHARE, Camera
from benchmarks.kit.figures import Spread, table
from benchmarks.kit.host import Ear, Host, running
from benchmarks.kit.machine import end_in_order, folders, not_measurable, say_machine
from benchmarks.kit.store import BUCKET, write_keys
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import ImageStored
from daemons.forwarder.service import Forwarder
from daemons.forwarder.settings import ForwarderSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.storage.directory import DirectoryStore
from tests.support.servers.errors import ServerError
from tests.support.servers.kafka import Kafka
from tests.support.servers.seaweedfs import SeaweedFS

_LONGEST_S = 120.0
_PAUSE_S = 0.3
_WARM = 2
"""Exposures that are not counted, at the beginning."""
Wait = Callable[[str, int], dict[str, float]]
"""Waits for so many events of an exposure; returns file → moment (monotonic)."""


def play(camera: Camera, drop: Path, wait: Wait, *, exposures: int) -> list[float]:
    """Let exposures appear; return the time of each file, seconds."""
    took: list[float] = []
    for number in range(exposures + _WARM):
        share = camera.take()
        folder = share.announce(drop)
        time.sleep(_PAUSE_S)
        appeared = {}
        for path in share.paths:
            appeared[path.name] = time.monotonic()
            path.rename(folder / path.name)
        heard = wait(share.obs_id, len(share.paths))
        if len(heard) < len(appeared):
            raise TimeoutError(f"{len(appeared) - len(heard)} files were not announced in time")
        if number >= _WARM:
            took += [heard[name] - at for name, at in appeared.items()]
        for name in appeared:
            (folder / name).unlink()
    return took


class Embedded:
    """A forwarder without any server, in a thread of this process.

    Parameters
    ----------
    folder
        For journal and store, on disk.
    drop
        The drop directory.
    """

    def __init__(self, folder: Path, drop: Path) -> None:
        self.drop = drop
        drop.mkdir(parents=True)
        self._broker = MemoryBroker()
        self._settings = ForwarderSettings(
            drop_directory=drop,
            state_directory=folder / "state",
            quarantine_directory=folder / "quarantine",
            reannounce_after_s=None,
        )
        self._store = DirectoryStore("facility", folder / "store")
        self._heard: dict[str, dict[str, float]] = {}

    async def measure(self, camera: Camera, exposures: int) -> list[float]:
        """Play exposures with the forwarder running."""
        forwarder = Forwarder(
            self._settings,
            host="benchmark",
            store=self._store,
            stream=MemoryEventStream(self._broker),
            health=HealthBoard(),
            registry=CollectorRegistry(),
            clock=SystemClock(),
        )
        await forwarder.open()
        ready = asyncio.Event()
        work = asyncio.create_task(forwarder.work())
        ear = asyncio.create_task(self._listen(ready))
        await ready.wait()
        try:
            return await asyncio.to_thread(play, camera, self.drop, self._wait, exposures=exposures)
        finally:
            for task in (work, ear):
                task.cancel()
            await asyncio.gather(work, ear, return_exceptions=True)
            await forwarder.close()

    async def _listen(self, ready: asyncio.Event) -> None:
        async with MemoryEventStream(self._broker).subscribe(
            "benchmark", types=[ImageStored.event_type]
        ) as events:
            ready.set()
            async for delivery in events:
                stored = delivery.message.read(ImageStored)
                name = stored.key.rpartition("/")[2]
                self._heard.setdefault(stored.obs_id, {}).setdefault(name, time.monotonic())
                await delivery.ack()

    def _wait(self, obs_id: str, files: int) -> dict[str, float]:
        deadline = time.monotonic() + _LONGEST_S
        while len(self._heard.get(obs_id, ())) < files and time.monotonic() < deadline:
            time.sleep(0.005)
        return self._heard.get(obs_id, {})


def embedded(folder: Path, images: Path, *, files: int, exposures: int) -> list[float]:
    """Measure without any server."""
    camera = Camera(images / "staging", files=files)
    return asyncio.run(Embedded(folder, images / "drop").measure(camera, exposures))


def real(folder: Path, images: Path, *, files: int, exposures: int) -> list[float]:
    """Measure with Kafka and SeaweedFS."""
    with contextlib.ExitStack() as stack:
        kafka = Kafka(folder / "kafka").start()
        stack.callback(kafka.stop)
        weed = SeaweedFS(folder / "weed").start()
        stack.callback(weed.stop)
        store = {
            "url": f"s3://{weed.create_bucket(BUCKET)}",
            "endpoint_url": weed.endpoint_url,
            **write_keys(folder, weed.access_key, weed.secret_key),
        }
        host = Host(folder / "host", images / "drop", store=store, stream=kafka.url)
        ear = Ear(kafka.url).start()
        stack.callback(ear.stop)
        with running(host):
            return play(
                Camera(images / "staging", files=files),
                host.drop,
                lambda obs_id, count: ear.wait(obs_id, count, _LONGEST_S),
                exposures=exposures,
            )


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few files")
    parser.add_argument("--exposures", type=int, help="of a host's share each")
    parser.add_argument("--single", type=int, help="files that come alone")
    parser.add_argument("--only", nargs="+", choices=["embedded", "real"])
    options = parser.parse_args()
    exposures = options.exposures or (2 if options.quick else 15)
    single = options.single or (10 if options.quick else 100)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    end_in_order()
    say_machine()
    rows, unmeasured = [], []
    ways = {"embedded": embedded, "real": real}
    for name in options.only or ways:
        for files, count in ((1, single), (HOST_SHARE, exposures)):
            try:
                with folders() as (folder, images):
                    took = ways[name](folder, images, files=files, exposures=count)
            except ServerError as error:
                unmeasured.append(f"{name}: not measurable on this machine: {error}")
                break
            rows.append(_row(name, files, took))
    print(
        table(["store and stream", "files at once", "measured", "p50 s", "p95", "p99", "max"], rows)
    )
    print("".join(f"{line}\n" for line in unmeasured), end="")
    if not rows:
        not_measurable("see above")


def _row(name: str, files: int, took: Sequence[float]) -> list[str]:
    spread = Spread.of(took)
    figures = (spread.p50, spread.p95, spread.p99, spread.most)
    return [name, str(files), str(len(took)), *(f"{each:.3f}" for each in figures)]


if __name__ == "__main__":
    main()
