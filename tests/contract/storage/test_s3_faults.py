"""S3Store when the network, the store or the credentials fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from daemons.storage.interface import (
    AccessRefusedError,
    ObjectExistsError,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.s3 import S3Store
from daemons.storage.settings import MIB, RetrySettings
from tests.contract.storage.conftest import Image, Opener, S3Backend, secret
from tests.support.fixtures import Starter
from tests.support.proxy import FaultyProxy
from tests.support.servers import Moto, SeaweedFS
from tests.support.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture
async def proxy(seaweed: S3Backend) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", seaweed.server.port) as proxy:
        yield proxy


def uploads_of(seaweed: S3Backend) -> list[str]:
    """Return the keys of unfinished uploads in parts."""
    found = seaweed.server.client.list_multipart_uploads(Bucket=seaweed.bucket)
    return [upload["Key"] for upload in found.get("Uploads", [])]


async def under_way(proxy: FaultyProxy) -> None:
    """Return when a client has sent something."""
    await until(lambda: any(connection.received for connection in proxy.connections))


async def test_a_connection_reset_in_the_middle_leaves_nothing(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url))
    proxy.faults.reset_after_bytes = MIB
    with pytest.raises(StoreUnavailableError):
        await store.put("image", image.path)
    proxy.faults.reset_after_bytes = None
    assert await store.head("image") is None
    await store.put("image", image.path)
    assert await store.get("image") == image.content


async def test_a_silent_network_is_unavailable_within_the_read_timeout(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, read_timeout_s=0.5))
    await store.check()
    proxy.black_hole()
    for call in (store.check(), store.put("image", image.path)):
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailableError):
                await call
    proxy.flow()
    proxy.reset()
    await store.put("image", image.path)


async def test_a_refused_connection_is_unavailable(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url))
    await proxy.refuse()
    with pytest.raises(StoreUnavailableError):
        await store.put("image", b"x")
    await proxy.accept()
    await store.put("image", b"x")


async def test_a_store_killed_in_the_middle_of_a_put_has_the_old_object_or_the_new(
    start_seaweedfs: Starter[SeaweedFS], opened: Opener, image: Image, tmp_path: Path
) -> None:
    server = start_seaweedfs()
    backend = S3Backend(server, tmp_path)
    async with FaultyProxy("127.0.0.1", server.port) as proxy:
        store = opened(backend.settings(endpoint_url=proxy.url))
        await store.put("image", b"old")
        proxy.faults.bytes_per_s = 2 * MIB
        put = asyncio.create_task(store.put("image", image.path))
        await under_way(proxy)
        await asyncio.sleep(0.5)
        server.kill()
        with pytest.raises(StoreUnavailableError):
            await put
        await asyncio.to_thread(server.start)
        proxy.faults.bytes_per_s = None
        assert await store.get("image") == b"old"
        await store.put("image", image.path)
        assert await store.get("image") == image.content


async def test_a_cancelled_put_leaves_nothing_and_ends_its_thread(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url))
    proxy.faults.bytes_per_s = 2 * MIB
    image.path.write_bytes(bytes(24 * MIB))
    put = asyncio.create_task(store.put("image", image.path))
    await under_way(proxy)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    async with asyncio.timeout(15):
        await store.close()
    assert await opened(seaweed.settings()).head("image") is None


@pytest.mark.parametrize("how", ["cancelled", "reset"])
async def test_an_upload_in_parts_that_fails_is_aborted(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, tmp_path: Path, how: str
) -> None:
    large = tmp_path / "large.fits"
    large.write_bytes(bytes(12 * MIB))
    settings = seaweed.settings(
        endpoint_url=proxy.url, single_put_limit_bytes=5 * MIB, part_bytes=5 * MIB
    )
    store = opened(settings)
    proxy.faults.bytes_per_s = 8 * MIB
    put = asyncio.create_task(store.put("large", large))
    await until(lambda: sum(one.received_bytes for one in proxy.connections) > MIB)
    assert uploads_of(seaweed) == ["a prefix/large"]
    if how == "cancelled":
        put.cancel()
    else:
        proxy.reset()
    with pytest.raises((asyncio.CancelledError, StoreUnavailableError)):
        await put
    await store.close()
    assert uploads_of(seaweed) == []
    assert await opened(seaweed.settings()).head("large") is None


async def test_uploads_that_a_killed_process_left_can_be_aborted(
    seaweed: S3Backend, opened: Opener
) -> None:
    client = seaweed.server.client
    client.create_multipart_upload(Bucket=seaweed.bucket, Key="a prefix/left")
    client.create_multipart_upload(Bucket=seaweed.bucket, Key="somebody else's")
    store = opened(seaweed.settings())
    assert isinstance(store, S3Store)
    assert await store.abort_stale_uploads(timedelta(days=1)) == 0
    assert await store.abort_stale_uploads(timedelta(0)) == 1
    assert uploads_of(seaweed) == ["somebody else's"]


async def test_an_answer_that_was_lost_does_not_make_ones_own_object_a_conflict(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    retry = RetrySettings(attempts=4, first_wait_s=0.3)
    store = opened(seaweed.settings(endpoint_url=proxy.url, retry=retry, conditional="native"))
    proxy.faults.half_close_after_bytes = 0

    async def mend() -> None:
        await until(lambda: any(one.answered_bytes for one in proxy.connections))
        proxy.faults.half_close_after_bytes = None

    mending = asyncio.create_task(mend())
    info = await store.put("image", image.path, metadata={"sha256": image.sha256}, if_absent=True)
    await mending
    assert info.size_bytes == len(image.content)
    assert len(proxy.connections) > 1
    with pytest.raises(ObjectExistsError):
        await store.put("image", image.path, metadata={"sha256": "0" * 64}, if_absent=True)


async def test_calls_are_repeated_while_the_store_is_away_and_counted(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    registry = CollectorRegistry()
    retry = RetrySettings(attempts=50, first_wait_s=0.05, longest_wait_s=0.1)
    store = opened(seaweed.settings(endpoint_url=proxy.url, retry=retry), registry=registry)
    await proxy.refuse()
    put = asyncio.create_task(store.put("image", image.path))
    labels = {"store": "facility", "operation": "put"}
    errors = {**labels, "code": "store.unavailable"}
    await until(lambda: registry.get_sample_value("arriero_store_errors_total", errors))
    await proxy.accept()
    await put
    size = {"store": "facility", "direction": "sent"}
    assert registry.get_sample_value("arriero_store_bytes_total", size) == len(image.content)
    failed = registry.get_sample_value("arriero_store_errors_total", errors)
    attempts = registry.get_sample_value("arriero_store_operation_seconds_count", labels)
    assert failed
    assert attempts == failed + 1


async def test_wrong_keys_are_refused_and_right_ones_are_picked_up(
    seaweed: S3Backend, opened: Opener, tmp_path: Path
) -> None:
    wrong = secret(tmp_path, "not-the-secret")
    store = opened(seaweed.settings(secret_key=wrong))
    for call in (
        store.check(),
        store.put("image", b"x"),
        store.put("image", b"x", if_absent=True),
        store.head("image"),
        store.get("image"),
        store.delete("image"),
        anext(aiter(store.list()), None),
    ):
        with pytest.raises(AccessRefusedError) as caught:
            await call
        assert not caught.value.retryable
    wrong["file"].write_text(seaweed.server.secret_key)
    await store.put("image", b"x")
    wrong["file"].write_text("rotated-once-more")
    assert await store.get("image") == b"x"


async def test_keys_that_are_rotated_in_the_middle_of_a_listing_do_not_cut_it_short(
    seaweed: S3Backend, opened: Opener, tmp_path: Path
) -> None:
    assert isinstance(seaweed.server, SeaweedFS)
    key, token = secret(tmp_path, "arriero"), secret(tmp_path, "wrong")
    store = opened(seaweed.settings(access_key=key, secret_key=token))
    right = opened(seaweed.settings())
    for folder in "abc":
        await right.put(f"{folder}/image", b"x")
    token["file"].write_text(seaweed.server.secret_key)
    assert [info.key async for info in store.list()] == ["a/image", "b/image", "c/image"]


async def test_what_the_keys_do_not_allow_is_refused(
    seaweed: S3Backend, opened: Opener, tmp_path: Path
) -> None:
    server = seaweed.server
    assert isinstance(server, SeaweedFS)
    reader = {
        "access_key": secret(tmp_path, server.read_only_access_key),
        "secret_key": secret(tmp_path, server.read_only_secret_key),
    }
    store = opened(seaweed.settings(**reader))
    await store.check()
    with pytest.raises(AccessRefusedError, match="policy"):
        await store.put("image", b"x")
    assert await store.head("image") is None


async def test_a_bucket_that_is_not_there_is_named(
    moto: Moto, opened: Opener, tmp_path: Path
) -> None:
    store = opened(S3Backend(moto, tmp_path).settings(url="s3://no-such-bucket"))
    with pytest.raises(StoreError, match=r"no bucket no-such-bucket at http.*create it"):
        await store.check()
    with pytest.raises(StoreError, match=r"create the bucket"):
        await store.put("image", b"x")


async def test_a_store_that_does_not_list_in_key_order_is_found_out(
    seaweed: S3Backend, opened: Opener
) -> None:
    store = opened(seaweed.settings(listing="flat"))
    await store.put("b/1", b"x")
    await store.put("b-1", b"x")
    with pytest.raises(StoreError, match="listing: folders"):
        _ = [info async for info in store.list()]
