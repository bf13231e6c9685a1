"""The TCP side of a store: options of each connection, and what came of them.

Over a long fat pipe congestion control and send buffer decide how long an
exposure takes. An ordinary user may choose a congestion control that stands in
`net.ipv4.tcp_allowed_congestion_control`. A send buffer switches the kernel's own
sizing off, so it is set only where the kernel grants all of it.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from daemons.storage.settings import MIB, StoreSettings

SO_MAX_PACING_RATE: Final = 47
"""Linux asm-generic/socket.h; Python does not name it."""
_CONGESTION_NAME_BYTES = 16
"""TCP_CA_NAME_MAX of the kernel."""
_SO_SNDBUFFORCE = 32
"""Of asm-generic/socket.h; not in the standard library."""
_DOUBLED = 2
"""Linux doubles a requested buffer for its own bookkeeping and tells the doubled size."""
_TCP_INFO_BYTES = 192
"""As much of `struct tcp_info` as holds the fields below (Linux 4.10)."""
_KEPT = 512
"""How many connections are remembered."""
_LONG_PATH_CONTROL = "bbr"
"""Does not collapse at random loss and keeps its model of the path over idle time."""
_LONG_PATH_BUFFER = 4 * MIB
"""A 24th of 4 Gb/s times 200 ms."""
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3
_NO_PACING = {0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}
"""How the kernel says that nothing is paced."""
_SLOW_START_AFTER_IDLE = Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle")

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
    segment_bytes: int = 0
    delivery_bytes_per_s: int = 0
    """Rate at which the far end took data most recently."""
    pacing_bytes_per_s: int | None = None
    """Granted ceiling of this connection, None where there is none."""
    keepalive_s: int | None = None

    @property
    def window_bytes(self) -> int:
        """How much may be under way at once."""
        return self.congestion_window_segments * self.segment_bytes

    @property
    def keeps_window(self) -> bool:
        """Whether the window outlives idle time: with BBR, or where the machine says so."""
        return self.congestion_control.startswith("bbr") or not _shrinks_when_idle()


class SocketTuner:
    """Sets options on each new connection and remembers what came of it.

    Parameters
    ----------
    settings
        Whose socket options to set.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.stall_timeout_s = settings.read_timeout_s
        self._settings = settings
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
        settings = self._settings
        connection.settimeout(self.stall_timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.stall_timeout_s * 1000)
        )
        self._set_keepalive(connection, settings.keepalive_s)
        is_long = self.is_long(transport_of(connection))
        control, buffer = settings.congestion_control, settings.send_buffer_bytes
        if control == "auto":
            control = _LONG_PATH_CONTROL if is_long else None
        if buffer == "auto":
            buffer = _LONG_PATH_BUFFER if is_long else None
        if control is not None:
            self._set_congestion_control(connection, control)
        if buffer is not None:
            self._set_send_buffer(connection, buffer)
        if settings.pacing_bytes_per_s is not None:
            self._set_pacing(connection, settings.pacing_bytes_per_s)

    def is_long(self, transport: Transport) -> bool:
        """Return whether a connection's path is long."""
        return transport.rtt_ms >= self._settings.long_path_ms

    def observe(self, connection: socket.socket) -> Transport:
        """Remember how a connection is after an answer."""
        transport = transport_of(connection)
        with self._lock:
            self._seen[connection.fileno()] = transport
            while len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
        return transport

    def forget(self, handle: int) -> None:
        """Forget a connection that is closed, by its file descriptor."""
        with self._lock:
            self._seen.pop(handle, None)

    def _set_keepalive(self, connection: socket.socket, idle_s: int | None) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(idle_s is not None))
        if idle_s is None:
            return
        for option, value in (
            (socket.TCP_KEEPIDLE, idle_s),
            (socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S),
            (socket.TCP_KEEPCNT, _KEEPALIVE_PROBES),
        ):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)

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
        if granted < size * _DOUBLED and not _forced(connection, size):
            self._refused(
                "send_buffer_bytes",
                f"the kernel grants a send buffer of {granted // _DOUBLED} bytes, not {size}: its "
                f"own sizing stays; set net.core.wmem_max to {size} or more, or give the service "
                "CAP_NET_ADMIN",
            )
        elif granted >= size * _DOUBLED:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _set_pacing(self, connection: socket.socket, rate: int) -> None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("=Q", rate))
        except OSError as error:
            self._refused(
                "pacing_bytes_per_s",
                f"the kernel does not pace connections ({error.strerror}): use "
                "`bandwidth_bytes_per_s`",
            )

    def _refused(self, option: str, advice: str) -> None:
        with self._lock:
            first = option not in self._refusals
            self._refusals[option] = advice
        if first:
            _log.warning("store_socket_option_refused", option=option, advice=advice)


def _forced(connection: socket.socket, size: int) -> bool:
    """Set a send buffer beyond the machine's limit, which needs CAP_NET_ADMIN."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except OSError:
        return False
    return True


def transport_of(connection: socket.socket) -> Transport:
    """Read back what the kernel does with a connection."""
    name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION_NAME_BYTES)
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    info = info.ljust(_TCP_INFO_BYTES, b"\0")
    # struct tcp_info of linux/tcp.h: 8 bytes, 24 words of 32 bits, then words of 64 bits.
    words = struct.unpack_from("=24I", info, 8)
    rate, busy, receiver_limited, buffer_limited = struct.unpack_from("=4Q", info, 160)
    pacing = int.from_bytes(
        connection.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8), sys.byteorder
    )
    keepalive = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    keepalive_s = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return Transport(
        congestion_control=name.split(b"\0")[0].decode(),
        send_buffer_bytes=connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        rtt_ms=words[15] / 1000,
        congestion_window_segments=words[18],
        retransmitted_segments=words[23],
        busy_ms=busy / 1000,
        receiver_limited_ms=receiver_limited / 1000,
        buffer_limited_ms=buffer_limited / 1000,
        segment_bytes=words[2],
        delivery_bytes_per_s=rate,
        pacing_bytes_per_s=None if pacing in _NO_PACING else pacing,
        keepalive_s=keepalive_s if keepalive else None,
    )


def _shrinks_when_idle() -> bool:
    with suppress(OSError):
        return _SLOW_START_AFTER_IDLE.read_text().strip() != "0"
    return True


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
