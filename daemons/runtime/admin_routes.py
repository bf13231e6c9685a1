"""The requests of the admin API."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from daemons.runtime.admin_commands import perform
from daemons.runtime.errors import SettingsError, UsageError
from daemons.runtime.health import Dependency
from daemons.runtime.logging import current_level, set_level
from daemons.runtime.metrics import LoopWatch
from daemons.runtime.reload import ReloadCallback
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import State, allowed
from daemons.runtime.version import software_version

_log = structlog.get_logger(__name__)

_SILENT_LIMIT_S = 10.0
"""A loop watch that has not moved for so long is dead."""


class AdminRoutes:
    """Answers requests about some services.

    Parameters
    ----------
    runners
        The services.
    registry
        What `/metrics` shows.
    host
        Name of this host.
    loop_watch
        Shown by `/livez`.
    """

    def __init__(
        self,
        runners: Sequence[ServiceRunner],
        *,
        registry: CollectorRegistry,
        host: str,
        loop_watch: LoopWatch | None,
    ) -> None:
        self._runners = {runner.name: runner for runner in runners}
        self._registry = registry
        self._host = host
        self._loop_watch = loop_watch
        self._started = datetime.now(tz=UTC)
        self.reload: ReloadCallback | None = None
        """What `POST /reload` calls."""

    def add_to(self, application: web.Application) -> None:
        """Add the routes to an application."""
        application.router.add_get("/livez", self.livez)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/status", self.status)
        application.router.add_get("/metrics", make_aiohttp_handler(self._registry))
        application.router.add_post("/services/{name}/commands/{command}", self.command)
        application.router.add_post("/log-level", self.log_level)
        application.router.add_post("/reload", self.post_reload)

    async def livez(self, _request: web.Request) -> web.Response:
        """Answer: who answers is alive, unless the watch of the loop has died."""
        silent_s = 0.0 if self._loop_watch is None else self._loop_watch.silent_s
        alive = silent_s < _SILENT_LIMIT_S
        status = HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response(
            {"alive": alive, "loop_silent_seconds": round(silent_s, 3)}, status=status
        )

    async def readyz(self, _request: web.Request) -> web.Response:
        """Say whether every service can take work, and if not, why."""
        services = {name: _readiness(runner) for name, runner in self._runners.items()}
        ready = all(runner.ready for runner in self._runners.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response({"ready": ready, "services": services}, status=status)

    async def status(self, _request: web.Request) -> web.Response:
        """Tell what an operator wants to know."""
        now = datetime.now(tz=UTC)
        return web.json_response(
            {
                "version": software_version(),
                "python": platform.python_version(),
                "host": self._host,
                "pid": os.getpid(),
                "started": _when(self._started),
                "uptime_s": round((now - self._started).total_seconds(), 1),
                "log_level": current_level(),
                "services": {name: _status(runner) for name, runner in self._runners.items()},
            },
            dumps=partial(json.dumps, default=str),
        )

    async def command(self, request: web.Request) -> web.Response:
        """Carry out a command of a service."""
        name = request.match_info["name"]
        runner = self._runners.get(name)
        if runner is None:
            known = ", ".join(self._runners)
            raise web.HTTPNotFound(text=f"there is no service {name!r} here; there is {known}")
        state = await perform(runner, request.match_info["command"], await _body(request))
        return web.json_response({"service": name, "state": state.name})

    async def log_level(self, request: web.Request) -> web.Response:
        """Change the log level of everything, or of one logger."""
        body = await _body(request)
        level, logger = body.get("level"), body.get("logger")
        if not isinstance(level, str) or not isinstance(logger, (str, type(None))):
            raise UsageError('send {"level": "DEBUG"}, and "logger" for one logger only')
        set_level(level, logger)
        return web.json_response({"level": level.upper(), "logger": logger})

    async def post_reload(self, _request: web.Request) -> web.Response:
        """Reload the configuration."""
        if self.reload is None:
            raise SettingsError("this process has no configuration to reload")
        return web.json_response(asdict(await self.reload()))


async def _body(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object of a request; none is an empty one."""
    text = await request.text()
    if not text.strip():
        return {}
    try:
        body = await request.json()
    except ValueError as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError("the body must be a JSON object")
    return body


def _when(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dependency(known: Dependency) -> dict[str, Any]:
    return {"ok": known.ok, "reason": known.reason, "since": _when(known.since)}


def _readiness(runner: ServiceRunner) -> dict[str, Any]:
    return {
        "ready": runner.ready,
        "state": runner.state.name,
        "reason": _reason(runner),
        "since": _when(runner.since),
        "dependencies": {
            name: _dependency(known) for name, known in runner.health.dependencies.items()
        },
    }


def _reason(runner: ServiceRunner) -> str:
    """Return why a service cannot take work; empty when it can."""
    if runner.error is not None:
        return runner.error.report
    if runner.draining:
        return "finishes what is in hand and takes nothing new"
    if runner.state is not State.ENABLED:
        commands = ", ".join(allowed(runner.state)) or "none"
        return f"is in {runner.state.name}; commands that it takes: {commands}"
    away = [known for known in runner.health.dependencies.values() if not known.ok]
    return "; ".join(f"{known.name}: {known.reason}" for known in away)


def _status(runner: ServiceRunner) -> dict[str, Any]:
    error = runner.error
    return {
        **_readiness(runner),
        "error": None
        if error is None
        else {"code": error.code, "report": error.report, "at": _when(error.at)},
        "status": _own_status(runner),
    }


def _own_status(runner: ServiceRunner) -> Mapping[str, Any]:
    try:
        return runner.service.status()
    except Exception as error:  # noqa: BLE001 - the rest of the answer is worth having
        _log.exception("service_status_failed", service=runner.name)
        return {"unavailable": str(error) or type(error).__name__}
