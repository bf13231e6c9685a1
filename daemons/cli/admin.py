"""How commands reach the running process: the admin API named by the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from daemons.cli.settings import load
from daemons.runtime.admin_client import AdminClient
from daemons.runtime.errors import UsageError

ResultT = TypeVar("ResultT")

at_option = click.option(
    "--at",
    metavar="SOCKET|URL",
    help="The process to ask; by default the admin socket of the configuration.",
)
"""The `--at` of every command that talks to a running process."""


def ask(
    path: Path | None, at: str | None, question: Callable[[AdminClient], Awaitable[ResultT]]
) -> ResultT:
    """Put a question to the running process and return its answer.

    Raises
    ------
    UnavailableError
        Nobody listens there.
    UsageError
        Neither the command line nor the configuration says where.
    """
    address, token = _address(path, at)

    async def talk() -> ResultT:
        async with AdminClient(address, token=token) as client:
            return await question(client)

    return asyncio.run(talk())


def _address(path: Path | None, at: str | None) -> tuple[Path | str, str | None]:
    admin = load(path).value.admin
    token = None if admin.token is None else admin.token.read()
    if at is not None:
        return (at, token) if at.startswith(("http://", "https://")) else (Path(at), token)
    if admin.socket is not None:
        return admin.socket, token
    if admin.port:
        return f"http://{admin.host}:{admin.port}", token
    raise UsageError("the configuration names no admin socket: say --at SOCKET or --at URL")
