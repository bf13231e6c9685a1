"""A real process with small services, for `test_runtime_process.py`.

`python runtime_child.py CONFIG SERVICE...` runs services that count, drain and break on demand.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import NonNegativeFloat, PositiveFloat

from daemons.runtime.admin import AdminServer
from daemons.runtime.errors import ArrieroError, SettingsError
from daemons.runtime.logging import configure_logging, set_level
from daemons.runtime.metrics import LoopWatch, new_registry, watch_services
from daemons.runtime.process import Process, run_process
from daemons.runtime.reload import Reloader
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.service import JsonObject
from daemons.runtime.settings import Reloadable, RootSettings, SectionModel, load_settings
from daemons.runtime.state import State

_log = structlog.get_logger("child")


class Counting(SectionModel):
    tick_s: Annotated[PositiveFloat, Reloadable()] = 0.01
    """Seconds between two counts."""
    drain_s: NonNegativeFloat = 0.0
    """How long the last count takes."""
    fail_open: bool = False
    """Whether `open` fails."""


class Host(RootSettings):
    log_level: Annotated[str, Reloadable()] = "INFO"
    """Log level."""
    initial_state: str = "ENABLED"
    """Where services are brought."""
    drain_timeout_s: PositiveFloat = 20.0
    """Time for draining."""
    hang_thread: bool = False
    """Whether a thread that never ends is started."""
    counting: Counting = Counting()
    """The services."""


class Counter:
    """Counts; drains slowly; breaks on demand."""

    def __init__(self, name: str, settings: Counting) -> None:
        self.name = name
        self.settings = settings
        self.count = 0
        self.drained = False
        self.breaking = asyncio.Event()

    async def open(self) -> None:
        if self.settings.fail_open:
            raise SettingsError("told to fail")

    async def work(self) -> None:
        while not self.breaking.is_set():
            self.count += 1
            await asyncio.sleep(self.settings.tick_s)
        self.breaking.clear()
        raise RuntimeError("told to break")

    async def drain(self) -> None:
        _log.info("drain_begins", service=self.name)
        await asyncio.sleep(self.settings.drain_s)
        self.drained = True
        _log.info("drain_ends", service=self.name, count=self.count)

    async def close(self) -> None:
        _log.info("closed", service=self.name)

    def status(self) -> JsonObject:
        return {"count": self.count, "tick_s": self.settings.tick_s}

    def reload(self, settings: Any) -> tuple[str, ...]:
        self.settings = settings
        return ()


def routes(runners: dict[str, ServiceRunner]) -> Any:
    async def break_service(request: web.Request) -> web.Response:
        service = runners[request.match_info["name"]].service
        assert isinstance(service, Counter)
        service.breaking.set()
        return web.json_response({})

    async def report(request: web.Request) -> web.Response:
        body = await request.json()
        runners[request.match_info["name"]].health.report(
            body["dependency"], ok=body["ok"], reason=body["reason"]
        )
        return web.json_response({})

    async def block(request: web.Request) -> web.Response:
        time.sleep((await request.json())["seconds"])  # noqa: ASYNC251 - a loop that is stuck
        return web.json_response({})

    def add(application: web.Application) -> None:
        application.router.add_post("/break/{name}", break_service)
        application.router.add_post("/health/{name}", report)
        application.router.add_post("/block", block)

    return add


async def beat() -> None:
    """Fail once, then run: a background task that must be started again."""
    if not hasattr(beat, "failed"):
        beat.failed = True  # type: ignore[attr-defined]
        raise ConnectionError("no bus")
    _log.info("background_runs")
    await asyncio.Event().wait()


async def main() -> int:
    path, names = Path(sys.argv[1]), sys.argv[2:]
    loaded = load_settings(Host, path)
    host = loaded.value
    configure_logging(level=host.log_level, host="fp01", service="child")
    runners = {name: ServiceRunner(Counter(name, host.counting)) for name in names}
    registry = new_registry(host="fp01")
    watch_services(registry, list(runners.values()))
    watch = LoopWatch(registry)
    if host.hang_thread:
        threading.Thread(target=threading.Event().wait, name="hung").start()
    apart = {f"counting.{name}": runner.service for name, runner in runners.items()}
    process = Process(
        list(runners.values()),
        initial_state=State[host.initial_state],
        admin=AdminServer(
            list(runners.values()),
            registry=registry,
            socket_path=path.with_name("s"),
            extra_routes=routes(runners),
            loop_watch=watch,
        ),
        drain_timeout_s=host.drain_timeout_s,
        reload=Reloader(
            loaded,
            lambda: load_settings(Host, path),
            {"counting": next(iter(apart.values()))},
            apply=lambda new: set_level(new.log_level),
        ),
        loop_watch=watch,
        background={"beat": beat},
    )
    return await process.run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_process(main, grace_s=1.0)
    except ArrieroError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
