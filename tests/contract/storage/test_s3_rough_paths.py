"""S3Store on paths and against stores that go wrong in the middle of something."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemons.storage.factory import keep_swept, limit, network, probe
from daemons.storage.interface import IntegrityError, OpenFile, StoreUnavailableError
from daemons.storage.multipart import MemoryUploadRecord
from daemons.storage.s3 import S3Store
from daemons.storage.settings import MIB, RetrySettings
from daemons.storage.signing import SigningClock
from tests.contract.storage.conftest import Image, Opener, S3Backend
from tests.support.proxy import FaultyProxy
from tests.support.servers import SeaweedFS
from tests.support.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture
def seaweed(seaweedfs: SeaweedFS, tmp_path: Path) -> Iterator[S3Backend]:
    """Our own sender only: boto3 can do less of this."""
    made = S3Backend(seaweedfs, tmp_path, "direct")
    yield made
    made.remove()


@pytest.fixture
async def proxy(seaweed: S3Backend) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", seaweed.server.port, record=True) as proxy:
        yield proxy


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answering) -> AsyncIterator[str]:
    """Give the URL of a server of the test's own."""
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        await end(writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


# Connections


async def test_a_connection_that_died_while_idle_is_replaced_at_once(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, sender="direct"))
    await store.put("first", image.path)
    proxy.reset()
    await store.put("second", image.path)
    assert await store.head("second") is not None
    # One was made anew; questions have a connection of their own.
    assert len(proxy.connections) == 3


async def test_a_connection_that_dies_as_it_is_used_again_is_replaced_at_once(
    seaweed: S3Backend, opened: Opener
) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if turn == 1:  # the request has come, the answer never does
                return
            await reader.readexactly(1)
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "x-1"\r\nContent-Length: 0\r\n\r\n')

    async with server(answer) as url:
        store = opened(seaweed.settings(endpoint_url=url, sender="direct"))
        for key in ("one", "two"):
            await store.put(key, b"x")
        assert len(heads) == 3


async def test_a_far_end_that_takes_bytes_slowly_is_waited_for(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    proxy.faults.bytes_per_s = 2 * MIB
    store = opened(seaweed.settings(endpoint_url=proxy.url, read_timeout_s=1))
    await store.put("image", image.path)
    proxy.faults.bytes_per_s = None
    assert await store.get("image") == image.content


async def test_a_refusal_that_comes_before_the_body_was_sent_ends_the_sending(
    seaweed: S3Backend, opened: Opener, tmp_path: Path
) -> None:
    large = tmp_path / "large.fits"
    large.write_bytes(bytes(40 * MIB))
    body = b"<Error><Code>SlowDown</Code><Message>fewer, please</Message></Error>"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await asyncio.sleep(3600)  # and takes nothing more

    async with server(refuse) as url:
        store = opened(seaweed.settings(endpoint_url=url, sender="direct", connections=8))
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailableError, match="SlowDown fewer, please"):
                await store.put("large", large)
        report = network(store)
        assert report is not None
        assert report.uploads_at_once == 4


async def test_a_store_that_stores_less_than_it_says_is_found_out_by_verifying(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    from daemons.storage.verify import verify  # noqa: PLC0415 - only here

    async def shorten(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = len(image.content)
            if head.startswith("put"):
                await reader.readexactly(size)
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "x-1"\r\nContent-Length: 0\r\n\r\n')
            else:
                writer.write(
                    b'HTTP/1.1 200 OK\r\nETag: "x-1"\r\nContent-Length: %d\r\n'
                    b"Last-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n"
                    b"x-amz-meta-sha256: %s\r\n\r\n" % (size - 1, image.sha256.encode())
                )

    async with server(shorten) as url:
        store = opened(seaweed.settings(endpoint_url=url))
        await store.put("image", image.path, metadata={"sha256": image.sha256})
        with pytest.raises(IntegrityError, match="should have"):
            await verify(store, "image", size_bytes=len(image.content), sha256=image.sha256)


async def test_a_clock_that_is_wrong_is_allowed_for_and_told(
    seaweed: S3Backend, image: Image
) -> None:
    clock = SigningClock(lambda: datetime.now(tz=UTC) - timedelta(hours=3))
    store = S3Store("facility", seaweed.settings(), clock=clock)
    try:
        await store.put("image", image.path, metadata={"sha256": image.sha256})
        assert await store.head("image") is not None
        skew_s = store.network().clock_skew_s
        assert skew_s is not None
        assert abs(skew_s - 3 * 3600) < 60
    finally:
        await store.close()


# Second attempts


class Relay:
    """Passes bytes on, but of the n-th connection nothing beyond the first bytes."""

    def __init__(self, port: int, *, swallow: int) -> None:
        self._port = port
        self._swallow = swallow
        self.connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.connections == self._swallow:
            await asyncio.sleep(3600)
        far_in, far_out = await asyncio.open_connection("127.0.0.1", self._port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65536):
                target.write(chunk)
                await target.drain()

        try:
            await asyncio.gather(pump(reader, far_out), pump(far_in, writer))
        finally:
            await end(far_out)


async def test_an_upload_into_a_black_hole_is_overtaken_by_a_second_attempt(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    registry = CollectorRegistry()
    relay = Relay(seaweed.server.port, swallow=1)
    async with server(relay.answer) as url:
        store = opened(
            seaweed.settings(
                endpoint_url=url,
                hedge_percent=5,
                hedge_after_s=0.05,
                read_timeout_s=60,
                conditional="native",
            ),
            registry=registry,
        )
        async with asyncio.timeout(30):
            info = await store.put(
                "image", image.path, metadata={"sha256": image.sha256}, if_absent=True
            )
        assert info.size_bytes == len(image.content)
        assert relay.connections == 2
        labels = {"store": "facility", "first_to_arrive": "second"}
        assert registry.get_sample_value("arriero_store_second_attempts_total", labels) == 1
        assert await store.get("image") == image.content


# Bandwidth


async def test_the_ceiling_holds_and_can_be_lifted_in_the_middle_of_an_upload(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, bandwidth_bytes_per_s=20_000))
    put = asyncio.create_task(store.put("image", image.path))
    await until(lambda: sum(one.received_bytes for one in proxy.connections) > 1000)
    assert sum(one.received_bytes for one in proxy.connections) < len(image.content)
    assert not put.done()
    assert limit(store, None)
    async with asyncio.timeout(30):  # at 20 kB/s it would be minutes
        await put
    report = network(store)
    assert report is not None
    assert report.bandwidth_bytes_per_s is None
    assert await store.get("image") == image.content


# One read for several destinations


async def test_one_open_file_goes_to_several_stores_and_may_be_closed_by_its_owner(
    seaweed: S3Backend, opened: Opener, image: Image, tmp_path: Path
) -> None:
    from daemons.storage.directory import DirectoryStore  # noqa: PLC0415 - only here

    directory = DirectoryStore("copy", tmp_path / "copy")
    offset, size = 4096, MIB
    handle = os.open(image.path, os.O_RDONLY)
    body = OpenFile(handle, size, "image.fits", offset)
    stores = [opened(seaweed.settings()), directory]
    try:
        await asyncio.gather(*(store.put("image", body) for store in stores))
        await stores[0].put("memory", memoryview(image.content)[offset : offset + size])
    finally:
        os.close(handle)
    expected = image.content[offset : offset + size]
    for store in stores:
        assert await store.get("image") == expected
    assert await stores[0].get("memory") == expected
    await directory.close()


# Proof


@pytest.mark.parametrize("proof", ["sha256", "crc64nvme", "md5", "none"])
async def test_every_kind_of_proof_lets_good_files_pass(
    seaweed: S3Backend, opened: Opener, image: Image, proof: str
) -> None:
    store = opened(seaweed.settings(proof=proof))
    await store.put("image", image.path, metadata={"sha256": image.sha256})
    await store.put("bytes", b"some")
    assert await store.get("image") == image.content


async def test_other_bytes_than_were_inspected_are_refused_by_a_store_that_checks(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(sender="direct"))
    traits = await probe(store)
    report = network(store)
    assert traits is not None
    assert traits.conditional_put
    assert report is not None
    assert report.proof == "crc64nvme"
    with pytest.raises(IntegrityError):
        await store.put("image", image.path, metadata={"crc64nvme": "0123456789abcdef"})
    assert await store.head("image") is None


# Parts


async def test_an_upload_in_parts_goes_on_after_a_restart_where_it_was_cut_off(
    seaweed: S3Backend, proxy: FaultyProxy, tmp_path: Path
) -> None:
    content = os.urandom(21 * MIB)
    large = tmp_path / "guider.fits"
    large.write_bytes(content)
    metadata = {"sha256": hashlib.sha256(content).hexdigest()}
    record = MemoryUploadRecord()
    fields: dict[str, Any] = {"single_put_limit_bytes": 5 * MIB, "part_bytes": 5 * MIB}

    def settings() -> Any:
        return seaweed.settings(endpoint_url=proxy.url, **fields)

    before = S3Store("facility", settings(), uploads=record)
    proxy.faults.bytes_per_s = 6 * MIB
    put = asyncio.create_task(before.put("guider", large, metadata=metadata))
    client = seaweed.server.client

    def parts_there() -> int:
        uploads = client.list_multipart_uploads(Bucket=seaweed.bucket).get("Uploads", [])
        if not uploads:
            return 0
        told = client.list_parts(
            Bucket=seaweed.bucket, Key=uploads[0]["Key"], UploadId=uploads[0]["UploadId"]
        )
        return len(told.get("Parts", []))

    async def some_parts() -> bool:
        return await asyncio.to_thread(parts_there) >= 1

    await until(some_parts)
    put.cancel()
    await asyncio.wait({put})
    await before.close()
    proxy.faults.bytes_per_s = None
    found = await record.find("facility", "a prefix/guider")
    assert found is not None
    proxy.connections.clear()

    after = S3Store("facility", settings(), uploads=record)
    await after.put("guider", large, metadata=metadata)
    assert await after.get("guider") == content
    await after.close()
    assert proxy.received.count(b"partNumber=") < 5
    assert await record.find("facility", "a prefix/guider") is None


async def test_another_file_under_the_same_key_does_not_go_on_with_the_old_upload(
    seaweed: S3Backend, tmp_path: Path
) -> None:
    record = MemoryUploadRecord()
    old = seaweed.server.client.create_multipart_upload(
        Bucket=seaweed.bucket, Key="a prefix/guider"
    )
    from daemons.storage.multipart import UnfinishedUpload  # noqa: PLC0415 - only here

    left = UnfinishedUpload(old["UploadId"], 5 * MIB, 6 * MIB, "0" * 64)
    await record.begun("facility", "a prefix/guider", left)
    content = os.urandom(6 * MIB)
    large = tmp_path / "guider.fits"
    large.write_bytes(content)
    settings = seaweed.settings(single_put_limit_bytes=5 * MIB, part_bytes=5 * MIB)
    store = S3Store("facility", settings, uploads=record)
    await store.put("guider", large, metadata={"sha256": hashlib.sha256(content).hexdigest()})
    assert await store.get("guider") == content
    await store.close()
    assert not seaweed.server.client.list_multipart_uploads(Bucket=seaweed.bucket).get("Uploads")


async def test_unfinished_uploads_are_swept_below_our_prefix_only(
    seaweed: S3Backend, opened: Opener
) -> None:
    client = seaweed.server.client
    for key in ("a prefix/left", "somebody else's"):
        client.create_multipart_upload(Bucket=seaweed.bucket, Key=key)
    settings = seaweed.settings(retry=RetrySettings(attempts=3), hedge_percent=5)
    store = opened(settings.model_copy(update={"sweep_older_than_s": 0.0}))

    def left() -> list[str]:
        found = client.list_multipart_uploads(Bucket=seaweed.bucket).get("Uploads", [])
        return [upload["Key"] for upload in found]

    async def swept() -> bool:
        return await asyncio.to_thread(left) == ["somebody else's"]

    sweeping = asyncio.create_task(keep_swept(store))
    await until(swept)
    sweeping.cancel()
    await asyncio.wait({sweeping})
    assert sweeping.cancelled()
