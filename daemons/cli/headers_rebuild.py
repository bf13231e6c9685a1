"""`arriero headers rebuild`: make the header of an exposure again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import click

from daemons.bus import ControlMessage
from daemons.bus.recording.file import read_recording
from daemons.bus.sal.dictionary import load_dictionary
from daemons.cli.compose import Parts, header_service
from daemons.cli.output import json_option, print_json
from daemons.cli.settings import Settings, load, section
from daemons.runtime.clock import SystemClock
from daemons.runtime.errors import UsageError
from daemons.runtime.metrics import new_registry
from daemons.runtime.version import software_version
from headerservice.assemble import Site
from headerservice.journal import Journal
from headerservice.journal_records import StoredHeader
from headerservice.journal_thread import FILE_NAME
from headerservice.loading import definitions_path, load_definitions
from headerservice.rebuild import Rebuilt, from_journal, from_recording
from headerservice.render import to_fits_text, to_json, to_yaml
from headerservice.rules import Definitions
from headerservice.sensors import Hdu
from headerservice.settings import HeaderServiceSettings

_FORMS: Mapping[str, Callable[[tuple[Hdu, ...]], bytes]] = MappingProxyType(
    {"yaml": to_yaml, "json": to_json, "fits": to_fits_text}
)


@click.command()
@click.argument("obs_id")
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A recording of `arriero bus record`; by default the journal of this host.",
)
@click.option("--instrument", help="Whose keywords; by default the header service's.")
@click.option("--format", "form", type=click.Choice(sorted(_FORMS)), default="yaml")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; by default the standard output.",
)
@click.option("--publish", is_flag=True, help="Store and announce it as the next revision.")
@json_option
@click.pass_obj
def rebuild(
    path: Path | None,
    obs_id: str,
    *,
    recording: Path | None,
    instrument: str | None,
    form: str,
    output: Path | None,
    publish: bool,
    as_json: bool,
) -> int:
    """Make the header of OBS_ID again and say which revision it would be.

    Exit code 0 when it is complete, 1 when required keywords are missing.
    """
    settings = load(path).value
    if recording is None:
        section(settings.headerservice, "headerservice")
    rebuilt = _rebuilt(settings, obs_id, recording, instrument)
    stored = asyncio.run(_publish(settings, rebuilt)) if publish else None
    body = _FORMS[form](rebuilt.made.header.hdus)
    if output is not None:
        output.write_bytes(body)
    elif not as_json and not publish:
        click.echo(body, nl=False)
    _tell(rebuilt, stored, output, as_json=as_json)
    return 1 if rebuilt.made.header.missing else 0


def _rebuilt(
    settings: Settings, obs_id: str, recording: Path | None, instrument: str | None
) -> Rebuilt:
    own = settings.headerservice
    definitions = _definitions(settings, instrument)
    site = Site(
        software_version(),
        "" if own is None else own.test_stand,
        wcs=own is not None and own.wcs,
    )
    if recording is None and own is not None:
        with closing(Journal.read_only(own.state_directory / FILE_NAME)) as journal:
            now = SystemClock().utc()
            return from_journal(journal, obs_id, definitions, site=site, now=now)
    if recording is None:
        raise UsageError("name a recording with --from, or configure `headerservice`")
    return from_recording(
        _messages(recording), obs_id, definitions, site=site, revision=_next_revision(own, obs_id)
    )


def _messages(recording: Path) -> Callable[[], map[ControlMessage]]:
    return lambda: map(lambda each: each.message, read_recording(recording))  # noqa: C417 - a map is an iterator with a name


def _definitions(settings: Settings, instrument: str | None) -> Definitions:
    own = settings.headerservice
    if own is not None and own.keywords is not None and instrument in {None, own.instrument}:
        where = own.keywords
    elif instrument is None and own is None:
        raise UsageError("name an instrument with --instrument, or configure `headerservice`")
    else:
        default, index = ("", 0) if own is None else (own.instrument, own.index)
        where = definitions_path(instrument or default, index)
    return load_definitions(where, load_dictionary(settings.control_bus.dictionaries))


def _next_revision(own: HeaderServiceSettings | None, obs_id: str) -> int:
    """Return the revision after the latest of the journal, where there is one."""
    if own is None or not (own.state_directory / FILE_NAME).exists():
        return 1
    with closing(Journal.read_only(own.state_directory / FILE_NAME)) as journal:
        known = journal.exposure(obs_id)
        return 1 if known is None else known[0].revision + 1


async def _publish(settings: Settings, rebuilt: Rebuilt) -> StoredHeader:
    async with Parts(settings, new_registry(host=settings.site.host)) as parts:
        service = header_service(parts)
        await service.open()
        try:
            return await service.publish_again(rebuilt)
        finally:
            await service.close()


def _tell(
    rebuilt: Rebuilt, stored: StoredHeader | None, output: Path | None, *, as_json: bool
) -> None:
    header = rebuilt.made.header
    if as_json:
        print_json(
            {
                "obs_id": header.obs_id,
                "revision": header.revision,
                "status": header.status.value,
                "missing": list(header.missing),
                "basis": rebuilt.basis,
                "sha256": rebuilt.made.stored.sha256,
                "output": None if output is None else str(output),
                "published": None if stored is None else stored.key,
            }
        )
        return
    what = "is" if stored is not None else "would be"
    click.echo(
        f"{header.obs_id}: {header.status.value}, from the {rebuilt.basis}; "
        f"it {what} revision {header.revision}" + (f", {stored.key}" if stored is not None else ""),
        err=True,
    )
    if header.missing:
        click.echo(f"missing: {', '.join(header.missing)}", err=True)
