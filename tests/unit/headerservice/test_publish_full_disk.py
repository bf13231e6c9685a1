"""A disk that is full: the journal's, and the store's."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import State
from daemons.storage import ObjectInfo
from daemons.storage.directory import DirectoryStore
from headerservice.journal import Journal
from tests.unit.headerservice.rig import OBS_ID, Image, Rig

MakeRig = Callable[..., Rig]


def fill(journal: Journal) -> None:
    """Let SQLite find no room for another page; the pages that there are stay."""
    journal._database.execute("PRAGMA max_page_count = 1")


def make_room(journal: Journal) -> None:
    journal._database.execute("PRAGMA max_page_count = 1000000")


async def dependency_is(rig: Rig, name: str, *, ok: bool) -> None:
    changed = asyncio.Event()
    rig.health.on_change(lambda _dependency: changed.set())
    async with asyncio.timeout(20):
        while rig.health.dependencies[name].ok is not ok:
            changed.clear()
            await changed.wait()


async def test_while_the_journals_disk_is_full_headers_wait_and_others_are_served(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    runner = ServiceRunner(rig.service, health=rig.health)
    await runner.go_to(State.ENABLED)
    await rig.service.ready()
    listeners = [
        asyncio.create_task(rig._listen_to_bus()),
        asyncio.create_task(rig._listen_to_stream()),
    ]
    await rig.set_the_scene(rig.t0 - 1)
    await rig.expose(Image(OBS_ID, rig.t0))
    await rig.header_of()
    await rig.service.drain()
    session = rig.service._session
    assert session is not None
    session.reading.intake.draining = False
    await session.desk.journal.run(fill)
    images = [
        Image(f"MC_O_20251121_{number:06d}", rig.t0 + 40 * number) for number in range(200, 203)
    ]
    for image in images:
        await rig.expose(image)
    await dependency_is(rig, "journal", ok=False)
    async with aiohttp.ClientSession() as client:
        url = f"{rig.service.base_url}/headers/{OBS_ID}"
        async with client.get(url) as answer:
            assert answer.status == 200
    assert runner.state is State.ENABLED
    await session.desk.journal.run(make_room)
    for image in images:
        await rig.header_of(image.obs_id)
    await dependency_is(rig, "journal", ok=True)
    assert runner.state is State.ENABLED
    assert all(len(rig.on_bus(image.obs_id)) == 1 for image in images)
    for listener in listeners:
        listener.cancel()
    assert await runner.stop()


class FullStore(DirectoryStore):
    """A directory on a disk without room, for a while."""

    full = True

    async def put(self, key: str, body: bytes | Path, **options: Any) -> ObjectInfo:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await super().put(key, body, **options)


async def test_while_the_stores_disk_is_full_headers_wait_in_the_journal(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    store = FullStore("facility", tmp_path / "store")
    rig = make_rig(store=store)
    images = [Image(f"MC_O_20251121_{number:06d}", rig.t0 + 40 * number) for number in range(2)]
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        for image in images:
            await rig.expose(image)
        await rig.eventually(lambda: rig.service.status()["waiting_headers"] == 2)
        await dependency_is(rig, "store.facility", ok=False)
        assert [rig.final(image.obs_id) for image in images] == [[], []]
        store.full = False
        for image in images:
            await rig.header_of(image.obs_id)
    assert all(len(rig.final(image.obs_id)) == 1 for image in images)
