"""Talks to the admin API of a running process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import aiohttp

from daemons.runtime.errors import (
    ArrieroError,
    CommandFailedError,
    CommandRefusedError,
    SettingsError,
    UnavailableError,
    UsageError,
)

_READ_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 120.0
"""A drain takes its time; the server bounds it."""

_KINDS: Mapping[str, type[ArrieroError]] = {
    kind.code: kind
    for kind in (
        CommandRefusedError,
        CommandFailedError,
        SettingsError,
        UnavailableError,
        UsageError,
    )
}


class AdminRequestError(ArrieroError):
    """The admin API refused a request; `remote_code` says why.

    Parameters
    ----------
    message
        The server's sentence.
    status
        HTTP status.
    remote_code
        The server's code.
    """

    code: ClassVar[str] = "admin.request"

    def __init__(self, message: str, *, status: int, remote_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.remote_code = remote_code


class AdminClient:
    """An async context manager with a method for each request.

    Parameters
    ----------
    address
        The Unix socket (`Path`), or the URL of TCP (`http://127.0.0.1:9910`).
    token
        For commands over TCP.

    Raises
    ------
    UnavailableError
        By every method: nobody listens, or nobody answers in time.
    """

    def __init__(self, address: Path | str, *, token: str | None = None) -> None:
        self._address = address
        self._base = "http://arriero" if isinstance(address, Path) else address.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = (
            aiohttp.UnixConnector(path=str(self._address))
            if isinstance(self._address, Path)
            else aiohttp.TCPConnector()
        )
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def livez(self) -> dict[str, Any]:
        """Return whether the event loop moves: `alive`."""
        return await self._object("GET", "/livez")

    async def readyz(self) -> dict[str, Any]:
        """Return whether every service can take work: `ready`, and `services` with reasons."""
        return await self._object("GET", "/readyz")

    async def status(self) -> dict[str, Any]:
        """Return release, host, services, dependencies and what the services do."""
        return await self._object("GET", "/status")

    async def metrics(self) -> str:
        """Return the metrics in the text format of Prometheus."""
        _, text = await self._request("GET", "/metrics")
        return text

    async def command(
        self,
        service: str,
        command: str,
        fields: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = _COMMAND_TIMEOUT_S,
    ) -> str:
        """Carry out a command of a service and return the name of the state after it.

        Raises
        ------
        CommandRefusedError
            The state does not allow it.
        CommandFailedError
            It went wrong; the service is in FAULT.
        UsageError
            There is no such command.
        AdminRequestError
            There is no such service, or this client may not command.
        """
        path = f"/services/{service}/commands/{command}"
        answer = await self._object("POST", path, body=fields or {}, timeout_s=timeout_s)
        return str(answer["state"])

    async def set_log_level(self, level: str, logger: str | None = None) -> None:
        """Change the log level of everything, or of one logger and those below it."""
        await self._object("POST", "/log-level", body={"level": level, "logger": logger})

    async def reload(self) -> dict[str, Any]:
        """Reload the configuration; returns the keys `changed`, and those that need a `restart`.

        Raises
        ------
        SettingsError
            The new configuration is invalid; nothing has changed.
        """
        return await self._object("POST", "/reload", timeout_s=_COMMAND_TIMEOUT_S)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask a route that a service added."""
        return await self._object("GET", path, params=params)

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = _COMMAND_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Command a route that a service added."""
        return await self._object("POST", path, body=body or {}, timeout_s=timeout_s)

    async def _object(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float = _READ_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Return the JSON object that a request answers with."""
        status, text = await self._request(
            method, path, body=body, params=params, timeout_s=timeout_s
        )
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AdminRequestError(
                f"{self._address} answers no JSON object to {path}: is that an arriero process?",
                status=status,
                remote_code="",
            )
        if status >= HTTPStatus.BAD_REQUEST and "code" in answer:
            raise _error(status, str(answer["code"]), str(answer.get("message")))
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float = _READ_TIMEOUT_S,
    ) -> tuple[int, str]:
        """Return status and text of an answer."""
        if self._session is None:
            raise RuntimeError("use the AdminClient in an `async with`")
        try:
            async with self._session.request(
                method,
                self._base + path,
                json=body,
                params=params,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return response.status, await response.text()
        except TimeoutError as error:
            raise UnavailableError(
                f"{self._address} did not answer {path} within {timeout_s:g} s"
            ) from error
        except aiohttp.ClientConnectionError as error:
            raise UnavailableError(_nobody(self._address, error)) from error
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{self._address} broke off: {error}") from error


def _nobody(address: Path | str, error: aiohttp.ClientConnectionError) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, PermissionError):
        return (
            f"{address} may not be opened by this user: become a member of its group, or use sudo"
        )
    return f"nobody listens on {address}: is the service running, and is this its address?"


def _error(status: int, code: str, message: str) -> ArrieroError:
    kind = _KINDS.get(code)
    if kind is not None:
        return kind(message)
    return AdminRequestError(message, status=status, remote_code=code)
