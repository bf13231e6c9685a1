"""What happens to a header while the store or a bus is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemons.bus.stream.memory import MemoryBroker
from daemons.storage import IntegrityError, ObjectInfo, StoreUnavailableError
from daemons.storage.directory import DirectoryStore
from tests.unit.headerservice.rig import OBS_ID, Image, Rig, cards

MakeRig = Callable[..., Rig]


class WeakStore(DirectoryStore):
    """A directory that can be away, or corrupt what it is given."""

    def __init__(self, root: Path) -> None:
        super().__init__("facility", root)
        self.away = False
        self.corrupts = 0
        self.puts = 0

    async def put(
        self,
        key: str,
        body: bytes | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        self.puts += 1
        if self.away:
            raise StoreUnavailableError("the store is away: wait for it")
        if self.corrupts:
            self.corrupts -= 1
            assert isinstance(body, bytes)
            await super().put(f"bad/{key}", body[:-1] + b"?")
            raise IntegrityError("what the store holds is not what was sent")
        return await super().put(
            key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
        )


async def test_while_the_store_is_away_headers_wait_and_are_served(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    store = WeakStore(tmp_path / "store")
    store.away = True
    rig = make_rig(store=store)
    images = [Image(f"MC_O_20251121_{number:06d}", rig.t0 + 40 * number) for number in range(3)]
    async with rig.running(), aiohttp.ClientSession() as client:
        await rig.set_the_scene(rig.t0 - 1)
        for image in images:
            await rig.expose(image)
        url = f"{rig.service.base_url}/headers/{images[2].obs_id}"
        async with client.get(url, params={"wait": 5}) as answer:
            assert answer.status == 200
            assert answer.headers["X-Header-Status"] == "complete"
        await health_is(rig, "store.facility", ok=False)
        assert rig.service.status()["waiting_headers"] == 3
        assert "away" in rig.service.status()["last_error"]
        assert [rig.final(image.obs_id) for image in images] == [[], [], []]
        store.away = False
        for image in images:
            await rig.header_of(image.obs_id)
        await health_is(rig, "store.facility", ok=True)
    assert all(len(rig.on_bus(image.obs_id)) == 1 for image in images)


async def health_is(rig: Rig, name: str, *, ok: bool) -> None:
    changed = asyncio.Event()
    rig.health.on_change(lambda _dependency: changed.set())
    async with asyncio.timeout(10):
        while rig.health.dependencies[name].ok is not ok:
            changed.clear()
            await changed.wait()


async def test_headers_that_wait_are_published_after_a_restart(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    store = WeakStore(tmp_path / "store")
    store.away = True
    first = make_rig(store=store)
    async with first.running():
        await first.set_the_scene(first.t0 - 1)
        await first.expose(Image(OBS_ID, first.t0))
        await first.eventually(lambda: first.service.status()["last_error"])
        assert "away" in first.health.dependencies["store.facility"].reason
        await first.service.drain()
        assert first.final() == []
    second = make_rig()
    async with second.running():
        await second.header_of()
    assert len(second.final()) == 1
    assert len(second.on_bus()) == 1


async def test_while_the_control_bus_is_away_the_header_is_stored_and_told_once_it_is_back(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    publish = rig.bus.publish
    refused = 0

    async def refuse(*_args: Any, **_options: Any) -> Any:
        nonlocal refused
        refused += 1
        raise StoreUnavailableError("the broker is away")

    rig.bus.publish = refuse  # type: ignore[method-assign]
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.until(lambda: len(rig.final()) == 1)
        await rig.eventually(lambda: rig.service.status()["last_error"] == "the broker is away")
        assert cards(rig.stored())["HDRSTAT"] == "complete"
        rig.bus.publish = publish  # type: ignore[method-assign]
        await rig.header_of()
    assert refused >= 1
    assert len(rig.final()) == 1
    assert len(rig.on_bus()) == 1


async def test_while_the_event_stream_is_away_the_early_header_gives_way_to_the_final_one(
    make_rig: MakeRig,
) -> None:
    broker = MemoryBroker()
    rig = make_rig(event_broker=broker)
    async with rig.running():
        broker.stop()
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.until(rig.on_bus)
        assert rig.events == []
        broker.start()
        await rig.header_of()
    assert [each.status for each in rig.events] == ["complete"]


async def test_an_object_that_is_not_what_was_sent_is_sent_again(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    store = WeakStore(tmp_path / "store")
    store.corrupts = 2
    rig = make_rig(store=store)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
    assert rig.counter("arriero_header_publish_failures_total", code="store.integrity") == 2


async def test_urls_on_the_control_bus_are_what_the_configuration_says(make_rig: MakeRig) -> None:
    rig = make_rig(object_url="https://s3.example.org/rubinobs-lfa-cp/{key}")
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
    (announced,) = rig.on_bus()
    assert announced["url"] == (
        "https://s3.example.org/rubinobs-lfa-cp/MTHeaderService/header/2025/11/21/"
        f"MTHeaderService_header_{OBS_ID}.yaml"
    )


async def test_the_same_fact_keeps_its_event_id(make_rig: MakeRig) -> None:
    rig = make_rig()
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
        # As after a kill between announcing and recording it.
        session = rig.service._session
        assert session is not None
        header = await session.desk.journal.run(lambda journal: journal.latest(OBS_ID))
        assert header is not None
        await session.desk.publisher._announce_on_stream(header)
        await rig.until(lambda: len(rig.final()) == 2)
    assert len(rig.event_ids) == 3
    assert len(set(rig.event_ids)) == 2


@pytest.mark.parametrize("attempt_timeout_s", [0.2])
async def test_an_attempt_that_hangs_is_given_up_and_made_again(
    make_rig: MakeRig, tmp_path: Path, attempt_timeout_s: float
) -> None:
    store = WeakStore(tmp_path / "store")
    put, hung = store.put, asyncio.Event()

    async def hang_once(*args: Any, **options: Any) -> ObjectInfo:
        if not hung.is_set():
            hung.set()
            await asyncio.Event().wait()
        return await put(*args, **options)

    store.put = hang_once  # type: ignore[method-assign]
    rig = make_rig(store=store, attempt_timeout_s=attempt_timeout_s)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
    assert hung.is_set()
