"""Connections that are open, and wide open, before the first file comes.

What decides how long a file takes over a long fat pipe is the congestion window of its
connection at the moment that the file appears. A new connection begins with ten
segments and needs ten round trips to fill the pipe. So all connections are opened ahead,
and on a long path their windows are opened by uploads of our own. BBR keeps its model
of the path over idle time; a loss-based control forgets it within a round trip or two
where `net.ipv4.tcp_slow_start_after_idle` is 1, so with one of those only traffic that
hardly ever pauses would help, and it is not opened again and again for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable

import structlog

from daemons.storage.bodies import Payload
from daemons.storage.connection import Connection
from daemons.storage.direct import DirectSender
from daemons.storage.keys import HIDDEN
from daemons.storage.multipart import Ask
from daemons.storage.s3_errors import ConnectionLostError, RefusalError
from daemons.storage.settings import StoreSettings
from daemons.storage.sockets import SocketTuner

_ROUNDS = 4
"""Uploads in a row to open one window: one to learn the rate, one to fill it, two to spare."""
_BBR_WINDOWS = 2
"""BBR allows twice its estimate of bandwidth times round trip under way."""
_CONTINUOUS_S = 1.0
"""Warming more often than this counts as traffic that hardly pauses."""
_REFUSED = 400

_log = structlog.get_logger(__name__)


class Warmth:
    """Opens the connections of one store and keeps them so.

    Parameters
    ----------
    name
        Name of the store.
    settings
        How many connections, how wide.
    sender
        Has the connections.
    tuner
        Knows which path is long.
    ask
        Runs a blocking call in a thread of the store, with our errors.
    """

    def __init__(
        self,
        name: str,
        settings: StoreSettings,
        sender: DirectSender,
        *,
        tuner: SocketTuner,
        ask: Ask,
    ) -> None:
        self._name = name
        self._settings = settings
        self._sender = sender
        self._tuner = tuner
        self._ask = ask
        self._body = bytes(settings.warm_bytes)
        self._digest = hashlib.sha256(self._body).hexdigest()
        self._token = secrets.token_hex(4)

    async def warm(self, *, idle_s: float = 0.0) -> None:
        """Open all connections that are wanted, and look after those that were idle for so long.

        All at once, so that each learns its share of the link.

        Raises
        ------
        StoreUnavailableError, AccessRefusedError
            In a group: the store is away or does not let us in.
        """
        pool = self._sender.pool
        pool.drop_dead()
        idle = pool.take_idle(since_s=idle_s, now=time.monotonic())
        missing = max(self._settings.connections - pool.count, 0)
        wanted: list[Connection | None] = [*idle, *([None] * missing)]
        room = asyncio.Semaphore(self._settings.warm_at_once or max(len(wanted), 1))

        async def look_after(connection: Connection | None, number: int) -> None:
            async with room:
                await self._ask("warm a connection", _bound(self._look_after, connection, number))

        async with asyncio.TaskGroup() as group:
            for number, connection in enumerate(wanted):
                group.create_task(
                    look_after(connection, number), name=f"store-{self._name}-warm-{number}"
                )

    def _look_after(self, connection: Connection | None, number: int) -> None:
        """Ask something on a connection and open its window; blocking."""
        if connection is not None:
            try:
                self._open_wide(connection, number)
            except ConnectionLostError:
                _log.info("store_connection_replaced", store=self._name)
            else:
                return
        self._open_wide(self._sender.open(), number)

    def _open_wide(self, connection: Connection, number: int) -> None:
        fresh = not connection.reused
        uploads = 0
        try:
            self._ping(connection)
            while uploads < _ROUNDS and self._is_narrow(connection, fresh=fresh or uploads > 0):
                self._upload(connection, number)
                uploads += 1
            if uploads and connection.is_open:
                delete = self._sender.request("DELETE", self._key(number), {})
                self._sender.ask(delete, connection=connection)
        finally:
            self._sender.pool.give_back(connection)

    def _ping(self, connection: Connection) -> None:
        answer = self._sender.ask(
            self._sender.request("HEAD", None, {}), bodiless=True, connection=connection
        )
        if answer.status >= _REFUSED:
            raise RefusalError(answer)

    def _upload(self, connection: Connection, number: int) -> None:
        payload = Payload("a warming upload", len(self._body), memoryview(self._body))
        request = self._sender.request(
            "PUT", self._key(number), {}, payload, payload_hash=self._digest
        )
        answer = self._sender.ask(request, payload, connection=connection)
        if answer.status >= _REFUSED:
            raise RefusalError(answer)

    def _is_narrow(self, connection: Connection, *, fresh: bool) -> bool:
        """Return whether an upload would make a connection faster for the files to come."""
        if not connection.is_open:
            return False
        transport = connection.transport
        if not self._tuner.is_long(transport):
            return False
        every_s = self._settings.warm_every_s
        continuous = every_s is not None and every_s <= _CONTINUOUS_S
        if not (fresh or transport.keeps_window or continuous):
            return False
        wanted = self._settings.warm_window_bytes
        if transport.congestion_control.startswith("bbr"):
            wanted *= _BBR_WINDOWS
        return transport.window_bytes < wanted

    def _key(self, number: int) -> str:
        return f"{self._settings.prefix}{HIDDEN}/warm-{self._token}-{number}"


def _bound(
    call: Callable[[Connection | None, int], None], connection: Connection | None, number: int
) -> Callable[[], None]:
    return lambda: call(connection, number)
