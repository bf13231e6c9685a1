"""The TCP side of an S3 client: options of each connection, and what came of them.

Over a long fat pipe congestion control and send buffer decide how long an
exposure takes. An ordinary user may choose a congestion control that stands in
`net.ipv4.tcp_allowed_congestion_control`. A send buffer switches the kernel's own
sizing off, so it is set only where the kernel grants all of it.
"""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

import structlog
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

_CONGESTION_NAME_BYTES = 16
"""TCP_CA_NAME_MAX of the kernel."""
_DOUBLED = 2
"""Linux doubles a requested buffer for its own bookkeeping and tells the doubled size."""
_TCP_INFO_BYTES = 192
"""As much of `struct tcp_info` as holds the fields below (Linux 4.10)."""
_KEPT = 512
"""How many connections are remembered."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Transport:
    """What the kernel tells of one connection after an answer (`TCP_INFO`)."""

    congestion_control: str
    send_buffer_bytes: int
    rtt_ms: float
    congestion_window_segments: int
    retransmitted_segments: int
    busy_ms: float
    """Time with data under way."""
    receiver_limited_ms: float
    """Part of it in which the far side's receive window was the limit."""
    buffer_limited_ms: float
    """Part of it in which our send buffer was the limit."""


class SocketTuner:
    """Sets options on each new connection and remembers what came of it.

    Parameters
    ----------
    congestion_control
        Name of the congestion control, or None for the machine's default.
    send_buffer_bytes
        Send buffer, or None for the kernel's own sizing.
    stall_timeout_s
        How long a connection may take no more bytes, or be silent.
    """

    def __init__(
        self,
        congestion_control: str | None,
        send_buffer_bytes: int | None,
        *,
        stall_timeout_s: float,
    ) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._congestion_control = congestion_control
        self._send_buffer = send_buffer_bytes
        self._lock = threading.Lock()
        self._refusals: dict[str, str] = {}
        self._seen: dict[int, Transport] = {}

    @property
    def refusals(self) -> tuple[str, ...]:
        """What the kernel did not grant, with advice."""
        with self._lock:
            return tuple(self._refusals.values())

    @property
    def transports(self) -> tuple[Transport, ...]:
        """The connections that answered last, as they were then."""
        with self._lock:
            return tuple(self._seen.values())

    def tune(self, connection: socket.socket) -> None:
        """Set the options on a connection that was just made."""
        connection.settimeout(self.stall_timeout_s)
        if self._congestion_control is not None:
            self._set_congestion_control(connection, self._congestion_control)
        if self._send_buffer is not None:
            self._set_send_buffer(connection, self._send_buffer)

    def observe(self, connection: socket.socket) -> None:
        """Remember how a connection is after an answer."""
        transport = transport_of(connection)
        with self._lock:
            self._seen[connection.fileno()] = transport
            while len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]

    def _set_congestion_control(self, connection: socket.socket, name: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except OSError as error:
            self._refused(
                "congestion_control",
                f"the kernel refuses congestion control {name} ({error.strerror}): load the module "
                f"(`modprobe tcp_{name}`) and add {name} to "
                "net.ipv4.tcp_allowed_congestion_control",
            )

    def _set_send_buffer(self, connection: socket.socket, size: int) -> None:
        with socket.socket(connection.family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            granted = trial.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if granted < size * _DOUBLED:
            self._refused(
                "send_buffer_bytes",
                f"the kernel grants a send buffer of {granted // _DOUBLED} bytes, not {size}: its "
                f"own sizing stays; set net.core.wmem_max to {size} or more",
            )
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _refused(self, option: str, advice: str) -> None:
        with self._lock:
            first = option not in self._refusals
            self._refusals[option] = advice
        if first:
            _log.warning("store_socket_option_refused", option=option, advice=advice)


def transport_of(connection: socket.socket) -> Transport:
    """Read back what the kernel does with a connection."""
    name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION_NAME_BYTES)
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    info = info.ljust(_TCP_INFO_BYTES, b"\0")
    # struct tcp_info of linux/tcp.h: 8 bytes, 24 words of 32 bits, then words of 64 bits.
    words = struct.unpack_from("=24I", info, 8)
    busy, receiver_limited, buffer_limited = struct.unpack_from("=3Q", info, 168)
    return Transport(
        congestion_control=name.split(b"\0")[0].decode(),
        send_buffer_bytes=connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        rtt_ms=words[15] / 1000,
        congestion_window_segments=words[18],
        retransmitted_segments=words[23],
        busy_ms=busy / 1000,
        receiver_limited_ms=receiver_limited / 1000,
        buffer_limited_ms=buffer_limited / 1000,
    )


def pool_classes(tuner: SocketTuner) -> dict[str, type[Any]]:
    """Return urllib3 connection pools, by scheme, whose connections are tuned."""

    class PlainConnection(AWSHTTPConnection):
        def connect(self) -> None:
            super().connect()
            tuner.tune(self.sock)

        def getresponse(self) -> Any:
            connection = self.sock
            response = super().getresponse()
            if connection.fileno() >= 0:
                tuner.observe(connection)
            return response

    class TlsConnection(AWSHTTPSConnection):
        def connect(self) -> None:
            super().connect()
            tuner.tune(self.sock)

        def getresponse(self) -> Any:
            connection = self.sock
            response = super().getresponse()
            if connection.fileno() >= 0:
                tuner.observe(connection)
            return response

    class PlainPool(AWSHTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(AWSHTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}
