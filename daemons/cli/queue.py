"""`arriero queue`: what waits in the forwarder, why, since when."""

from __future__ import annotations

from pathlib import Path

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json, print_table


@click.command()
@at_option
@json_option
@click.pass_obj
def queue(path: Path | None, at: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List what waits in the forwarder, why, and since when."""
    answer = ask(path, at, lambda client: client.get("/forwarder/queue"))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("file", "state", "since", "why"),
        (
            (
                file["path"],
                "in hand" if file["in_hand"] else file["state"],
                file["changed_at"],
                file["detail"] or file["reason"] or "",
            )
            for file in answer["files"]
        ),
        empty="no file waits",
    )
    for exposure in answer["held"]:
        click.echo(
            f"{exposure['obs_id']} is held back for {', '.join(exposure['held'])}; "
            f"`arriero quarantine let-go {exposure['obs_id']} --why ...` lets it go"
        )
    if answer["events"]:
        oldest = answer["events"][0]
        click.echo(
            f"{len(answer['events'])} events wait for the event stream, the oldest "
            f"({oldest['type']} {oldest['subject']}) since {oldest['since']}"
        )
