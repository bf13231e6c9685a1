"""What every object store promises."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemons.storage.interface import (
    IntegrityError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreUnavailableError,
)
from daemons.storage.settings import RetrySettings
from daemons.storage.verify import verify
from tests.contract.storage.conftest import Backend, Opener

MIB = 1 << 20


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


async def keys_of(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


async def test_check_passes_on_a_store_in_order(store: ObjectStore) -> None:
    await store.check()


async def test_what_was_put_is_seen_by_head_get_and_list(store: ObjectStore) -> None:
    content = os.urandom(100_000)
    put = await store.put("night/image.fits", content, metadata={"sha256": "ab" * 32})
    assert (put.key, put.size_bytes, put.etag) == ("night/image.fits", 100_000, md5(content))
    head = await store.head("night/image.fits")
    assert head is not None
    assert (head.key, head.size_bytes, head.etag) == (put.key, put.size_bytes, put.etag)
    assert head.metadata == put.metadata == {"sha256": "ab" * 32}
    assert await store.get("night/image.fits") == content
    (listed,) = [info async for info in store.list()]
    assert (listed.key, listed.size_bytes, listed.etag) == (put.key, put.size_bytes, put.etag)
    assert listed.metadata == {}


async def test_modification_times_are_utc_and_now(store: ObjectStore) -> None:
    infos: list[ObjectInfo | None] = [await store.put("one", b"1"), await store.head("one")]
    infos += [info async for info in store.list()]
    for info in infos:
        assert info is not None
        assert info.modified.tzinfo is UTC
        assert abs(info.modified - datetime.now(tz=UTC)) < timedelta(seconds=60)


async def test_a_file_is_stored_as_it_is(store: ObjectStore, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 17)
    path = tmp_path / "image.fits"
    path.write_bytes(content)
    info = await store.put("image.fits", path)
    assert (info.size_bytes, info.etag) == (len(content), md5(content))
    assert await store.get("image.fits") == content


async def test_an_object_may_be_empty(store: ObjectStore, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for key, body in (("bytes", b""), ("file", empty)):
        assert (await store.put(key, body)).size_bytes == 0
        head = await store.head(key)
        assert head is not None
        assert head.size_bytes == 0
        assert await store.get(key) == b""


async def test_put_replaces_and_head_tells_of_the_new_object_only(store: ObjectStore) -> None:
    await store.put("image", b"first", metadata={"one": "1"})
    await store.put("image", b"the second", metadata={"two": "2"})
    head = await store.head("image")
    assert head is not None
    assert (head.size_bytes, head.etag) == (10, md5(b"the second"))
    assert head.metadata == {"two": "2"}
    assert await store.get("image") == b"the second"


async def test_absent_objects_are_none_or_not_found(store: ObjectStore) -> None:
    assert await store.head("nothing/here") is None
    with pytest.raises(ObjectNotFoundError):
        await store.get("nothing/here")
    await store.delete("nothing/here")
    assert await keys_of(store) == []


async def test_a_deleted_object_is_gone(store: ObjectStore) -> None:
    await store.put("night/a", b"a")
    await store.put("night/b", b"b")
    await store.delete("night/a")
    assert await store.head("night/a") is None
    assert await keys_of(store) == ["night/b"]


async def test_listing_is_in_key_order_and_by_prefix(store: ObjectStore) -> None:
    keys = [
        "20261121/a",
        "20261121/b/2",
        "20261121/b/10",
        "20261121/b-1",
        "20261121/b.1",
        "20261122/a",
        "2026",
        "Z",
        "a",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
    ]
    for key in keys:
        await store.put(key, key.encode())
    assert await keys_of(store) == sorted(keys)
    assert await keys_of(store, "20261121/b") == [
        "20261121/b-1",
        "20261121/b.1",
        "20261121/b/10",
        "20261121/b/2",
    ]
    assert await keys_of(store, "20261121/b/") == ["20261121/b/10", "20261121/b/2"]
    assert await keys_of(store, "nothing") == []


async def test_a_listing_of_several_pages_is_whole(store: ObjectStore) -> None:
    keys = [f"page/{number:05d}" for number in range(1200)]
    gate = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with gate:
            await store.put(key, b"x")

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(put(key))
    assert await keys_of(store, "page/") == keys


async def test_keys_keep_blanks_signs_and_letters_of_any_script(store: ObjectStore) -> None:
    keys = [
        "with blank/and  two",
        "plus+sign",
        "per%cent%20",
        "quest?ion#hash&and=",
        "(brackets)[square]{curly}'quote\"~!$*,;:@",
        "Observación/Ñuble/山頂/тест",
    ]
    for key in keys:
        await store.put(key, key.encode())
    assert sorted(await keys_of(store)) == sorted(keys)
    for key in keys:
        assert await store.get(key) == key.encode()
        assert await store.head(key) is not None


REFUSED_KEYS = [
    "/absolute",
    "a//b",
    "a/",
    "./a",
    "a/../b",
    "..",
    "a\x00b",
    "a\x07b",
    "\ud800",
    ".arriero",
    ".arriero/own",
]


@pytest.mark.parametrize("key", ["", "two\nlines", "k" * 1025, *REFUSED_KEYS])
async def test_keys_that_cannot_be_everywhere_are_refused(store: ObjectStore, key: str) -> None:
    for call in (store.put(key, b"x"), store.head(key), store.get(key), store.delete(key)):
        with pytest.raises(ValueError, match="key"):
            await call
    with pytest.raises(ValueError, match="key"):
        store.uri(key)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upper", "x"),
        ("blank name", "x"),
        ("name", "caf\u00e9"),
        ("name", " x"),
        ("name", "a\nb"),
        ("name", "x" * 2048),
    ],
)
async def test_metadata_that_would_be_changed_are_refused(
    store: ObjectStore, name: str, value: str
) -> None:
    with pytest.raises(ValueError, match="metadata"):
        await store.put("image", b"x", metadata={name: value})
    assert await store.head("image") is None


async def test_metadata_come_back_as_they_went(store: ObjectStore) -> None:
    metadata = {"sha256": "0" * 64, "obs-id": "MC_O_20261121_000001", "note": "a = b; c, d/e+f %"}
    await store.put("image", b"x", metadata=metadata)
    head = await store.head("image")
    assert head is not None
    assert head.metadata == metadata


async def test_conditional_put_refuses_an_object_that_exists(store: ObjectStore) -> None:
    await store.put("image", b"first", if_absent=True, metadata={"one": "1"})
    with pytest.raises(ObjectExistsError, match="image"):
        await store.put("image", b"second", if_absent=True)
    assert await store.get("image") == b"first"
    head = await store.head("image")
    assert head is not None
    assert head.metadata == {"one": "1"}


async def test_of_racing_conditional_puts_one_wins(
    backend: Backend, opened: Opener, tmp_path: Path
) -> None:
    stores = [opened(backend.settings()) for _ in range(2)]
    for round_number in range(5):
        key = f"race/{round_number}"
        bodies = [bytes([number]) * 200_000 for number in range(6)]

        async def put(number: int, key: str = key, bodies: list[bytes] = bodies) -> int | None:
            path = tmp_path / f"racer-{number}"
            path.write_bytes(bodies[number])
            try:
                await stores[number % 2].put(
                    key, path, if_absent=True, metadata={"racer": str(number)}
                )
            except ObjectExistsError:
                return None
            return number

        winners = [n for n in await asyncio.gather(*map(put, range(6))) if n is not None]
        assert len(winners) == 1
        head = await stores[0].head(key)
        assert head is not None
        assert head.metadata == {"racer": str(winners[0])}
        assert await stores[0].get(key) == bodies[winners[0]]


async def test_of_racing_puts_the_last_is_whole(backend: Backend, opened: Opener) -> None:
    # moto answers 500 to some of several simultaneous uploads of one key, hence the repetition.
    stores = [opened(backend.settings(retry=RetrySettings())) for _ in range(2)]
    bodies = {str(number): os.urandom(150_000 + number) for number in range(8)}
    await asyncio.gather(
        *(
            stores[int(name) % 2].put("image", body, metadata={"racer": name})
            for name, body in bodies.items()
        )
    )
    head = await stores[0].head("image")
    assert head is not None
    body = bodies[head.metadata["racer"]]
    assert (head.size_bytes, head.etag) == (len(body), md5(body))
    assert await stores[0].get("image") == body


async def test_a_large_file_is_whole(backend: Backend, opened: Opener, tmp_path: Path) -> None:
    store = opened(backend.settings(part_bytes=16 * MIB))
    content = os.urandom(70 * MIB)
    path = tmp_path / "guider.fits"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    info = await store.put("guider.fits", path, metadata={"sha256": sha256}, if_absent=True)
    assert info.size_bytes == len(content)
    await verify(store, "guider.fits", size_bytes=len(content), sha256=sha256, read_back=True)
    with pytest.raises(ObjectExistsError):
        await store.put("guider.fits", path, if_absent=True)


async def test_a_file_that_grows_while_it_is_stored_is_not_stored(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "growing.fits"
    path.write_bytes(bytes(24 * MIB))
    growing = asyncio.Event()

    async def grow() -> None:
        with path.open("ab") as out:
            while not growing.is_set():
                out.write(bytes(4096))
                out.flush()
                await asyncio.sleep(0.001)

    task = asyncio.create_task(grow())
    try:
        with pytest.raises(IntegrityError, match="still being written"):
            await store.put("growing.fits", path)
    finally:
        growing.set()
        await task
    assert await store.head("growing.fits") is None


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.01, 0.05, 0.2])
async def test_a_cancelled_put_leaves_the_old_object_or_the_new(
    backend: Backend, opened: Opener, tmp_path: Path, delay_s: float
) -> None:
    store = opened(backend.settings(single_put_limit_bytes=5 * MIB, part_bytes=5 * MIB))
    await store.put("image", b"old", metadata={"sha256": "0"})
    content = os.urandom(11 * MIB)
    path = tmp_path / "image.fits"
    path.write_bytes(content)
    put = asyncio.create_task(store.put("image", path, metadata={"sha256": "1"}))
    await asyncio.sleep(delay_s)
    put.cancel()
    await asyncio.wait({put})
    await store.close()
    again = opened(backend.settings())
    head = await again.head("image")
    assert head is not None
    assert await again.get("image") == {"0": b"old", "1": content}[head.metadata["sha256"]]
    assert await keys_of(again) == ["image"]


async def test_a_file_that_is_not_there_is_no_fault_of_the_store(
    store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put("image", tmp_path / "absent.fits")


async def test_verify_tells_what_is_wrong(store: ObjectStore) -> None:
    content = b"pixels"
    sha256 = hashlib.sha256(content).hexdigest()
    await store.put("good", content, metadata={"sha256": sha256})
    await store.put("liar", b"pixelz", metadata={"sha256": sha256})
    assert (await verify(store, "good", size_bytes=6, sha256=sha256)).key == "good"
    await verify(store, "liar", size_bytes=6, sha256=sha256)
    with pytest.raises(IntegrityError, match="read back"):
        await verify(store, "liar", size_bytes=6, sha256=sha256, read_back=True)
    with pytest.raises(IntegrityError, match="should have 7"):
        await verify(store, "good", size_bytes=7, sha256=sha256)
    with pytest.raises(IntegrityError, match="declared"):
        await verify(store, "good", size_bytes=6, sha256="0" * 64)
    with pytest.raises(ObjectNotFoundError):
        await verify(store, "absent", size_bytes=6, sha256=sha256)


async def test_uris_name_the_object(backend: Backend, opened: Opener) -> None:
    store = opened(backend.settings())
    resources = pytest.importorskip("lsst.resources", reason="needs the extra `facility`")
    key = "Observación 1/plus+sign#1 50%.fits"
    uri = resources.ResourcePath(store.uri(key))
    assert uri.basename() == "plus+sign#1 50%.fits"
    assert uri.relativeToPathRoot.endswith(key) or uri.ospath.endswith(key)


async def test_a_store_out_of_reach_is_unavailable_and_comes_back(
    private_backend: Backend, opened: Opener
) -> None:
    store = opened(private_backend.settings())
    await store.put("before", b"1")
    private_backend.away()
    for call in (
        store.check(),
        store.put("during", b"2"),
        store.put("during", b"2", if_absent=True),
        store.head("before"),
        store.get("before"),
        store.delete("before"),
        keys_of(store),
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            await call
        assert caught.value.retryable
    await asyncio.to_thread(private_backend.back)
    await store.check()
    await store.put("after", b"3", if_absent=True)
    assert await store.get("after") == b"3"


async def test_close_is_idempotent(backend: Backend, opened: Opener) -> None:
    store = opened(backend.settings())
    await store.put("image", b"x")
    await store.close()
    await store.close()
