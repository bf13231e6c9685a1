"""`arriero translate`: what headers say of their observations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from daemons.cli.observation_text import COLUMNS, heading, text
from daemons.cli.output import json_option, print_pairs, print_table
from daemons.cli.sources import Sources
from daemons.cli.written import Written
from daemons.runtime.errors import ArrieroError, UsageError
from translators.errors import TranslatorsError
from translators.findings import Finding, Severity
from translators.headerfile import Entry, entries_of
from translators.record import Record, record_of, translator_named
from translators.sidecar import Content


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one header."""

    place: str
    file_name: str = ""
    record: Record | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """True when something is wrong that a person must look at."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def as_json(self, properties: Sequence[str]) -> dict[str, Any]:
        """Return it for programs, with some of the properties or all."""
        values = None if self.record is None else _chosen(self.record.values, properties)
        return {
            "file": self.place,
            "translator": None if self.record is None else self.record.translator,
            "observation": values,
            "findings": [finding_as_json(finding) for finding in self.findings],
        }


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding for programs."""
    told = {"code": finding.code, "severity": finding.severity.value, "sentence": finding.sentence}
    return told if finding.hdu is None else told | {"hdu": finding.hdu}


@click.command()
@click.argument("names", metavar="FILE|URI|DIR...", nargs=-1, required=True)
@click.option("--pattern", help="Names to take in folders, such as '*_R22_*.json'.")
@click.option(
    "--mode",
    type=click.Choice(["relaxed", "pedantic"]),
    default="relaxed",
    show_default=True,
    help="Leave out a property that cannot be made, with a warning; or fail the file.",
)
@click.option("-p", "--property", "properties", multiple=True, help="Only this one; repeat.")
@click.option("--translator", help="Use this one, whatever the header says.")
@click.option("--hdu", type=click.IntRange(0), help="Put the header of this HDU over the first.")
@json_option
@click.option("--yaml", "as_yaml", is_flag=True, help="Print YAML, for programs.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but what is wrong.")
@click.option("--sidecar", is_flag=True, help="Write a JSON sidecar beside each file.")
@click.option("--index", is_flag=True, help="Write an _index.json into each folder.")
@click.option(
    "--content",
    type=click.Choice([each.value for each in Content]),
    default=Content.METADATA.value,
    show_default=True,
    help="What sidecars and indexes hold: the header as it is, or the translated record.",
)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Write them into this folder."
)
@click.option("--overwrite", is_flag=True, help="Replace sidecars and indexes that differ.")
@click.pass_obj
def translate(
    path: Path | None, /, names: tuple[str, ...], pattern: str | None, **options: Any
) -> int:
    """Tell what the headers of files say of their observations.

    Takes FITS files (.gz and .fz too), JSON sidecars and index files, YAML, header text, folders
    with all below them, and s3:// URIs of the configured stores (a prefix ends in a slash).
    Exit code 0 when every file could be translated, else 1.
    """
    ask = Asked(**options)
    with Sources(path) as sources:
        outcomes = _outcomes(sources, sources.find(names, pattern), ask)
        failed = _print(outcomes, ask)
        found = ask.written.finish() if ask.written else ()
    for finding in found:
        click.echo(f"{finding.severity} {finding.code}: {finding.sentence}", err=True)
    return 1 if failed or any(each.severity is Severity.ERROR for each in found) else 0


@dataclass(slots=True)
class Asked:
    """The options of the command line."""

    mode: str
    properties: tuple[str, ...]
    translator: str | None
    hdu: int | None
    as_json: bool
    as_yaml: bool
    quiet: bool
    sidecar: bool
    index: bool
    content: str
    into: Path | None
    overwrite: bool
    written: Written | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.properties = tuple(
            name.strip() for each in self.properties for name in each.split(",")
        )
        if sum((self.as_json, self.as_yaml, self.quiet)) > 1:
            raise UsageError("--json, --yaml and --quiet exclude each other; give one")
        if self.sidecar or self.index:
            self.written = Written(
                Content(self.content),
                sidecars=self.sidecar,
                indexes=self.index,
                into=self.into,
                overwrite=self.overwrite,
            )


def _outcomes(sources: Sources, places: Iterator[str], ask: Asked) -> Iterator[Outcome]:
    chosen = None if ask.translator is None else translator_named(ask.translator)
    known = None if chosen is None else set(chosen.all_properties)
    _check_properties(ask.properties, known)

    def made(entry: Entry) -> Outcome:
        try:
            record = record_of(entry, pedantic=ask.mode == "pedantic", translator=chosen)
            found = record.findings
            if ask.written is not None:
                found += tuple(ask.written.take(entry, record))
        except (TranslatorsError, ArrieroError) as error:
            return Outcome(entry.place, entry.file_name, findings=(_wrong(error),))
        return Outcome(entry.place, entry.file_name, record, found)

    for place in places:
        try:
            with sources.open(place) as source:
                entries = entries_of(source, place, hdu=ask.hdu)
        except (TranslatorsError, ArrieroError) as error:
            yield Outcome(place, findings=(_wrong(error),))
        except OSError as error:
            sentence = f"{place} cannot be read: {error.strerror or error}"
            yield Outcome(place, findings=(Finding("file.unreadable", Severity.ERROR, sentence),))
        else:
            yield from map(made, entries)


def _check_properties(names: Sequence[str], known: set[str] | None) -> None:
    from astro_metadata_translator import PROPERTIES  # noqa: PLC0415 - `--help` is faster without

    known = known or set(PROPERTIES)
    unknown = [name for name in names if name not in known and not name.startswith("ext_")]
    if unknown:
        raise UsageError(
            f"no such property: {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


def _wrong(error: TranslatorsError | ArrieroError) -> Finding:
    return Finding(error.code, Severity.ERROR, str(error))


def _chosen(values: Mapping[str, Any], properties: Sequence[str]) -> dict[str, Any]:
    if not properties:
        return {name: values[name] for name in sorted(values) if not name.startswith("_")}
    return {name: values.get(name) for name in properties}


def _print(outcomes: Iterator[Outcome], ask: Asked) -> bool:
    """Print what was found in the form that was asked for; tell whether a file failed."""
    if ask.as_json:
        return _print_each(outcomes, ask, begin="[", between=",", end="\n]", form=_json_item)
    if ask.as_yaml:
        return _print_each(outcomes, ask, begin="", between="", end="", form=_yaml_item)
    done = list(_complained(outcomes))
    shown = [(each.place, each.record) for each in done if each.record is not None]
    if not ask.quiet:
        _print_table(shown, ask.properties)
    return any(each.failed for each in done)


def _print_each(
    outcomes: Iterator[Outcome],
    ask: Asked,
    *,
    begin: str,
    between: str,
    end: str,
    form: Callable[[Any], str],
) -> bool:
    failed = False
    click.echo(begin, nl=False)
    for number, each in enumerate(outcomes):
        failed |= each.failed
        click.echo((between if number else "") + form(each.as_json(ask.properties)), nl=False)
    click.echo(end or None)
    return failed


def _json_item(value: Any) -> str:
    return "\n" + json.dumps(value, indent=2)


def _yaml_item(value: Any) -> str:
    return yaml.safe_dump([value], sort_keys=False, allow_unicode=True)


def _complained(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Say what is wrong with each, on the standard error stream."""
    for each in outcomes:
        for finding in each.findings:
            click.echo(
                f"{each.place}: {finding.severity} {finding.code}: {finding.sentence}", err=True
            )
        yield each


def _print_table(shown: list[tuple[str, Record]], properties: Sequence[str]) -> None:
    if len(shown) == 1 and not properties:
        ((place, record),) = shown
        values = _chosen(record.values, ())
        click.echo(f"{place} (translator {record.translator})")
        print_pairs({name: text(name, value) for name, value in values.items()}, indent="  ")
        return
    columns = properties or COLUMNS
    print_table(
        ("file", *map(heading, columns)),
        (
            (place.rpartition("/")[2], *(text(name, record.values.get(name)) for name in columns))
            for place, record in shown
        ),
        empty="no header was translated",
    )
