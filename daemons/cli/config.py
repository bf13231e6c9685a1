"""`arriero config`: check, show or describe the configuration."""

from __future__ import annotations

from pathlib import Path

import click

from daemons.cli.output import json_option, print_json
from daemons.cli.settings import Settings, load
from daemons.runtime.settings import schema as json_schema


@click.group()
def config() -> None:
    """Check, show or describe the configuration."""


@config.command()
@json_option
@click.pass_obj
def check(path: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click passes a flag
    """Say whether the configuration can be used; every fault with file and line."""
    loaded = load(path)
    services = list(loaded.value.services)
    if as_json:
        print_json({"ok": True, "file": str(path) if path else None, "services": services})
        return
    what = str(path) if path else "the built-in defaults"
    runs = f"runs {', '.join(services)}" if services else "names no services to run"
    click.echo(f"{what}: fine; {runs}")
    for name in loaded.ignored_environment:
        click.echo(f"note: the environment variable {name} belongs to no setting", err=True)


@config.command()
@click.option("--origin", is_flag=True, help="List each setting with where it comes from.")
@json_option
@click.pass_obj
def show(path: Path | None, origin: bool, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Print the effective configuration, secrets left out."""
    loaded = load(path)
    if as_json and origin:
        print_json([{"key": s.key, "value": s.value, "origin": s.origin} for s in loaded.show()])
    elif as_json:
        print_json(loaded.as_json())
    elif origin:
        for setting in loaded.show():
            click.echo(f"{setting.key} = {setting.value!r}  ({setting.origin})")
    else:
        click.echo(loaded.text(), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    print_json(json_schema(Settings))
