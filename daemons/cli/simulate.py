"""`arriero simulate`: a simulated observatory and camera on the configured control bus."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from daemons.cli.compose import Parts
from daemons.cli.output import json_option, print_json
from daemons.cli.settings import Settings, load, section
from daemons.runtime.logging import configure_logging
from daemons.runtime.metrics import new_registry
from daemons.simulators.runner import NightSummary, SimulatedNight


@click.command()
@json_option
@click.pass_obj
def simulate(path: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click passes a flag
    """Go through the night of the `simulator` section: telemetry, events and files.

    A night that was interrupted is taken up where it was. Exit code 0 when every
    file of the night is written.
    """
    settings = load(path).value
    configure_logging(
        level=settings.logging.level,
        format=settings.logging.format,
        host=settings.site.host,
        service="simulator",
    )
    summary = asyncio.run(_simulate(settings))
    if as_json:
        print_json(
            {
                "exposures": summary.exposures,
                "complete": summary.complete,
                "incomplete": summary.incomplete,
                "files": summary.files,
                "size_bytes": summary.size_bytes,
            }
        )
    else:
        click.echo(
            f"{summary.complete} of {summary.exposures} exposures written, {summary.files} files, "
            f"{summary.size_bytes / 1e6:.1f} MB"
        )
    return 0 if summary.over else 1


async def _simulate(settings: Settings) -> NightSummary:
    simulator = section(settings.simulator, "simulator")
    registry = new_registry(host=settings.site.host)
    night = SimulatedNight(simulator, registry=registry)
    try:
        async with Parts(settings, registry, observatory_clock=night.clock) as parts:
            return await night.run(parts.control_bus("simulator", identity="simulator"))
    finally:
        night.close()
