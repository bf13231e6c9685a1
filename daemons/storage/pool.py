"""The open connections to one endpoint."""

from __future__ import annotations

import socket
import ssl
import threading
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from daemons.storage.connection import Connection
from daemons.storage.limits import Throttle
from daemons.storage.settings import StoreSettings
from daemons.storage.sockets import SocketTuner

_PORTS = {"http": 80, "https": 443}


class Pool:
    """Keeps connections open and gives them out, the one that was used last first.

    There is no upper bound: who asks is one of the store's threads.

    Parameters
    ----------
    settings
        Where to connect to.
    tuner
        Sets the options of each connection.
    throttle
        The ceiling that they share.
    """

    def __init__(self, settings: StoreSettings, tuner: SocketTuner, throttle: Throttle) -> None:
        endpoint = urlsplit(settings.endpoint_url or "")
        name = endpoint.hostname or ""
        self._host = f"{settings.bucket}.{name}" if settings.addressing == "virtual" else name
        self._port = endpoint.port or _PORTS[endpoint.scheme]
        self._timeout_s = settings.connect_timeout_s
        self._context = _trust(settings) if endpoint.scheme == "https" else None
        self._tuner = tuner
        self._throttle = throttle
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._given = 0
        self._closed = False

    @property
    def count(self) -> int:
        """How many connections are open, idle or in use."""
        with self._lock:
            return self._given + len(self._idle)

    def take(self, *, fresh: bool = False) -> Connection:
        """Give a connection; a new one where asked for or where none is idle and alive.

        Raises
        ------
        OSError
            None can be made.
        """
        while not fresh:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if connection.is_fresh():
                with self._lock:
                    self._given += 1
                return connection
            connection.close()
        connection = self._connect()
        with self._lock:
            self._given += 1
        return connection

    def take_idle(self, *, since_s: float, now: float) -> list[Connection]:
        """Give all connections that were idle for so long, so that they can be looked after."""
        with self._lock:
            taken = [one for one in self._idle if now - one.used_at >= since_s]
            self._idle = [one for one in self._idle if one not in taken]
            self._given += len(taken)
        return taken

    def drop_dead(self) -> int:
        """Close idle connections that the far end has closed; return how many."""
        with self._lock:
            dead = [one for one in self._idle if not one.is_fresh()]
            self._idle = [one for one in self._idle if one not in dead]
        for connection in dead:
            connection.close()
        return len(dead)

    def give_back(self, connection: Connection) -> None:
        """Take a connection back; one that is closed is forgotten."""
        with self._lock:
            self._given -= 1
            keep = connection.is_open and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close(gently=True)

    def close(self) -> None:
        """Close what is idle, and what is given back later. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close(gently=True)

    def _connect(self) -> Connection:
        link = socket.create_connection((self._host, self._port), timeout=self._timeout_s)
        try:
            if self._context is not None:
                link = self._context.wrap_socket(link, server_hostname=self._host)
            self._tuner.tune(link)
            return Connection(link, self._tuner, self._throttle)
        except BaseException:
            link.close()
            raise


def _trust(settings: StoreSettings) -> ssl.SSLContext:
    bundle = settings.ca_bundle
    return ssl.create_default_context(cafile=str(bundle) if bundle else get_cert_path(True))
