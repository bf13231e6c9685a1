"""`arriero status` and `arriero command`: look at running services and command them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json, print_pairs


@click.command()
@at_option
@json_option
@click.pass_obj
def status(path: Path | None, at: str | None, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Say what the running services are doing, and what they wait for.

    Exit code 0 when every service is ready, 1 when one is not, 69 when nothing runs.
    """
    answer = ask(path, at, lambda client: client.status())
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    return 0 if all(each["ready"] for each in answer["services"].values()) else 1


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"arriero {answer['version']} on {answer['host']}, up {answer['uptime_s']:.0f} s")
    for name, each in answer["services"].items():
        click.echo(f"\n{name}: {each['state']}" + ("" if each["ready"] else ", not ready"))
        if each.get("error"):
            click.echo(f"  fault {each['error']['code']}: {each['error']['report']}")
        for dependency, state in each["dependencies"].items():
            mark = "ok  " if state["ok"] else "AWAY"
            click.echo(f"  {mark} {dependency}: {state['reason']} (since {state['since']})")
        print_pairs(each["status"], indent="  ")


@click.command()
@click.argument("service")
@click.argument("what", metavar="COMMAND")
@at_option
@json_option
@click.pass_obj
def command(path: Path | None, service: str, what: str, at: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Send COMMAND to SERVICE: start, enable, disable, standby, exitControl, drain."""
    answer = ask(path, at, lambda client: client.command(service, what))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{service} is now {answer}")
