"""Drive a demonstration: services, simulated night and watch in one process."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import unquote

from rich.console import Console
from rich.live import Live

from daemons.bus import EventStream
from daemons.cli.compose import Built, Parts, build_all
from daemons.cli.demonstration.verify import Proof, prove
from daemons.cli.demonstration.watch import Watch, follow
from daemons.cli.run import admin_server
from daemons.cli.settings import Settings, section
from daemons.registrar.errors import RepositoryError
from daemons.registrar.report import registered_files
from daemons.runtime.errors import ArrieroError
from daemons.runtime.metrics import LoopWatch, new_registry, watch_services
from daemons.runtime.process import Process
from daemons.simulators.header_source import HttpHeaderSource
from daemons.simulators.manifest import Manifest, ManifestEntry
from daemons.simulators.runner import SimulatedNight
from headerservice.service import HeaderService

_REFRESH_S = 0.25


class DemonstrationError(ArrieroError):
    """The demonstration could not be carried to its end."""

    code = "demo.failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a demonstration."""

    proof: Proof
    watch: Watch
    manifest: tuple[ManifestEntry, ...]
    seconds: float
    in_order: bool
    """Whether every service ended in order."""


async def drive(settings: Settings, *, patience_s: float, console: Console) -> Outcome:
    """Run the simulated night through the services and prove what arrived.

    Parameters
    ----------
    settings
        The configuration of the demonstration; it has all sections.
    patience_s
        How long to wait for the last images after the night is over.
    console
        Where the live table goes.
    """
    began = monotonic()
    simulator = section(settings.simulator, "simulator")
    registry = new_registry(host=settings.site.host)
    night = SimulatedNight(simulator, registry=registry)
    watch, loop_watch = Watch(), LoopWatch(registry)
    await _remember(watch, settings, simulator.manifest)
    async with Parts(settings, registry, observatory_clock=night.clock) as parts:
        built = build_all(settings.services, parts)
        watch_services(registry, [each.runner for each in built])
        process = Process(
            [each.runner for each in built],
            admin=admin_server(settings, built, parts, loop_watch),
            drain_timeout_s=settings.drain_timeout_s,
            loop_watch=loop_watch,
            background={name: task for each in built for name, task in each.background.items()},
        )
        expected = len(night.sensors)
        story = _Story(
            night, parts, built, watch, manifest=simulator.manifest, patience_s=patience_s
        )
        running = asyncio.create_task(process.run(), name="demo-services")
        telling = asyncio.create_task(story.tell(), name="demo-night")
        showing = asyncio.create_task(
            _show(console, lambda: watch.table(_made(simulator.manifest), expected)),
            name="demo-table",
        )
        await asyncio.wait([running, telling], return_when=asyncio.FIRST_COMPLETED)
        process.stop("the demonstration is over")
        showing.cancel()
        code = await running
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
            await showing
        night.close()
        manifest = tuple(Manifest.read(simulator.manifest).values())
        proof = await prove(parts.store("facility"), manifest, await _registered(settings))
    return Outcome(proof, watch, manifest, monotonic() - began, in_order=code == 0)


class _Story:
    """The night from its first exposure to its last image registered."""

    def __init__(
        self,
        night: SimulatedNight,
        parts: Parts,
        built: list[Built],
        watch: Watch,
        *,
        manifest: Path,
        patience_s: float,
    ) -> None:
        self._night = night
        self._parts = parts
        self._built = built
        self._watch = watch
        self._manifest = manifest
        self._patience_s = patience_s

    async def tell(self) -> None:
        """Simulate the night; return when all of it is registered or patience has ended."""
        stream = self._parts.event_stream("demo")
        bus = self._parts.control_bus("demo", identity="demo")
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(stream), name="demo-watch")
            source = HttpHeaderSource(await self._header_url())
            async with source:
                await self._night.run(bus, source)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    await self._watch.until_registered(self._images())
            following.cancel()

    async def _follow(self, stream: EventStream) -> None:
        # A group of its own for each run: every event from the oldest on.
        await follow(stream, self._watch, group=f"demo-{os.getpid()}-{monotonic():.0f}")

    async def _header_url(self) -> str:
        for each in self._built:
            if isinstance(each.runner.service, HeaderService):
                await each.runner.service.ready()
                if each.runner.service.base_url is not None:
                    return each.runner.service.base_url
        raise DemonstrationError("the header service does not answer over HTTP")

    def _images(self) -> frozenset[str]:
        entries = Manifest.read(self._manifest).values()
        return frozenset(Path(each.file).name for each in entries if each.file.endswith(".fits"))


async def _remember(watch: Watch, settings: Settings, manifest: Path) -> None:
    """Tell a watch what an earlier run of the same demonstration has registered already."""
    entries = {Path(each.file).name: each for each in Manifest.read(manifest).values()}
    if not entries:
        return
    try:
        uris = await _registered(settings) or []
    except RepositoryError:
        return  # the earlier run was ended before it made one
    for name in entries.keys() & {unquote(uri).rpartition("/")[2] for uri in uris}:
        watch.remember(entries[name].obs_id, name)


async def _registered(settings: Settings) -> list[str] | None:
    if settings.registrar is None:
        return None
    registrar = settings.registrar
    files = await asyncio.to_thread(registered_files, registrar)
    return [each.uri for each in files]


def _made(manifest: Path) -> Counter[str]:
    entries = Manifest.read(manifest).values()
    return Counter(entry.obs_id for entry in entries if entry.file.endswith(".fits"))


async def _show(console: Console, table: Callable[[], object]) -> None:
    """Keep a live table on a terminal; elsewhere print nothing until the end."""
    if not console.is_terminal:
        return
    with Live(console=console, refresh_per_second=4, get_renderable=table) as live:  # type: ignore[arg-type]
        try:
            while True:
                await asyncio.sleep(_REFRESH_S)
                live.refresh()
        finally:
            live.refresh()
