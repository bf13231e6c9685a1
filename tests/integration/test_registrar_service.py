"""The registrar as a service: events in, datasets and events out, whatever goes away meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import Event, ImageStored, SidecarRef, new_event
from daemons.registrar.report import registered_files
from daemons.registrar.service import Registrar
from daemons.registrar.settings import RegistrarSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import State
from daemons.storage import ObjectStore
from daemons.storage.directory import DirectoryStore
from tests.support.facts import image_stored, lsstcam_header
from tests.support.servers import Postgres

REGISTERED = "image.registered"
FAILED = "image.registration_failed"
SENSORS = ("S00", "S01", "S02", "S10", "S11", "S12", "S20", "S21", "S22")


class Rig:
    """A registrar on an in-memory event stream."""

    def __init__(self, settings: RegistrarSettings, stores: dict[str, ObjectStore]) -> None:
        self.broker = MemoryBroker()
        self.stream = MemoryEventStream(self.broker)
        self.settings = settings
        self.health = HealthBoard()
        self.service = Registrar(
            settings,
            host="test",
            stores=stores,
            stream=self.stream,
            health=self.health,
            registry=CollectorRegistry(),
            clock=SystemClock(),
        )
        self.runner = ServiceRunner(self.service, health=self.health, drain_timeout_s=20)

    async def announce(self, images: Sequence[ImageStored]) -> None:
        for image in images:
            event = new_event(image, source="/test", key=f"{image.file_id}{image.uri}{uuid4()}")
            await self.stream.publish(event)

    async def events(self, kind: str, count: int) -> list[Event]:
        """Return the first events of a kind, waiting for them."""
        found: list[Event] = []
        async with (
            asyncio.timeout(60),
            self.stream.subscribe(f"watch-{uuid4()}", types=[kind]) as subscription,
        ):
            async for delivery in subscription:
                found.append(delivery.message)
                await delivery.ack()
                if len(found) >= count:
                    break
        return found


@asynccontextmanager
async def running(
    settings: RegistrarSettings, stores: dict[str, ObjectStore] | None = None
) -> AsyncIterator[Rig]:
    rig = Rig(settings, stores or {})
    await rig.runner.go_to(State.ENABLED)
    try:
        yield rig
    finally:
        await rig.runner.stop()
        await rig.stream.close()


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> RegistrarSettings:
    return RegistrarSettings(
        repository=str(tmp_path / "butler"),
        journal=tmp_path / "registrar.sqlite3",
        linger_s=0.05,
        max_wait_s=0.3,
    )


def exposure(seq_num: int = 123) -> list[ImageStored]:
    return [image_stored(lsstcam_header(seq_num=seq_num, sensor=sensor)) for sensor in SENSORS]


async def test_every_image_of_two_exposures_is_registered_and_told_once(
    settings: RegistrarSettings,
) -> None:
    async with running(settings) as rig:
        await rig.announce([*exposure(1), *exposure(2)])
        told = await rig.events(REGISTERED, 18)
        assert rig.health.ready
    assert {event.data["file_id"] for event in told} == {
        str(image.file_id) for image in [*exposure(1), *exposure(2)]
    }
    assert {event.data["already_known"] for event in told} == {False}
    assert len(registered_files(settings)) == 18


async def test_an_announcement_that_comes_twice_is_registered_once(
    settings: RegistrarSettings,
) -> None:
    async with running(settings) as rig:
        await rig.announce([*exposure(), *exposure()])
        await rig.events(REGISTERED, 9)
        await rig.announce(exposure())
        await rig.events(REGISTERED, 18)
    assert len(registered_files(settings)) == 9


async def test_two_files_for_one_detector_keep_the_first_and_tell_of_the_second(
    settings: RegistrarSettings,
) -> None:
    first, second = image_stored(), image_stored(uri="s3://elsewhere/x.fits")
    async with running(settings) as rig:
        await rig.announce([first, second])
        (failed,) = await rig.events(FAILED, 1)
        (waiting,) = await rig.service.waiting()
    assert failed.data["uri"] == "s3://elsewhere/x.fits"
    assert failed.data["code"] == waiting["code"] == "butler.conflict"
    assert [each.uri for each in registered_files(settings)] == [first.uri]


async def test_an_event_without_the_translated_header_is_completed_from_the_sidecar(
    settings: RegistrarSettings, tmp_path: Path
) -> None:
    store = DirectoryStore("facility", tmp_path / "store")
    header = {"__CONTENT__": "metadata"} | lsstcam_header()
    info = await store.put("x.json", json.dumps(header).encode())
    sidecar = SidecarRef(
        uri=store.uri("x.json"), key="x.json", size_bytes=info.size_bytes, sha256="b" * 64
    )
    foreign = image_stored().model_copy(update={"observation": None, "sidecar": sidecar})
    async with running(settings, {"facility": store}) as rig:
        await rig.announce([foreign])
        await rig.events(REGISTERED, 1)
    assert len(registered_files(settings)) == 1
    await store.close()


async def test_what_was_refused_can_be_tried_again(settings: RegistrarSettings) -> None:
    strict = settings.model_copy(update={"unknown_filters": "refuse"})
    image = image_stored(lsstcam_header(FILTER="ph_99"))
    async with running(strict) as rig:
        await rig.announce([image])
        await rig.events(FAILED, 1)
    async with running(settings) as rig:
        assert await rig.service.retry() == 1
        await rig.events(REGISTERED, 1)
        assert await rig.service.waiting() == []
    assert len(registered_files(settings)) == 1


async def test_work_that_was_not_acknowledged_is_done_by_the_next_registrar(
    settings: RegistrarSettings,
) -> None:
    slow = settings.model_copy(update={"linger_s": 30.0, "max_wait_s": 60.0})
    rig = Rig(slow, {})
    await rig.runner.go_to(State.ENABLED)
    await rig.announce(exposure())
    await until(lambda: rig.health.ready and rig.service.status()["in_hand"] == 9)
    await rig.runner.fault(99, "the end of this registrar")
    assert registered_files(settings) == ()

    heir = Rig(settings, {})
    heir.broker = rig.broker
    heir.service = Registrar(
        settings,
        host="test",
        stores={},
        stream=MemoryEventStream(rig.broker),
        health=heir.health,
        registry=CollectorRegistry(),
        clock=SystemClock(),
    )
    heir.runner = ServiceRunner(heir.service, health=heir.health)
    await heir.runner.go_to(State.ENABLED)
    await rig.events(REGISTERED, 9)
    await heir.runner.stop()
    await rig.runner.stop()
    assert len(registered_files(settings)) == 9


async def test_a_drain_registers_what_is_in_hand(settings: RegistrarSettings) -> None:
    slow = settings.model_copy(update={"linger_s": 30.0, "max_wait_s": 60.0})
    async with running(slow) as rig:
        await rig.announce(exposure())
        await until(lambda: rig.service.status()["in_hand"] == 9)
        await rig.runner.go_to(State.DISABLED)
        assert rig.service.status()["in_hand"] == 0
        assert rig.runner.drains_cut_off == 0
    assert len(registered_files(settings)) == 9


@pytest.mark.server
async def test_a_database_that_is_away_is_waited_for_at_start_and_in_the_middle(
    settings: RegistrarSettings, tmp_path: Path, start_postgres: object
) -> None:
    postgres: Postgres = start_postgres()  # type: ignore[operator]
    database = postgres.create_database("butler")
    there = settings.model_copy(update={"database": database, "repository": str(tmp_path / "pg")})
    await asyncio.to_thread(postgres.stop)
    async with running(there) as rig:
        await rig.announce(exposure(1))
        await unready(rig)
        await asyncio.to_thread(postgres.restart)
        await rig.events(REGISTERED, 9)
        assert rig.health.ready

        await asyncio.to_thread(postgres.kill)
        await rig.announce(exposure(2))
        await unready(rig)
        await asyncio.to_thread(postgres.restart)
        await rig.events(REGISTERED, 18)
        assert rig.health.ready
    assert len(registered_files(there)) == 18


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - looks from outside, as an operator does
            await asyncio.sleep(0.01)


async def unready(rig: Rig) -> None:
    """Wait until the board says that the database is away, with the reason."""

    def away() -> bool:
        butler = rig.health.dependencies["butler"]
        return not butler.ok and "not reached yet" not in butler.reason

    await until(away)
