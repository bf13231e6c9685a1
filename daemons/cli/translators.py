"""`arriero translators`: which instruments are understood, and how to add and pin one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import click

from daemons.cli.output import json_option, print_json, print_table
from daemons.runtime.errors import UsageError
from translators.fixtures import Difference, FixtureResult, run_fixtures
from translators.headerfile import read_entries


@click.group()
def translators() -> None:
    """See which instruments are understood, add one, pin what their headers mean."""


@translators.command(name="list")
@json_option
def list_(as_json: bool) -> None:  # noqa: FBT001 - click passes a flag
    """List every registered translator with where it comes from."""
    known = [*_registered()]
    if as_json:
        print_json(known)
        return
    print_table(
        ("translator", "instrument", "from", "version", "class"),
        (
            (each["name"], each["instrument"], each["origin"], each["version"], each["class"])
            for each in known
        ),
        empty="no translator is registered",
    )


def _registered() -> Iterator[dict[str, Any]]:
    from astro_metadata_translator import MetadataTranslator  # noqa: PLC0415 - slow, used here only

    from translators.plugin import translator_names  # noqa: PLC0415 - as above; registers ours

    ours = set(translator_names())
    distributions = packages_distributions()
    for name, translator in sorted(MetadataTranslator.translators.items()):
        package = translator.__module__.partition(".")[0]
        origin = "arriero" if name in ours else ", ".join(distributions.get(package, [package]))
        yield {
            "name": str(name),
            "instrument": translator.supported_instrument or _instrument(translator),
            "origin": origin,
            "version": translator.translator_version(),
            "class": f"{translator.__module__}.{translator.__qualname__}",
        }


def _instrument(translator: Any) -> str | None:
    return getattr(translator, "data_name", None)


@translators.command()
@click.argument("header", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; by default it is printed.",
)
@click.option("--hdu", type=click.IntRange(0), help="Put the header of this HDU over the first.")
def new(header: Path, output: Path | None, hdu: int | None) -> None:
    """Begin a translator for the instrument that wrote HEADER, as YAML with comments.

    No Python is needed: the file says which card gives which property. Edit it, then pin
    what it gives with `arriero translators test`.
    """
    from translators.generic import draft  # noqa: PLC0415 - slow, used here only

    entries = read_entries(header, hdu=hdu)
    text = draft(entries[0].values)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists():
        raise UsageError(f"{output} is there already; name another file, or remove it first")
    output.write_text(text)
    click.echo(f"{output} written; look at every line, the comments say what it means")


@translators.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--update", is_flag=True, help="Write what was found as what is expected.")
@json_option
def test(folder: Path, update: bool, as_json: bool) -> int:  # noqa: FBT001 - click passes flags
    """Translate the headers in FOLDER and compare with the expectations beside them.

    A fixture is a header (NAME.hdr with a card in each line, .yaml, .json or FITS) and
    NAME.expect.yaml. Exit code 0 when everything is as expected, else 1.
    """
    results = list(run_fixtures(folder, update=update))
    if as_json:
        print_json([_as_json(result) for result in results])
    else:
        for result in results:
            click.echo("\n".join(_lines(result)))
        click.echo(_sentence(results))
    return 0 if all(result.passed for result in results) else 1


def _as_json(result: FixtureResult) -> dict[str, Any]:
    return {
        "fixture": result.name,
        "passed": result.passed,
        "updated": result.updated,
        "compared": result.compared,
        "error": result.error or None,
        "differences": [
            {
                "property": each.name,
                "expected": each.expected,
                "found": each.found,
                "where": each.where,
            }
            for each in result.differences
        ],
    }


def _lines(result: FixtureResult) -> Iterator[str]:
    if result.error:
        yield f"WRONG  {result.name}"
        yield from (f"    {line}" for line in result.error.splitlines())
    elif result.differences:
        yield f"DIFFER {result.name}: {len(result.differences)} of {result.compared}"
        yield from _diff(result.differences)
    else:
        yield f"{'WROTE ' if result.updated else 'ok    '} {result.name}: {result.compared}"


def _diff(differences: Sequence[Difference]) -> Iterator[str]:
    for each in differences:
        yield f"    {each.where}: {each.name}"
        yield f"      - {_shown(each.expected)}"
        yield f"      + {_shown(each.found)}"


def _shown(value: Any) -> str:
    return "(left out)" if value is None else repr(value) if isinstance(value, str) else str(value)


def _sentence(results: Sequence[FixtureResult]) -> str:
    good = sum(result.passed for result in results)
    if good == len(results):
        return f"{good} fixtures as expected"
    return f"{good} of {len(results)} fixtures as expected; correct the others, or `--update` them"
