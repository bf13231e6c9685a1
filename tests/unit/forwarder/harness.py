"""A forwarder on real folders, a directory store and the event stream in memory."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.io import fits
from prometheus_client import CollectorRegistry

from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import Event, ImageRegistered, ImageStored, decode, new_event
from daemons.forwarder.assembly import Further
from daemons.forwarder.service import Forwarder
from daemons.forwarder.settings import ForwarderSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectInfo, ObjectStore, StoreUnavailableError
from daemons.storage.directory import DirectoryStore
from tests.support.facts import lsstcam_header

TOPIC = "arriero.events"
DAY_OBS = 20250501
RAW_HDUS = 19


@functools.cache  # astropy writes the time into the comments of checksum cards
def small_raw(
    seq_num: int = 1,
    raft: str = "R22",
    sensor: str = "S11",
    *,
    variant: int = 0,
    hdus: int = RAW_HDUS,
    **cards: Any,
) -> bytes:
    """Return a whole LSSTCam raw with tiny pixels; `variant` makes other content of it."""
    header = lsstcam_header(seq_num=seq_num, raft=raft, sensor=sensor, **cards)
    primary = fits.PrimaryHDU()
    for keyword, value in header.items():
        primary.header[keyword] = value
    primary.header["VARIANT"] = variant
    primary.add_checksum()
    out = io.BytesIO()
    fits.HDUList([primary]).writeto(out, output_verify="exception")
    return out.getvalue() + _segments(hdus - 1)


@functools.cache
def _segments(count: int) -> bytes:
    hdus = [fits.ImageHDU([[number]], name=f"Segment{number:02d}") for number in range(count)]
    for hdu in hdus:
        hdu.add_checksum()
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(out)
    return out.getvalue()[2880:]


def obs_id(seq_num: int = 1) -> str:
    return f"MC_O_{DAY_OBS}_{seq_num:06d}"


def raw_name(seq_num: int = 1, raft: str = "R22", sensor: str = "S11") -> str:
    return f"{obs_id(seq_num)}_{raft}_{sensor}.fits"


def raw_key(seq_num: int = 1, raft: str = "R22", sensor: str = "S11") -> str:
    return f"LSSTCam/{DAY_OBS}/{obs_id(seq_num)}/{raw_name(seq_num, raft, sensor)}"


def detectors(count: int) -> list[tuple[str, str]]:
    """Return the first science detectors as (raft, sensor)."""
    rafts = ["R01", "R02", "R03", *(f"R{row}{column}" for row in (1, 2, 3) for column in range(5))]
    rafts += ["R41", "R42", "R43"]
    names = [(raft, f"S{a}{b}") for raft in rafts for a in range(3) for b in range(3)]
    return names[:count]


def expected_sensors(seq_num: int, names: Iterable[str]) -> bytes:
    content = {
        "fileName": f"{obs_id(seq_num)}_expectedSensors.json",
        "obsId": obs_id(seq_num),
        "version": 1.0,
        "expectedSensors": dict.fromkeys(names, "SCIENCE"),
    }
    return json.dumps(content).encode()


class FaultyStore:
    """A store that is away while `down`, and calls `before_put` and `after_put`."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.down = False
        self.lose_answers = 0
        """How many puts are carried out and then answered with a failure."""
        self.puts: list[str] = []
        self.gate = asyncio.Event()
        """Puts wait until it is set, as it is at first."""
        self.gate.set()
        self.before_put: Callable[[str], None] = lambda _key: None
        self.after_put: Callable[[str], None] = lambda _key: None

    @property
    def name(self) -> str:
        return self._inner.name

    def uri(self, key: str) -> str:
        return self._inner.uri(key)

    def _look(self) -> None:
        if self.down:
            raise StoreUnavailableError("the store is away")

    async def check(self) -> None:
        self._look()
        await self._inner.check()

    async def put(
        self,
        key: str,
        body: bytes | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        self._look()
        self.puts.append(key)
        self.before_put(key)
        await self.gate.wait()
        info = await self._inner.put(
            key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
        )
        self.after_put(key)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailableError("the answer was lost")
        return info

    async def head(self, key: str) -> ObjectInfo | None:
        self._look()
        return await self._inner.head(key)

    async def get(self, key: str) -> bytes:
        self._look()
        return await self._inner.get(key)

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        return self._inner.list(prefix)

    async def delete(self, key: str) -> None:
        self._look()
        await self._inner.delete(key)

    async def close(self) -> None:
        await self._inner.close()


class Bench:
    """One forwarder and all that is around it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.bucket = folder / "bucket"
        self.quarantine = folder / "quarantine"
        self.drop.mkdir(parents=True, exist_ok=True)
        self.settings = ForwarderSettings(
            **{
                "drop_directory": self.drop,
                "state_directory": folder / "state",
                "quarantine_directory": self.quarantine,
                "quiet_time_s": 0.05,
                "unseen_quiet_time_s": 0.1,
                "incomplete_patience_s": 0.6,
                "attachment_patience_s": 1.0,
                "reannounce_grace_s": 0.1,
                "concurrency": 8,
                # A busy machine is no late exposure: who tests deadlines sets them.
                "warn_after_s": 300.0,
                "late_after_s": 300.0,
                "incomplete_after_s": 300.0,
                **settings,
            }
        )
        self.broker = MemoryBroker()
        self.stream = MemoryEventStream(self.broker, topic=TOPIC)
        self.store = FaultyStore(DirectoryStore("facility", self.bucket))
        self.copies = {
            name: FaultyStore(DirectoryStore(name, folder / name)) for name in self.settings.copies
        }
        self.further = Further(copies=tuple(self.copies.values()))
        self.health = HealthBoard()
        self.registry = CollectorRegistry()
        self.forwarder = self.make()

    def make(self, kind: type[Forwarder] = Forwarder) -> Forwarder:
        return kind(
            self.settings,
            host="camera-host",
            store=self.store,
            further=self.further,
            stream=self.stream,
            health=self.health,
            registry=self.registry,
            clock=SystemClock(),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Forwarder]:
        """Run the forwarder as the runner does."""
        await self.forwarder.open()
        work = asyncio.create_task(self.forwarder.work())
        try:
            yield self.forwarder
            if work.done():
                work.result()
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await self.forwarder.close()

    def again(self) -> None:
        """Take a new process: everything in memory is gone."""
        self.broker = MemoryBroker()
        self.stream = MemoryEventStream(self.broker, topic=TOPIC)
        self.health = HealthBoard()
        self.registry = CollectorRegistry()
        self.forwarder = self.make()

    def put(self, name: str, content: bytes, *, folder: str = "") -> Path:
        """Let a file appear at once, by a rename, as a good camera does."""
        path = self.drop / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.folder / f"staged-{time.monotonic_ns()}"
        staged.write_bytes(content)
        staged.rename(path)
        return path

    def events(self, event_type: str | None = None) -> list[Event]:
        found = [decode(record.payload) for record in self.broker.records(TOPIC)]
        found.sort(key=lambda event: event.sequence or "")
        return [event for event in found if event_type in (None, event.type)]

    def images(self, state: str) -> int:
        return int(self.forwarder.status().get("images", {}).get(state, {}).get("files", 0))

    async def reach(self, state: str, count: int = 1) -> None:
        await until(lambda: self.images(state) >= count, f"{count} images {state}", self)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


async def until(true: Callable[[], bool], what: str, bench: Bench | None = None) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not true():
        if time.monotonic() > end:
            state = None if bench is None else json.dumps(bench.forwarder.status(), indent=1)
            raise AssertionError(f"not within 30 s: {what}; {state}")
        await asyncio.sleep(0.01)


async def register(stream: MemoryEventStream, *, group: str = "registrar") -> None:
    """Answer each `image.stored` with `image.registered`, as a registrar does."""
    async with stream.subscribe(group, types={"image.stored"}) as events:
        async for delivery in events:
            stored = delivery.message.read(ImageStored)
            fields = stored.model_dump(include=set(ImageRegistered.model_fields))
            fact = ImageRegistered(**fields, butler="memory", registered_at=datetime.now(tz=UTC))
            key = f"{fact.file_id}:{fact.sha256}"
            await stream.publish(new_event(fact, source="/arriero/registrar/test", key=key))
            await delivery.ack()
