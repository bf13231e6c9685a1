"""`arriero refused`: images that the Butler did not take, and guiders that wait."""

from __future__ import annotations

from pathlib import Path

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json, print_table


@click.group()
def refused() -> None:
    """Look at images that the Butler did not take, and try them again."""


@refused.command(name="list")
@at_option
@json_option
@click.pass_obj
def list_(path: Path | None, at: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List images that were refused, and guiders that wait for their exposure."""
    answer = ask(path, at, lambda client: client.get("/registrar/waiting"))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("file", "state", "since", "attempts", "code", "why"),
        (
            (
                image["file"],
                image["reason"],
                image["since"],
                image["attempts"],
                image["code"],
                image["sentence"],
            )
            for image in answer["waiting"]
        ),
        empty="no image waits",
    )


@refused.command()
@at_option
@json_option
@click.pass_obj
def retry(path: Path | None, at: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Try every refused or held image again."""
    answer = ask(path, at, lambda client: client.post("/registrar/retry"))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"tried {answer['retried']} images again; `arriero refused list` tells the rest")
