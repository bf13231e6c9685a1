"""The forwarder's part of the admin API.

::

    GET  /forwarder/queue                        what waits, why, since when
    GET  /forwarder/files/{id}                   one file
    GET  /forwarder/quarantine                   files set aside; ?state=&limit=&before=
    POST /forwarder/quarantine/{id}/release      {"who", "why", "waive": [codes] or null}
    POST /forwarder/quarantine/{id}/reject       {"who", "why"}
    POST /forwarder/send                         {"path", "wait_s"}

An error is `{"code", "message"}`: 400 a request that makes no sense, 403 a path
that must not be sent, 404 no such file, 409 a decision that is not possible, 503 the
service is not open or its journal cannot be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemons.forwarder.errors import (
    DecisionRefusedError,
    FileRefusedError,
    ForwarderError,
    UnknownFileError,
)
from daemons.forwarder.model import FileState
from daemons.forwarder.operators import Operations

_ANSWER_S = 15.0
"""How long an answer may take, besides the waiting that was asked for."""
_WAIT_MAX_S = 60.0
_LIMIT_MAX = 1000

_STATUS: Mapping[type[ForwarderError], int] = MappingProxyType(
    {FileRefusedError: 403, UnknownFileError: 404, DecisionRefusedError: 409}
)


class OperatedForwarder(Protocol):
    """What the routes need of the service."""

    @property
    def operations(self) -> Operations:
        """What operators can do; raises `ForwarderError` while the service is not open."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReleaseBody(_Body):
    """Body of a release."""

    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    waive: list[str] | None = None


class RejectBody(_Body):
    """Body of a rejection."""

    who: str = Field(min_length=1)
    why: str = Field(min_length=1)


class SendBody(_Body):
    """Body of a hand-over."""

    path: str = Field(min_length=1)
    wait_s: float = Field(default=0.0, ge=0.0, le=_WAIT_MAX_S)


class PageQuery(_Body):
    """Query of a listing."""

    limit: int = Field(default=100, ge=1, le=_LIMIT_MAX)
    before: int | None = None
    state: FileState = FileState.QUARANTINED


def add_routes(app: web.Application, forwarder: OperatedForwarder) -> None:
    """Add the forwarder's routes to an admin application."""
    routes = _Routes(forwarder)
    app.add_routes(
        [
            web.get("/forwarder/queue", routes.queue),
            web.get("/forwarder/files/{id:\\d+}", routes.file),
            web.get("/forwarder/quarantine", routes.quarantine),
            web.post("/forwarder/quarantine/{id:\\d+}/release", routes.release),
            web.post("/forwarder/quarantine/{id:\\d+}/reject", routes.reject),
            web.post("/forwarder/send", routes.send),
        ]
    )


class _Routes:
    def __init__(self, forwarder: OperatedForwarder) -> None:
        self._forwarder = forwarder

    async def queue(self, request: web.Request) -> web.Response:
        async def look(ops: Operations) -> Mapping[str, Any]:
            return await ops.queue(PageQuery.model_validate(dict(request.query)).limit)

        return await self._answer(look)

    async def file(self, request: web.Request) -> web.Response:
        return await self._answer(lambda ops: ops.file(_file_id(request)))

    async def quarantine(self, request: web.Request) -> web.Response:
        async def look(ops: Operations) -> Mapping[str, Any]:
            query = PageQuery.model_validate(dict(request.query))
            files = await ops.aside((query.state,), limit=query.limit, before=query.before)
            return {"files": files}

        return await self._answer(look)

    async def release(self, request: web.Request) -> web.Response:
        async def release(ops: Operations) -> Mapping[str, Any]:
            body = ReleaseBody.model_validate_json(await request.read())
            return await ops.release(
                _file_id(request), who=body.who, why=body.why, waive=body.waive
            )

        return await self._answer(release)

    async def reject(self, request: web.Request) -> web.Response:
        async def reject(ops: Operations) -> Mapping[str, Any]:
            body = RejectBody.model_validate_json(await request.read())
            return await ops.reject(_file_id(request), who=body.who, why=body.why)

        return await self._answer(reject)

    async def send(self, request: web.Request) -> web.Response:
        async def send(ops: Operations) -> Mapping[str, Any]:
            body = SendBody.model_validate_json(await request.read())
            return await ops.send(body.path, wait_s=body.wait_s)

        return await self._answer(send, allowed_s=_ANSWER_S + _WAIT_MAX_S)

    async def _answer(
        self,
        ask: Callable[[Operations], Awaitable[Mapping[str, Any]]],
        *,
        allowed_s: float = _ANSWER_S,
    ) -> web.Response:
        try:
            async with asyncio.timeout(allowed_s):
                return web.json_response(dict(await ask(self._forwarder.operations)))
        except ValidationError as error:
            return _error(400, "request.invalid", str(error))
        except TimeoutError:
            return _error(503, "journal.unavailable", "no answer in time; see /status for why")
        except ForwarderError as error:
            return _error(_STATUS.get(type(error), 503), error.code, str(error))


def _file_id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
