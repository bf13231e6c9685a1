"""A TCP proxy with faults, in the test's own event loop.

::

    async with FaultyProxy("127.0.0.1", server.port) as proxy:
        proxy.faults.latency_s = 0.2
        client = connect(proxy.port)

Faults may change at any time; they hold for open connections too. What clients sent
is kept in `received`, per connection, so that a test can look at the wire.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.support.servers.ports import LOOPBACK, free_port, release

_CHUNK_BYTES = 64 * 1024
_IN_FLIGHT_CHUNKS = 256
_RECEIVE_BUFFER_BYTES = 256 * 1024
"""Small, so that what a client has sent is nearly what has arrived."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""


@dataclass
class Faults:
    """What goes wrong; by default nothing does."""

    latency_s: float = 0.0
    """One-way delay, each direction."""
    bytes_per_s: float | None = None
    """Rate of each direction of each connection."""
    reset_after_bytes: int | None = None
    """Both ends are reset once a client has sent so much on a connection."""
    half_close_after_bytes: int | None = None
    """The client sees the end of the answers after so much; what it sends is still taken."""


@dataclass
class Connection:
    """One connection through the proxy."""

    received: bytearray = field(default_factory=bytearray)
    """What the client sent."""
    received_bytes: int = 0
    """How much the client sent."""
    answered_bytes: int = 0
    """How much the server answered."""


class FaultyProxy:
    """Passes bytes between clients and one server.

    Parameters
    ----------
    host, port
        The server.
    record
        Whether to keep what clients send; without it only the last 64 kB stay.
    tls
        Speak TLS with clients (and not with the server).
    """

    def __init__(
        self, host: str, port: int, *, record: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.faults = Faults()
        self.connections: list[Connection] = []
        self.port = free_port()
        self._target = (host, port)
        self._record = record
        self._tls = tls
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """`http://host:port`, or `https://`, for clients."""
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def received(self) -> bytes:
        """What clients sent on all connections, in the order of the connections."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    def black_hole(self) -> None:
        """Pass nothing on and close nothing, until `flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        """End a black hole: what was held back is passed on."""
        self._flowing.set()

    async def refuse(self) -> None:
        """Refuse new connections (nobody listens), until `accept`; open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Listen, on the same port as ever."""
        if self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            listener.bind((LOOPBACK, self.port))
            self._server = await asyncio.start_server(
                self._connected, sock=listener, limit=_CHUNK_BYTES, ssl=self._tls
            )

    def reset(self) -> None:
        """Reset every open connection now."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.reset()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        release(self.port)

    async def _connected(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._writers.add(client_out)
        connection = Connection()
        self.connections.append(connection)
        try:
            await self._serve(client_in, client_out, connection)
        except asyncio.CancelledError:  # the proxy is closed; asyncio would report it as an error
            _reset(client_out)
        finally:
            self._writers.discard(client_out)
            self._pumps.discard(task)

    async def _serve(
        self,
        client_in: asyncio.StreamReader,
        client_out: asyncio.StreamWriter,
        connection: Connection,
    ) -> None:
        try:
            server_in, server_out = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(client_out)
            return
        self._writers.add(server_out)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._upstream(client_in, server_out, client_out, connection))
                group.create_task(self._downstream(server_in, client_out, connection))
        except* OSError:
            _reset(client_out)
        finally:
            self._writers.discard(server_out)
            both = (client_out, server_out)
            for writer in both:
                writer.close()
            for writer in both:
                with suppress(OSError):
                    await writer.wait_closed()

    async def _upstream(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        connection: Connection,
    ) -> None:
        def seen(chunk: bytes) -> bool:
            connection.received_bytes += len(chunk)
            connection.received += chunk
            if not self._record:
                del connection.received[:-_CHUNK_BYTES]
            limit = self.faults.reset_after_bytes
            if limit is not None and connection.received_bytes >= limit:
                _reset(server)
                _reset(back)
                raise ConnectionResetError("told to reset")
            return True

        await self._pump(client, server, seen)
        _end(server)

    async def _downstream(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, connection: Connection
    ) -> None:
        ended = False

        def seen(chunk: bytes) -> bool:
            nonlocal ended
            connection.answered_bytes += len(chunk)
            limit = self.faults.half_close_after_bytes
            if limit is not None and connection.answered_bytes > limit and not ended:
                ended = True
                _end(client)
            return not ended

        await self._pump(server, client, seen)
        if not ended:
            _end(client)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        seen: Callable[[bytes], bool],
    ) -> None:
        """Pass bytes on through a delay line, in order, as far as `seen` lets them."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_CHUNKS)
        clock = asyncio.get_running_loop().time

        async def take() -> None:
            while chunk := await source.read(_CHUNK_BYTES):
                if self.faults.bytes_per_s is not None:
                    await asyncio.sleep(len(chunk) / self.faults.bytes_per_s)
                if seen(chunk):
                    await line.put((clock() + self.faults.latency_s, chunk))
            await line.put((clock() + self.faults.latency_s, b""))

        async def give() -> None:
            while True:
                due, chunk = await line.get()
                await asyncio.sleep(max(due - clock(), 0.0))
                await self._flowing.wait()
                if not chunk:
                    return
                target.write(chunk)
                await target.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            group.create_task(give())


def _end(writer: asyncio.StreamWriter) -> None:
    """Say that no more will come; TLS knows no half-closed connections and is closed."""
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
