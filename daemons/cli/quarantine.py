"""`arriero quarantine`: look at files that were set aside, and decide about them."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path
from typing import Any

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json, print_pairs, print_table


@click.group()
def quarantine() -> None:
    """Look at files that were set aside, and decide about them."""


@quarantine.command(name="list")
@click.option(
    "--state",
    type=click.Choice(["quarantined", "conflicted", "failed"]),
    default="quarantined",
    show_default=True,
    help="Which files: set aside for their content, in conflict with the store, or given up.",
)
@click.option("--limit", default=100, show_default=True, help="Files at most, newest first.")
@at_option
@json_option
@click.pass_obj
def list_(
    path: Path | None,
    state: str,
    limit: int,
    at: str | None,
    as_json: bool,  # noqa: FBT001 - click passes a flag
) -> None:
    """List files that were set aside, with the reason of each."""
    query = {"state": state, "limit": str(limit)}
    answer = ask(path, at, lambda client: client.get("/forwarder/quarantine", query))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("number", "file", "since", "code", "why"),
        (
            (file["id"], file["path"], file["changed_at"], file["reason"], file["detail"])
            for file in answer["files"]
        ),
        empty=f"no file is {state}",
    )


@quarantine.command()
@click.argument("number", type=int)
@at_option
@json_option
@click.pass_obj
def show(path: Path | None, number: int, at: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show what is known of file NUMBER, with everything that was found wrong."""
    file = ask(path, at, lambda client: client.get(f"/forwarder/files/{number}"))
    if as_json:
        print_json(file)
        return
    findings: list[dict[str, Any]] = file.pop("findings")
    print_pairs(file)
    for finding in findings:
        click.echo(f"  {finding['severity']} {finding['code']}: {finding['sentence']}")


@quarantine.command()
@click.argument("number", type=int)
@click.option("--why", required=True, help="For the record.")
@click.option("--who", help="For the record; by default you.")
@click.option(
    "--waive",
    multiple=True,
    metavar="CODE",
    help="Live with this finding only; repeat for several. By default all that set it aside.",
)
@at_option
@json_option
@click.pass_obj
def release(
    path: Path | None,
    number: int,
    *,
    why: str,
    who: str | None,
    waive: tuple[str, ...],
    at: str | None,
    as_json: bool,
) -> None:
    """Store file NUMBER in spite of what was found, and record who decided so and why."""
    body = {"who": who or who_am_i(), "why": why, "waive": list(waive) or None}
    _decide(path, at, f"/forwarder/quarantine/{number}/release", body, as_json=as_json)


@quarantine.command()
@click.argument("number", type=int)
@click.option("--why", required=True, help="For the record.")
@click.option("--who", help="For the record; by default you.")
@at_option
@json_option
@click.pass_obj
def reject(
    path: Path | None,
    number: int,
    *,
    why: str,
    who: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Give file NUMBER up for good; it stays where it is."""
    body = {"who": who or who_am_i(), "why": why}
    _decide(path, at, f"/forwarder/quarantine/{number}/reject", body, as_json=as_json)


@quarantine.command(name="let-go")
@click.argument("obs_id")
@click.option("--why", required=True, help="For the record.")
@click.option("--who", help="For the record; by default you.")
@at_option
@json_option
@click.pass_obj
def let_go(
    path: Path | None,
    obs_id: str,
    *,
    why: str,
    who: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Hold the exposure OBS_ID back no longer, in spite of what was found about it."""
    body = {"who": who or who_am_i(), "why": why}
    answer = ask(
        path, at, lambda client: client.post(f"/forwarder/exposures/{obs_id}/release", body)
    )
    if as_json:
        print_json(answer)
    else:
        now = "complete" if answer["complete"] else "not complete yet"
        click.echo(f"{obs_id} is held back no longer; it is {now}")


def _decide(
    path: Path | None, at: str | None, route: str, body: dict[str, Any], *, as_json: bool
) -> None:
    file = ask(path, at, lambda client: client.post(route, body))
    if as_json:
        print_json(file)
    else:
        click.echo(f"{file['path']} is now {file['state']}")


def who_am_i() -> str:
    """Return who gives the command, for the record."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
