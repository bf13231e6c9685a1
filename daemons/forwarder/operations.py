"""The forwarder's part of the admin API.

::

    GET  /forwarder/queue                        what waits, why, since when
    GET  /forwarder/files/{id}                   one file
    GET  /forwarder/quarantine                   files set aside; ?state=&limit=&before=
    POST /forwarder/quarantine/{id}/release      {"who", "why", "waive": [codes] or null}
    POST /forwarder/quarantine/{id}/reject       {"who", "why"}
    POST /forwarder/send                         {"path", "wait_s"}
    GET  /forwarder/limits                       mode and ceilings in force, and who set them
    POST /forwarder/limits                       {"who", "why", "concurrency",
                                                  "bandwidth_bytes_per_s", "reset"}
    POST /forwarder/pause                        {"who", "why", "backlog_only", "wait_s"}
    POST /forwarder/resume                       {"who", "why"}
    POST /forwarder/drain                        {"who", "why", "wait_s"}
    POST /forwarder/exposures/{obs_id}/release   {"who", "why"}: hold it back no longer
    POST /forwarder/requeue                      {"who", "why", "files", "obs_id", "state",
                                                  "announce"}

An error is `{"code", "message"}`: 400 a request that makes no sense, 403 a path
that must not be sent, 404 no such file, 409 a decision that is not possible, 503 the
service is not open or its journal cannot be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from daemons.forwarder.errors import (
    DecisionRefusedError,
    FileRefusedError,
    ForwarderError,
    UnknownFileError,
)
from daemons.forwarder.model import FileState
from daemons.forwarder.operators import Operations
from daemons.forwarder.records import Decision
from daemons.forwarder.steering import Selection, Steering

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

    @property
    def steering(self) -> Steering:
        """How operators pause it and set its limits; raises as `operations` does."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DecisionBody(_Body):
    """Body of whatever is on record: a rejection, a resumption."""

    who: str = Field(min_length=1)
    why: str = Field(min_length=1)

    @property
    def decision(self) -> Decision:
        """Who decided, and why."""
        return Decision(self.who, self.why)


class ReleaseBody(DecisionBody):
    """Body of a release."""

    waive: list[str] | None = None


class WaitBody(DecisionBody):
    """Body of a draining."""

    wait_s: float = Field(default=0.0, ge=0.0, le=_WAIT_MAX_S)


class PauseBody(WaitBody):
    """Body of a pause."""

    backlog_only: bool = False


class LimitsBody(DecisionBody):
    """Body of a change of ceilings."""

    concurrency: int | None = Field(default=None, ge=1, le=256)
    bandwidth_bytes_per_s: int | None = Field(default=None, ge=0)
    reset: bool = False


class RequeueBody(DecisionBody):
    """Body of a request to try files again."""

    files: list[int] = Field(default=[], max_length=_LIMIT_MAX)
    obs_id: str | None = Field(default=None, min_length=1)
    state: Literal["quarantined", "conflicted", "failed"] | None = None
    announce: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.files and self.obs_id is None and self.state is None:
            raise ValueError("say which files: by number, by exposure or by state")
        return self

    @property
    def selection(self) -> Selection:
        """Which files are meant."""
        state = None if self.state is None else FileState(self.state)
        return Selection(self.files, self.obs_id, state)


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
            web.get("/forwarder/limits", routes.limits),
            web.post("/forwarder/limits", routes.limit),
            web.post("/forwarder/pause", routes.pause),
            web.post("/forwarder/resume", routes.resume),
            web.post("/forwarder/drain", routes.drain),
            web.post("/forwarder/requeue", routes.requeue),
            web.post("/forwarder/exposures/{obs_id}/release", routes.let_go),
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
            body = DecisionBody.model_validate_json(await request.read())
            return await ops.reject(_file_id(request), who=body.who, why=body.why)

        return await self._answer(reject)

    async def send(self, request: web.Request) -> web.Response:
        async def send(ops: Operations) -> Mapping[str, Any]:
            body = SendBody.model_validate_json(await request.read())
            return await ops.send(body.path, wait_s=body.wait_s)

        return await self._answer(send, allowed_s=_ANSWER_S + _WAIT_MAX_S)

    async def limits(self, _request: web.Request) -> web.Response:
        async def look(steering: Steering) -> Mapping[str, Any]:
            return steering.view()

        return await self._steer(look)

    async def limit(self, request: web.Request) -> web.Response:
        async def limit(steering: Steering) -> Mapping[str, Any]:
            body = LimitsBody.model_validate_json(await request.read())
            return await steering.limit(
                body.decision,
                concurrency=body.concurrency,
                bandwidth_bytes_per_s=body.bandwidth_bytes_per_s,
                reset=body.reset,
            )

        return await self._steer(limit)

    async def pause(self, request: web.Request) -> web.Response:
        async def pause(steering: Steering) -> Mapping[str, Any]:
            body = PauseBody.model_validate_json(await request.read())
            return await steering.pause(
                body.decision, backlog_only=body.backlog_only, wait_s=body.wait_s
            )

        return await self._steer(pause)

    async def resume(self, request: web.Request) -> web.Response:
        async def resume(steering: Steering) -> Mapping[str, Any]:
            body = DecisionBody.model_validate_json(await request.read())
            return await steering.resume(body.decision)

        return await self._steer(resume)

    async def drain(self, request: web.Request) -> web.Response:
        async def drain(steering: Steering) -> Mapping[str, Any]:
            body = WaitBody.model_validate_json(await request.read())
            return await steering.drain(body.decision, wait_s=body.wait_s)

        return await self._steer(drain)

    async def requeue(self, request: web.Request) -> web.Response:
        async def requeue(steering: Steering) -> Mapping[str, Any]:
            body = RequeueBody.model_validate_json(await request.read())
            return await steering.requeue(body.selection, body.decision, announce=body.announce)

        return await self._steer(requeue)

    async def let_go(self, request: web.Request) -> web.Response:
        async def let_go(steering: Steering) -> Mapping[str, Any]:
            body = DecisionBody.model_validate_json(await request.read())
            return await steering.let_go(request.match_info["obs_id"], body.decision)

        return await self._steer(let_go)

    async def _answer(
        self,
        ask: Callable[[Operations], Awaitable[Mapping[str, Any]]],
        *,
        allowed_s: float = _ANSWER_S,
    ) -> web.Response:
        return await _answered(lambda: ask(self._forwarder.operations), allowed_s)

    async def _steer(self, ask: Callable[[Steering], Awaitable[Mapping[str, Any]]]) -> web.Response:
        return await _answered(
            lambda: ask(self._forwarder.steering), allowed_s=_ANSWER_S + _WAIT_MAX_S
        )


async def _answered(
    ask: Callable[[], Awaitable[Mapping[str, Any]]], allowed_s: float
) -> web.Response:
    try:
        async with asyncio.timeout(allowed_s):
            return web.json_response(dict(await ask()))
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
