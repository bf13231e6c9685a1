from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import FaultyProxy
from tests.support.waiting import until


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """Port of a server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", echo, record=True) as proxy:
        yield proxy


async def connect(proxy: FaultyProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_bytes_pass_in_both_directions_and_are_recorded(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    content = os.urandom(3_000_000)
    writer.write(content)
    writer.write_eof()
    assert await reader.read(-1) == content
    assert proxy.received == content
    assert proxy.connections[0].answered_bytes == len(content)
    writer.close()


async def test_latency_delays_each_direction(proxy: FaultyProxy) -> None:
    proxy.faults.latency_s = 0.1
    reader, writer = await connect(proxy)
    clock = asyncio.get_running_loop().time
    before = clock()
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    assert clock() - before >= 0.2
    writer.close()


async def test_a_rate_holds_back(proxy: FaultyProxy) -> None:
    proxy.faults.bytes_per_s = 1_000_000
    reader, writer = await connect(proxy)
    clock = asyncio.get_running_loop().time
    before = clock()
    writer.write(bytes(200_000))
    await reader.readexactly(200_000)
    assert clock() - before >= 0.2
    writer.close()


async def test_a_connection_is_reset_after_so_many_bytes(proxy: FaultyProxy) -> None:
    proxy.faults.reset_after_bytes = 100_000
    reader, writer = await connect(proxy)
    writer.write(bytes(50_000))
    await reader.readexactly(50_000)
    writer.write(bytes(50_000))
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)
    writer.close()


async def test_every_connection_can_be_reset_at_once(proxy: FaultyProxy) -> None:
    pairs = [await connect(proxy) for _ in range(3)]
    for reader, writer in pairs:
        writer.write(b"x")
        await reader.readexactly(1)
    proxy.reset()
    for reader, writer in pairs:
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def test_a_black_hole_holds_everything_until_it_ends(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    proxy.black_hole()
    writer.write(b"ping")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)
    proxy.flow()
    assert await reader.readexactly(4) == b"ping"
    writer.close()


async def test_a_refusing_proxy_has_no_listener_and_comes_back(proxy: FaultyProxy) -> None:
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await proxy.accept()
    _, writer = await connect(proxy)
    writer.close()


async def test_a_half_closed_connection_still_takes_what_is_sent(proxy: FaultyProxy) -> None:
    proxy.faults.half_close_after_bytes = 0
    reader, writer = await connect(proxy)
    writer.write(b"one")
    assert await reader.read(-1) == b""
    writer.write(b"two")
    await writer.drain()
    await until(lambda: proxy.received == b"onetwo")
    writer.close()


async def test_a_server_that_is_away_resets_the_client(proxy: FaultyProxy) -> None:
    async with FaultyProxy("127.0.0.1", 1) as nowhere:
        reader, writer = await connect(nowhere)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
    assert proxy.connections == []
