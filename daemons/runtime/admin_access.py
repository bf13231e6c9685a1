"""Who may ask what of the admin API, the audit log, and errors as JSON."""

from __future__ import annotations

import hmac
import pwd
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from daemons.runtime.admin_socket import peer_credentials
from daemons.runtime.errors import (
    AlreadyRunningError,
    ArrieroError,
    CommandRefusedError,
    SettingsError,
    UnavailableError,
    UsageError,
)
from daemons.runtime.secrets import SecretRef

_log = structlog.get_logger(__name__)


_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

_STATUS: Mapping[type[ArrieroError], HTTPStatus] = {
    UsageError: HTTPStatus.BAD_REQUEST,
    CommandRefusedError: HTTPStatus.CONFLICT,
    AlreadyRunningError: HTTPStatus.CONFLICT,
    SettingsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def error_response(status: HTTPStatus, code: str, message: str) -> web.Response:
    """Return an error as the admin API tells it."""
    return web.json_response({"code": code, "message": message}, status=status)


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into `{"code": ..., "message": ...}`."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        status = HTTPStatus(error.status)
        message = error.text or status.phrase
        if status is HTTPStatus.NOT_FOUND and error.text == f"{error.status}: {error.reason}":
            message = f"there is no {request.path}; see /status"
        return error_response(status, f"http.{error.status}", message)
    except ArrieroError as error:
        status = next(
            (status for kind, status in _STATUS.items() if isinstance(error, kind)),
            HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        return error_response(status, error.code, str(error))
    except Exception:  # noqa: BLE001 - a request ends here
        _log.exception("admin_request_failed", path=request.path, method=request.method)
        return error_response(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the request failed; see the log"
        )


def access_middleware(token: SecretRef | None) -> Middleware:
    """Return a middleware that lets in who may, and logs every request that is no reading."""

    @web.middleware
    async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in _READING:
            return await handler(request)
        who = _who(request)
        refusal = None if who.startswith("uid ") else _refusal(request, token)
        if refusal is not None:
            _log.warning("admin_request_refused", who=who, path=request.path)
            return refusal
        began = time.monotonic()
        _log.info("admin_request", who=who, method=request.method, path=request.path)
        outcome = "failed"
        try:
            response = await handler(request)
            outcome = "done"
        except ArrieroError as error:
            outcome = f"{error.code}: {error}"
            raise
        finally:
            _log.info(
                "admin_request_ended",
                who=who,
                path=request.path,
                outcome=outcome,
                seconds=round(time.monotonic() - began, 3),
            )
        return response

    return access


def _who(request: web.Request) -> str:
    """Return who asks: `uid 1000 (observer), pid 4711`, or the TCP address."""
    peer = None if request.transport is None else request.transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX:
        return f"tcp {request.remote}"
    pid, uid, _ = peer_credentials(peer)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "no name"
    return f"uid {uid} ({name}), pid {pid}"


def _refusal(request: web.Request, token: SecretRef | None) -> web.Response | None:
    if token is None:
        return error_response(
            HTTPStatus.FORBIDDEN,
            "admin.read_only",
            "over TCP this process can only be read: use its Unix socket, or configure a token",
        )
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(), token.read().encode()
    ):
        return None
    return error_response(
        HTTPStatus.UNAUTHORIZED,
        "admin.unauthorized",
        "the token is missing or wrong: send `Authorization: Bearer TOKEN`",
    )
