"""`arriero headers check-config`: keyword definitions, without running anything."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daemons.bus import Topic
from daemons.bus.sal.dictionary import SalDictionary, load_dictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.cli.output import json_option, print_json, print_table
from daemons.cli.settings import Settings, load
from daemons.runtime.errors import SettingsError, UsageError
from headerservice.catalogue import Catalogue, RegistryCatalogue, ask_registry
from headerservice.describe import KeywordRow, rows
from headerservice.loading import definitions_path, load_definitions, shipped_definitions
from headerservice.rules import Definitions

_UNUSABLE = SettingsError.exit_code


@click.command(name="check-config")
@click.argument("what", required=False, metavar="[FILE|INSTRUMENT]")
@click.option("--index", default=0, help="salIndex, for an instrument whose cameras differ.")
@click.option(
    "--dictionary",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file like config/sal/topics.json with further topics; repeat for several.",
)
@click.option(
    "--registry",
    metavar="URL",
    help="Check against the schemas of a live registry too, such as http://registry:8081.",
)
@json_option
@click.pass_context
def check_config(
    context: click.Context,
    *,
    what: str | None,
    index: int,
    dictionary: tuple[Path, ...],
    registry: str | None,
    as_json: bool,
) -> None:
    """Say whether keyword definitions can be used, and list their keywords.

    FILE is a definition file, INSTRUMENT one that arriero ships; by default those that the
    configuration's header service uses. Every field must exist, with the declared type and
    unit. Ends with 78 and a line for each fault, with file and line, where they cannot be used.
    """
    settings = load(context.obj).value
    path = _path(what, index, settings)
    known = load_dictionary((*settings.control_bus.dictionaries, *dictionary))
    unregistered: tuple[Topic, ...] = ()
    try:
        definitions = load_definitions(path, known)
        if registry is not None:
            catalogue, unregistered = asyncio.run(
                _registered(registry, known, definitions, settings.control_bus.subname)
            )
            definitions = load_definitions(path, catalogue)
    except SettingsError as error:
        _tell_problems(path, error.problems, as_json=as_json)
        context.exit(_UNUSABLE)
    _tell_keywords(path, definitions, unregistered, as_json=as_json)


def _path(what: str | None, index: int, settings: Settings) -> Path:
    if what is None:
        service = settings.headerservice
        if service is None:
            raise UsageError(
                "name a definition file or an instrument, or give a configuration with a section "
                "`headerservice` (arriero -c FILE headers check-config)"
            )
        return service.keywords or definitions_path(service.instrument, service.index)
    path = Path(what)
    if path.is_file():
        return path
    shipped = definitions_path(what, index) if path.name == what else path
    if not shipped.is_file():
        known = sorted({each.parent.name for each in shipped_definitions()})
        raise UsageError(
            f"{what} is no file and no instrument with keyword definitions; known: "
            f"{', '.join(known)}"
        )
    return shipped


async def _registered(
    url: str, dictionary: SalDictionary, definitions: Definitions, subname: str
) -> tuple[Catalogue, tuple[Topic, ...]]:
    """Return what a registry has, and the topics that it lacks."""
    registry = SchemaRegistry(url)
    try:
        found = await ask_registry(registry, definitions.needed, subname=subname)
    finally:
        await registry.close()
    bare = {Topic(topic.component, topic.name) for topic in definitions.needed}
    return RegistryCatalogue(dictionary, found), tuple(sorted(bare - found.keys()))


def _tell_problems(path: Path, problems: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "file": str(path), "problems": list(problems)})
        return
    for problem in problems:
        click.echo(problem, err=True)
    click.echo(f"{path}: {len(problems)} fault(s); it cannot be used", err=True)


def _tell_keywords(
    path: Path, definitions: Definitions, unregistered: tuple[Topic, ...], *, as_json: bool
) -> None:
    found = rows(definitions)
    if as_json:
        report: dict[str, Any] = {
            "ok": True,
            "file": str(path),
            "files": [str(each) for each in definitions.files],
            "instrument": definitions.instrument,
            "digest": definitions.digest,
            "keywords": [asdict(row) for row in found],
            "topics": sorted(str(topic) for topic in definitions.needed),
            "unregistered": [str(topic) for topic in unregistered],
        }
        print_json(report)
        return
    print_table(
        ("keyword", "HDU", "required", "at", "source"),
        ((row.keyword, row.hdu, row.required, row.at, _source(row)) for row in found),
        empty="no keywords",
    )
    for topic in unregistered:
        click.echo(f"note: the registry has no schema of {topic} yet; the dictionary's was used")
    click.echo(
        f"{path}: fine; {len(found)} keywords of {definitions.instrument} out of "
        f"{len(definitions.needed)} topics"
    )


def _source(row: KeywordRow) -> str:
    return ", else ".join(row.sources)
