"""`arriero run`: services until they are told to stop."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import get_args

import click
from aiohttp import web

from daemons.cli.compose import Built, Parts, build_all
from daemons.cli.settings import ServiceName, Settings, load
from daemons.runtime.admin import AdminServer
from daemons.runtime.errors import UsageError
from daemons.runtime.logging import configure_logging, set_level
from daemons.runtime.metrics import LoopWatch, new_registry, watch_services
from daemons.runtime.process import Process, run_process
from daemons.runtime.reload import Reloader
from daemons.runtime.settings import LoadedSettings
from daemons.runtime.state import State


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(get_args(ServiceName)))
@click.pass_obj
def run(path: Path | None, services: tuple[ServiceName, ...]) -> None:
    """Run SERVICES, or those that the configuration names, until told to stop.

    SIGTERM finishes what is in hand and ends; SIGHUP reloads the configuration.
    """
    loaded = load(path)
    names = services or loaded.value.services
    if not names:
        raise UsageError(
            "nothing to run: name services, or list them under `services` in the configuration"
        )
    configure_logging(
        level=loaded.value.logging.level,
        format=loaded.value.logging.format,
        host=loaded.value.site.host,
        service="+".join(names),
    )
    run_process(lambda: serve(loaded, names, path))


async def serve(
    loaded: LoadedSettings[Settings], names: tuple[ServiceName, ...], path: Path | None
) -> int:
    """Run services of a configuration and return the exit code."""
    settings = loaded.value
    registry = new_registry(host=settings.site.host)
    watch = LoopWatch(registry)
    async with Parts(settings, registry) as parts:
        built = build_all(names, parts)
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        watch_services(registry, [each.runner for each in built])
        reloader = Reloader(
            loaded,
            lambda: load(path),
            {each.runner.name: each.runner.service for each in built},
            apply=lambda new: set_level(new.logging.level),
        )
        process = Process(
            [each.runner for each in built],
            initial_state=State[settings.initial_state],
            admin=admin_server(settings, built, parts, watch),
            drain_timeout_s=settings.drain_timeout_s,
            reload=reloader,
            loop_watch=watch,
            background={name: task for each in built for name, task in each.background.items()},
        )
        return await process.run()


def admin_server(
    settings: Settings, built: list[Built], parts: Parts, watch: LoopWatch
) -> AdminServer:
    """Return the admin API of some services."""

    def add_routes(app: web.Application) -> None:
        for each in built:
            if each.routes is not None:
                each.routes(app)

    admin = settings.admin
    return AdminServer(
        [each.runner for each in built],
        registry=parts.registry,
        socket_path=admin.socket,
        tcp=None if admin.port is None else (admin.host, admin.port),
        token=admin.token,
        extra_routes=add_routes,
        host=settings.site.host,
        loop_watch=watch,
    )
