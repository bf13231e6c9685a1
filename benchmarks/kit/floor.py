"""Raw sockets: how fast the path itself is, without any object store's client."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_HEAD = "PUT /floor/{name} HTTP/1.1\r\nHost: floor\r\nContent-Length: {size}\r\n\r\n"


@dataclass(frozen=True)
class Options:
    """Of each connection."""

    congestion_control: str | None = None
    send_buffer_bytes: int | None = None


class Floor:
    """Connections that send files with `sendfile` and wait for the answers.

    Parameters
    ----------
    address
        Of the sink.
    connections
        How many.
    options
        Of each connection.
    """

    def __init__(self, address: tuple[str, int], connections: int, options: Options) -> None:
        self._sockets = [_open(address, options) for _ in range(connections)]

    def close(self) -> None:
        """Close the connections."""
        for each in self._sockets:
            each.close()

    def warm(self, size: int = 19_500_000, times: int = 2) -> None:
        """Send something over every connection, so that its window opens."""
        junk = bytes(size)

        def send(connection: socket.socket) -> None:
            for number in range(times):
                _put(connection, f"warm-{number}", junk)

        self._at_once(send)

    def send(self, paths: Sequence[Path]) -> float:
        """Send files, each over the next free connection; return the time, seconds."""
        waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for path in paths:
            waiting.put(path)

        def send(connection: socket.socket) -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    _put_file(connection, waiting.get_nowait())

        begun = time.monotonic()
        self._at_once(send)
        return time.monotonic() - begun

    def _at_once(self, job: Callable[[socket.socket], None]) -> None:
        with ThreadPoolExecutor(len(self._sockets)) as pool:
            list(pool.map(job, self._sockets))


def _open(address: tuple[str, int], options: Options) -> socket.socket:
    made = socket.socket()
    if options.congestion_control:
        made.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_CONGESTION, options.congestion_control.encode()
        )
    if options.send_buffer_bytes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer_bytes)
    made.connect(address)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _put(connection: socket.socket, name: str, body: bytes) -> None:
    connection.sendall(_HEAD.format(name=name, size=len(body)).encode())
    connection.sendall(body)
    _answer(connection)


def _put_file(connection: socket.socket, path: Path) -> None:
    with path.open("rb") as body:
        size = os.fstat(body.fileno()).st_size
        connection.sendall(_HEAD.format(name=path.name, size=size).encode())
        connection.sendfile(body)
    _answer(connection)


def _answer(connection: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("the sink closed the connection")
        got += piece
