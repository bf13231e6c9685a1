"""`arriero headers diff`: compare two headers keyword by keyword."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import aiohttp
import click
from prometheus_client import CollectorRegistry

from daemons.cli.output import json_option, print_json, print_table
from daemons.cli.settings import Settings, load
from daemons.runtime.errors import UsageError
from daemons.storage.factory import open_store
from headerservice.compare import MAKING, STRUCTURE, Difference, Values, compare, read_header
from headerservice.journal import Journal
from headerservice.journal_thread import FILE_NAME

_FETCH_S = 30.0
_DIFFER = 1


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--tolerance",
    default=1e-9,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How far numbers may be apart, relative; absolute near zero.",
)
@click.option("--ignore", multiple=True, metavar="KEYWORD", help="Leave it out; may be repeated.")
@click.option("--everything", is_flag=True, help="Compare DATE, revision and structure, too.")
@click.option("--common", is_flag=True, help="Compare only what both have.")
@json_option
@click.pass_obj
def diff(
    path: Path | None,
    first: str,
    second: str,
    *,
    tolerance: float,
    ignore: tuple[str, ...],
    everything: bool,
    common: bool,
    as_json: bool,
) -> int:
    """Compare the headers FIRST and SECOND.

    Each is a file (YAML, JSON, FITS, FITS text), a URL (http, https, file, or of an object of
    a configured store), or an OBS_ID of this host's journal. Exit code 0 when they are the
    same, 1 when they differ, another when one cannot be read.
    """
    settings = load(path).value
    left, right = asyncio.run(_both(settings, first, second))
    left_out = {*ignore} if everything else {*ignore, *MAKING, *STRUCTURE}
    found = list(compare(left, right, tolerance=tolerance, ignore=left_out, common=common))
    if as_json:
        print_json({"same": not found, "differences": [asdict(each) for each in found]})
    else:
        _print(found, first, second)
    return _DIFFER if found else 0


def _print(found: list[Difference], first: str, second: str) -> None:
    rows = [
        (
            each.hdu,
            each.keyword,
            "absent" if each.kind == "only_second" else repr(each.first),
            "absent" if each.kind == "only_first" else repr(each.second),
        )
        for each in found
    ]
    print_table(("HDU", "keyword", first, second), rows, empty="the headers are the same")


async def _both(settings: Settings, first: str, second: str) -> tuple[Values, Values]:
    async with asyncio.timeout(2 * _FETCH_S):
        return (
            read_header(await _content(settings, first), first),
            read_header(await _content(settings, second), second),
        )


async def _content(settings: Settings, name: str) -> bytes:
    """Return the bytes behind a name.

    Raises
    ------
    UsageError
        There is nothing behind it.
    """
    if name.startswith(("http://", "https://")):
        return await _over_http(name)
    if "://" in name:
        return await _of_store(settings, name)
    return _local(settings, name)


def _local(settings: Settings, name: str) -> bytes:
    file = Path(name)
    return file.read_bytes() if file.is_file() else _of_journal(settings, name)


async def _over_http(url: str) -> bytes:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            answer.raise_for_status()
            return await answer.read()
    except aiohttp.ClientError as error:
        raise UsageError(f"{url} cannot be fetched: {error}") from error


async def _of_store(settings: Settings, uri: str) -> bytes:
    """Return an object by the URI that a store of the configuration gives it."""
    for name, found in settings.stores.items():
        store = open_store(name, found, registry=CollectorRegistry())
        try:
            begin = store.uri("x").removesuffix("x")
            if uri.startswith(begin):
                return await store.get(uri.removeprefix(begin))
        finally:
            await store.close()
    if uri.startswith("file://"):
        return _of_file(Path(uri.removeprefix("file://")))
    raise UsageError(f"{uri} is in none of the configured stores: add the store, or fetch the file")


def _of_file(file: Path) -> bytes:
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    return file.read_bytes()


def _of_journal(settings: Settings, obs_id: str) -> bytes:
    own = settings.headerservice
    journal_file = None if own is None else own.state_directory / FILE_NAME
    if journal_file is None or not journal_file.exists():
        raise UsageError(f"there is no file {obs_id}, and this host has no journal of headers")
    with closing(Journal.read_only(journal_file)) as journal:
        header = journal.latest(obs_id, final=True)
    if header is None:
        raise UsageError(f"there is no file {obs_id}, and the journal has no header of that name")
    return header.body
