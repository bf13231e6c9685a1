"""`arriero send`: hand files to the running forwarder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json
from daemons.runtime.admin_client import AdminClient, AdminRequestError

_ARRIVED = frozenset({"stored", "announced", "registered", "released"})
"""States from which a file is safe at the facility."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--wait", "wait_s", default=30.0, show_default=True, help="Seconds to wait.")
@at_option
@json_option
@click.pass_obj
def send(
    path: Path | None,
    files: tuple[Path, ...],
    wait_s: float,
    at: str | None,
    as_json: bool,  # noqa: FBT001 - click passes a flag
) -> int:
    """Hand FILES to the running forwarder and say what became of each.

    The forwarder takes files from its drop directory and from the folders in
    forwarder.send_roots. Exit code 0 when every file is stored, else 1.
    """
    results = ask(path, at, lambda client: _send_all(client, files, wait_s))
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(_sentence(result))
    return 0 if all(result["state"] in _ARRIVED for result in results) else 1


async def _send_all(
    client: AdminClient, files: tuple[Path, ...], wait_s: float
) -> list[dict[str, Any]]:
    results = []
    for file in files:
        absolute = str(file.absolute())
        try:
            answer = await client.post("/forwarder/send", {"path": absolute, "wait_s": wait_s})
        except AdminRequestError as error:
            answer = {
                "path": absolute,
                "state": "not taken",
                "reason": error.remote_code,
                "detail": str(error),
            }
        results.append(answer)
    return results


def _sentence(result: dict[str, Any]) -> str:
    text = f"{result['path']}: {result['state']}"
    if result.get("key"):
        text += f" as {result['key']}"
    if result.get("detail"):
        text += f" ({result['detail']})"
    return text
