"""Putting one object into a store: conditional, verified, as long as it takes."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemons.forwarder.delivery import Delivery, Parcel
from daemons.forwarder.errors import (
    ConflictError,
    DeliveryError,
    DrainingError,
    FileChangedError,
)
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.patience import Patience
from daemons.forwarder.records import Summary
from daemons.forwarder.settings import ForwarderSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectInfo
from daemons.storage.directory import DirectoryStore
from tests.unit.forwarder.harness import FaultyStore

KEY = "LSSTCam/x.fits"


async def unchanged() -> None:
    """Find the file as it was."""


class Around:
    def __init__(self, folder: Path) -> None:
        self.store = FaultyStore(DirectoryStore("facility", folder / "bucket"))
        self.health = HealthBoard()
        self.draining = asyncio.Event()
        settings = ForwarderSettings(
            drop_directory=folder / "drop",
            state_directory=folder / "state",
            quarantine_directory=folder / "quarantine",
            attempt_timeout_s=0.5,
        )
        self.registry = CollectorRegistry()
        self.delivery = Delivery(
            self.store,
            patience=Patience(
                "store.facility",
                self.health,
                draining=self.draining,
                first_s=0.01,
                most_s=0.02,
            ),
            live=LiveSettings(settings),
            metrics=ForwarderMetrics(self.registry, clock=SystemClock(), summary=Summary),
        )

    async def deliver(self, content: bytes, **options: Any) -> Any:
        check = options.pop("check", unchanged)
        look_first = options.pop("look_first", False)
        parcel = Parcel(
            key=options.pop("key", KEY),
            body=content,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content_type="application/fits",
            metadata={"obs-id": "x"},
            **options,
        )
        return await self.delivery.deliver(parcel, check=check, look_first=look_first)


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(tmp_path)


async def test_an_object_is_put_and_verified(around: Around) -> None:
    delivered = await around.deliver(b"image")
    assert delivered.fresh
    assert delivered.info.metadata["sha256"] == hashlib.sha256(b"image").hexdigest()
    assert around.health.dependencies["store.facility"].ok


async def test_the_same_object_again_is_stored_already(around: Around) -> None:
    await around.deliver(b"image")
    again = await around.deliver(b"image")
    assert not again.fresh
    puts = len(around.store.puts)
    assert not (await around.deliver(b"image", look_first=True)).fresh
    assert len(around.store.puts) == puts


async def test_other_content_of_the_same_size_is_a_conflict(around: Around) -> None:
    await around.deliver(b"image")
    with pytest.raises(ConflictError, match="nothing was overwritten") as caught:
        await around.deliver(b"egami")
    assert caught.value.stored_sha256 == hashlib.sha256(b"image").hexdigest()
    assert await around.store.get(KEY) == b"image"


async def test_an_object_without_our_digest_is_judged_by_its_content(
    around: Around, tmp_path: Path
) -> None:
    path = tmp_path / "bucket" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"image")
    assert not (await around.deliver(b"image")).fresh
    with pytest.raises(ConflictError) as caught:
        await around.deliver(b"egami")
    assert caught.value.stored_sha256 == hashlib.sha256(b"image").hexdigest()
    with pytest.raises(ConflictError) as caught:
        await around.deliver(b"another length")
    assert caught.value.stored_sha256 is None


async def test_an_answer_that_was_lost_is_no_conflict_with_oneself(around: Around) -> None:
    around.store.lose_answers = 1
    await around.deliver(b"image")
    assert around.store.puts == [KEY]


async def test_a_store_that_is_away_is_waited_for(around: Around) -> None:
    around.store.down = True
    delivering = asyncio.create_task(around.deliver(b"image"))
    await asyncio.sleep(0.1)
    assert not around.health.dependencies["store.facility"].ok
    around.store.down = False
    await delivering
    assert around.health.dependencies["store.facility"].ok
    failures = around.registry.get_sample_value(
        "arriero_forwarder_errors_total", {"stage": "store", "code": "store.unavailable"}
    )
    assert failures


async def test_a_store_that_never_answers_is_given_up_and_tried_again(around: Around) -> None:
    stuck: list[str] = []

    class Stuck(FaultyStore):
        async def put(self, key: str, *args: Any, **options: Any) -> ObjectInfo:
            if not stuck:
                stuck.append(key)
                await asyncio.Event().wait()
            return await super().put(key, *args, **options)

    around.delivery.store = Stuck(around.store)
    await around.deliver(b"image")
    assert stuck == [KEY]
    assert await around.store.get(KEY) == b"image"


async def test_whoever_waits_for_the_store_gives_up_when_the_service_ends(
    around: Around,
) -> None:
    around.store.down = True
    delivering = asyncio.create_task(around.deliver(b"image"))
    await asyncio.sleep(0.05)
    around.draining.set()
    with pytest.raises(DrainingError):
        await delivering


async def test_the_file_is_looked_at_before_each_attempt(around: Around) -> None:
    looks = []

    async def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise FileChangedError("replaced while the store was away")

    around.store.down = True
    with pytest.raises(FileChangedError):
        await around.deliver(b"image", check=look)


async def test_an_object_that_arrives_altered_is_withdrawn_and_in_the_end_a_person_is_asked(
    around: Around, tmp_path: Path
) -> None:
    def cut(key: str) -> None:
        path = tmp_path / "bucket" / key
        path.write_bytes(path.read_bytes()[:-1])

    around.store.after_put = cut
    with pytest.raises(DeliveryError, match="look at the network"):
        await around.deliver(b"image")
    assert around.store.puts == [KEY] * 3
    assert await around.store.head(KEY) is None


async def test_a_key_that_the_store_refuses_fails_at_once(around: Around) -> None:
    await around.deliver(b"image")
    with pytest.raises(DeliveryError, match="refuses"):
        await around.deliver(b"image", key=f"{KEY}/below")
    with pytest.raises(DeliveryError, match="refuses"):
        await around.deliver(b"image", key="../out")


async def test_a_sidecar_of_the_same_image_stays_as_it_is_and_of_another_is_a_conflict(
    around: Around,
) -> None:
    first = await around.deliver(b"{1}", belongs_to="a" * 64)
    again = await around.deliver(b"{two}", belongs_to="a" * 64)
    assert not again.fresh
    assert again.sha256 == first.sha256
    assert again.info.size_bytes == 3
    with pytest.raises(ConflictError):
        await around.deliver(b"{two}", belongs_to="b" * 64)
