"""The admin API of a process: HTTP on a Unix socket, and on TCP where one asks for it.

========================================  =================================================
`GET /livez`                              the event loop moves
`GET /readyz`                             200 when every service can take work, else 503
`GET /status`                             release, host, services, dependencies, what they do
`GET /metrics`                            for Prometheus
`POST /services/NAME/commands/COMMAND`    see `daemons.runtime.admin_commands`
`POST /log-level`                         `{"level": "DEBUG", "logger": null}`
`POST /reload`                            as SIGHUP, and says what came of it
========================================  =================================================

Who may open the Unix socket (mode 0660: owner and group) may command. On TCP everything but
reading needs the token, `Authorization: Bearer ...`; without one configured, TCP is for
reading, and on loopback only. Errors are `{"code": ..., "message": ...}`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from daemons.runtime.admin_access import access_middleware, error_middleware
from daemons.runtime.admin_routes import AdminRoutes
from daemons.runtime.admin_socket import AdminSocket
from daemons.runtime.errors import SettingsError, UnavailableError
from daemons.runtime.metrics import LoopWatch
from daemons.runtime.reload import ReloadCallback
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.secrets import SecretRef

_log = structlog.get_logger(__name__)

_BODY_LIMIT_BYTES = 64 * 1024
_SHUTDOWN_S = 2.0
"""Time for requests in hand when the API closes."""


class AdminServer:
    """Serves the admin API of some services; an async context manager.

    Parameters
    ----------
    runners
        The services.
    registry
        What `/metrics` shows.
    socket_path
        Unix socket; None: none.
    tcp
        Address and port, 0 for any free one; None: none.
    token
        Secret for commands over TCP.
    extra_routes
        Adds routes of the services; the same rules of access hold for them.
    host
        Name of this host in `/status`; None: the machine's.
    loop_watch
        Lets `/livez` notice a watch that has died.

    Raises
    ------
    SettingsError
        TCP beyond loopback without a token.
    """

    def __init__(
        self,
        runners: Sequence[ServiceRunner],
        *,
        registry: CollectorRegistry,
        socket_path: Path | None = None,
        tcp: tuple[str, int] | None = None,
        token: SecretRef | None = None,
        extra_routes: Callable[[web.Application], None] | None = None,
        host: str | None = None,
        loop_watch: LoopWatch | None = None,
    ) -> None:
        if tcp is not None and token is None and not _is_loopback(tcp[0]):
            raise SettingsError(
                f"the admin API would listen on {tcp[0]} for everybody: give it a token, or "
                "let it listen on 127.0.0.1"
            )
        self._socket = None if socket_path is None else AdminSocket(socket_path)
        self._tcp = tcp
        self._routes = AdminRoutes(
            runners, registry=registry, host=host or socket.gethostname(), loop_watch=loop_watch
        )
        self._token = token
        self._extra_routes = extra_routes
        self._stack: contextlib.AsyncExitStack | None = None
        self._runner: web.AppRunner | None = None

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """Address and port that TCP listens on; None before the start or without TCP."""
        if self._tcp is None or self._runner is None:
            return None
        for address in self._runner.addresses:
            if not isinstance(address, str):
                return address[0], address[1]
        return None

    def use_reload(self, reload: ReloadCallback) -> None:
        """Let `POST /reload` call this."""
        self._routes.reload = reload

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        AlreadyRunningError
            Another process listens on the Unix socket.
        SettingsError
            The Unix socket cannot be made where it should be.
        UnavailableError
            The TCP port is taken or not ours.
        """
        async with contextlib.AsyncExitStack() as stack:
            bound = None if self._socket is None else stack.enter_context(self._socket.bound())
            runner = web.AppRunner(
                self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_S
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            if bound is not None:
                await web.SockSite(runner, bound).start()
            if self._tcp is not None:
                await self._listen_tcp(runner, *self._tcp)
            self._runner = runner
            self._stack = stack.pop_all()
        _log.info("admin_listens", addresses=[str(address) for address in runner.addresses])

    async def close(self) -> None:
        """Stop listening; the Unix socket is removed."""
        stack, self._stack = self._stack, None
        self._runner = None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _application(self) -> web.Application:
        application = web.Application(
            client_max_size=_BODY_LIMIT_BYTES,
            middlewares=[error_middleware, access_middleware(self._token)],
        )
        self._routes.add_to(application)
        if self._extra_routes is not None:
            self._extra_routes(application)
        return application

    @staticmethod
    async def _listen_tcp(runner: web.AppRunner, address: str, port: int) -> None:
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            raise UnavailableError(
                f"the admin API cannot listen on {address}:{port}: {error.strerror or error}; "
                "choose another port"
            ) from error


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False
