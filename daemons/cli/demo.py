"""`arriero demo`: the whole path on this machine, simulated, with a proof at the end."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from daemons.cli.demonstration.layout import Endpoints, Layout
from daemons.cli.output import console, json_option, print_json
from daemons.cli.settings import load
from daemons.runtime.errors import SettingsError, UsageError
from daemons.runtime.executors import end_within
from daemons.runtime.logging import configure_logging

_FEW_BYTES_PER_AMPLIFIER = (32, 576)
"""Rows and columns of the amplifiers of `--small` files."""


@click.command()
@click.option("--exposures", default=10, show_default=True, type=click.IntRange(1))
@click.option("--detectors", default=9, show_default=True, type=click.IntRange(1, 205))
@click.option(
    "--directory",
    default=Path("demo-night"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything of the demonstration is; an interrupted one goes on there.",
)
@click.option("--fresh", is_flag=True, help="Remove an earlier demonstration in the directory.")
@click.option("--small", is_flag=True, help="Small amplifiers: files of 0.3 MB instead of 10.")
@click.option("--guiders", is_flag=True, help="Write the stamps of the guide sensors as well.")
@click.option("--pace", type=click.Choice(["fast", "real"]), default="fast", show_default=True)
@click.option("--exposure-time", default=5.0, show_default=True, help="Of a science exposure, s.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same night.")
@click.option("--bus", metavar="URL", help="Both buses: kafka://HOST:PORT or mqtt://HOST:PORT.")
@click.option("--control-bus", metavar="URL", help="The control bus, if it is another.")
@click.option("--registry", metavar="URL", help="Schema registry of a control bus on Kafka.")
@click.option("--store", metavar="URL", help="Object store: s3://BUCKET[/PREFIX].")
@click.option("--endpoint", metavar="URL", help="Where the S3 service answers.")
@click.option("--access-key-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--secret-key-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--butler", metavar="URL", help="Registry database: postgresql://USER@HOST/NAME.")
@click.option("--patience", default=120.0, show_default=True, help="For the last images, s.")
@json_option
def demo(*, directory: Path, fresh: bool, patience: float, as_json: bool, **options: Any) -> int:
    """Show the whole path: simulated observatory and camera, real services.

    Everything is embedded by default: buses in memory, the object store a folder,
    the Butler on SQLite; each default is replaced by an option. Exit code 0 when
    every file that the camera wrote is stored once, byte-identical, and registered.
    """
    _need_the_butler()
    layout = Layout(directory.absolute())
    if fresh and layout.config.is_file():
        shutil.rmtree(layout.folder)
    _refuse_a_foreign_folder(layout)
    layout.write(_endpoints(options), _simulator(options))
    settings = load(layout.config).value
    from daemons.cli.demonstration import report  # noqa: PLC0415 - needs the extra
    from daemons.cli.demonstration.drive import drive  # noqa: PLC0415 - as above

    terminal = console()
    if not as_json:
        click.echo(f"the demonstration is in {layout.folder}")
    with layout.log.open("a", encoding="utf-8") as log:
        configure_logging(
            level=settings.logging.level, host=settings.site.host, service="demo", stream=log
        )
        outcome = asyncio.run(drive(settings, patience_s=patience, console=terminal))
    if as_json:
        print_json(report.as_json(outcome))
    else:
        report.print_report(outcome, layout)
    code = 0 if outcome.proof.whole and outcome.in_order else 1
    end_within(5.0, code)
    return code


def _need_the_butler() -> None:
    try:
        import lsst.daf.butler  # noqa: F401, PLC0415 - asks whether the extra is installed
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the demonstration needs {error.name}: install it with pip install 'arriero[facility]'"
        ) from error


def _refuse_a_foreign_folder(layout: Layout) -> None:
    if layout.folder.is_dir() and any(layout.folder.iterdir()) and not layout.config.is_file():
        raise UsageError(
            f"{layout.folder} is not empty and holds no demonstration: name another --directory"
        )


def _simulator(options: dict[str, Any]) -> dict[str, Any]:
    simulator: dict[str, Any] = {
        "exposures": options["exposures"],
        "detectors": options["detectors"],
        "guiders": options["guiders"],
        "pace": options["pace"],
        "exposure_time_s": options["exposure_time"],
        "seed": options["seed"],
    }
    if options["small"]:
        simulator["amplifier_shape"] = list(_FEW_BYTES_PER_AMPLIFIER)
    return simulator


def _endpoints(options: dict[str, Any]) -> Endpoints:
    stream: dict[str, Any] = {"url": options["bus"] or "memory:"}
    control: dict[str, Any] = {"url": options["control_bus"] or options["bus"] or "memory:"}
    if options["registry"] is not None:
        control["registry_url"] = options["registry"]
    return Endpoints(
        control_bus=control,
        event_stream=stream,
        store=_store(options),
        butler_database=options["butler"],
    )


def _store(options: dict[str, Any]) -> dict[str, Any] | None:
    url: str | None = options["store"]
    if url is None:
        return None
    store: dict[str, Any] = {"url": url}
    if urlsplit(url).scheme == "s3":
        if options["endpoint"] is None:
            raise UsageError("--store s3://... needs --endpoint, the URL of the S3 service")
        store["endpoint_url"] = options["endpoint"]
        store["listing"] = "folders"  # right with every store, also those that do not sort keys
        for name in ("access_key", "secret_key"):
            file: Path | None = options[f"{name}_file"]
            if file is not None:
                store[name] = {"file": str(file.absolute())}
    return store
