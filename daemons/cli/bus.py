"""`arriero bus`: the control bus in a file, and out of it again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click

from daemons.bus import ForwardingBus, Topic
from daemons.bus.address import BusKind
from daemons.bus.control.factory import open_control_bus
from daemons.bus.recording.file import RecordingError, RecordingWriter, Rotation
from daemons.bus.recording.record import RecordReport, record
from daemons.bus.recording.replay import ReplayPlan, ReplayReport, replay
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.settings_control import ControlBusSettings
from daemons.cli.output import json_option, print_json
from daemons.cli.settings import Settings, load
from daemons.runtime.clock import SystemClock
from daemons.runtime.errors import UsageError
from daemons.runtime.health import HealthBoard
from daemons.runtime.logging import configure_logging
from headerservice.definitions import parse_topic
from headerservice.loading import definitions_path, load_definitions
from translators.resources import config_root

ResultT = TypeVar("ResultT")

_PRODUCTION = "sal"
"""Name of the bus that a real observatory listens to."""
_MEGABYTE = 1 << 20


@click.group()
def bus() -> None:
    """Record the control bus into a file, and replay it."""


@bus.command("record")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="COMPONENT[:INDEX].TOPIC",
    help="A topic to record; may be repeated.",
)
@click.option(
    "--instrument",
    "instruments",
    multiple=True,
    help="Record what the headers of this instrument need; by default the header service's.",
)
@click.option("--for", "for_s", type=click.FloatRange(min=0), help="Seconds to record.")
@click.option("--limit", type=click.IntRange(min=1), help="Messages to record.")
@click.option("--rotate-mb", default=256, show_default=True, type=click.IntRange(min=1))
@click.option("--rotate-minutes", default=60.0, show_default=True, type=click.FloatRange(min=0.01))
@json_option
@click.pass_obj
def record_command(  # noqa: PLR0913 - the options of a command
    path: Path | None,
    file: Path,
    *,
    topics: tuple[str, ...],
    instruments: tuple[str, ...],
    for_s: float | None,
    limit: int | None,
    rotate_mb: int,
    rotate_minutes: float,
    as_json: bool,
) -> None:
    """Record the control bus into FILE (.jsonl.gz) until SIGINT or SIGTERM.

    A full file is followed by FILE-0001, FILE-0002, ... What was written can be read
    also when the recorder is killed. Nothing is ever overwritten.
    """
    settings = load(path).value
    configure_logging(level="WARNING", host=settings.site.host, service="bus")
    wanted = _topics(settings, topics, instruments)
    writer = RecordingWriter(
        file,
        about={"bus": str(settings.control_bus.address), "topics": sorted(map(str, wanted))},
        rotation=Rotation(max_bytes=rotate_mb * _MEGABYTE, max_s=rotate_minutes * 60),
    )

    async def work(control_bus: ForwardingBus) -> RecordReport:
        return await record(
            control_bus,
            wanted,
            writer,
            clock=SystemClock(),
            ready=lambda: click.echo(f"recording {len(wanted)} topics into {file}", err=True),
            limit=limit,
            stop=_told_to_stop(for_s),
        )

    try:
        report = asyncio.run(_with_bus(settings.control_bus, work))
    except OSError as error:
        raise RecordingError(
            f"{file} takes no more ({error.strerror}): make room; what was written can be read"
        ) from error
    told = {"messages": report.messages, "files": report.parts, "topics": dict(report.by_topic)}
    if as_json:
        print_json(told)
    else:
        click.echo(f"{report.messages} messages of {len(report.by_topic)} topics in {file}")


@bus.command("replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--to", "url", help="Bus to send to; by default the one of the configuration.")
@click.option("--registry", "registry_url", help="Schema registry that goes with --to.")
@click.option("--subname", help="Second part of Kafka topics, and the prefix on MQTT.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="How many times the pace at which it was recorded.",
)
@click.option("--fast", is_flag=True, help="As fast as the bus takes it.")
@click.option("--times", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--shift", "shift_s", default=0.0, help="Seconds by which all times are moved.")
@click.option("--now", "to_now", is_flag=True, help="Move all times so that it happens now.")
@click.option("--onto-production", is_flag=True, help="Allow a bus named `sal`.")
@json_option
@click.pass_obj
def replay_command(  # noqa: PLR0913 - the options of a command
    path: Path | None,
    file: Path,
    *,
    url: str | None,
    registry_url: str | None,
    subname: str | None,
    speed: float,
    fast: bool,
    times: int,
    shift_s: float,
    to_now: bool,
    onto_production: bool,
    as_json: bool,
) -> int:
    """Send the messages of FILE again, as their senders sent them.

    Exit code 0 when every message was sent, 1 when the bus refuses topics.
    """
    host = load(path).value
    configure_logging(level="WARNING", host=host.site.host, service="bus")
    settings = _target(host.control_bus, url, registry_url, subname)
    _spare_production(settings, allowed=onto_production)
    plan = ReplayPlan(
        speed=None if fast else speed,
        times=times,
        shift_s=shift_s,
        to_now=to_now,
        in_order=settings.address.kind is not BusKind.KAFKA,
    )
    report = asyncio.run(
        _with_bus(settings, lambda target: replay(file, target, plan, clock=SystemClock()))
    )
    _tell_replay(report, file, as_json=as_json)
    return 1 if report.refused else 0


def _tell_replay(report: ReplayReport, file: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"sent": report.sent, "left_out": report.left_out, "refused": dict(report.refused)}
        )
        return
    click.echo(f"{report.sent} messages of {file} were sent")
    for topic, reason in report.refused.items():
        click.echo(f"left out {topic}: {reason}")


def _topics(
    settings: Settings, named: Iterable[str], instruments: tuple[str, ...]
) -> frozenset[Topic]:
    """Return what to record: the topics named, and those that instruments' headers need."""
    try:
        topics = {parse_topic(text) for text in named}
    except ValueError as error:
        raise UsageError(f"--topic: {error}") from error
    if not topics and not instruments:
        own = settings.headerservice
        instruments = _shipped() if own is None else (own.instrument,)
    dictionary = load_dictionary(settings.control_bus.dictionaries)
    index = 0 if settings.headerservice is None else settings.headerservice.index
    for instrument in instruments:
        found = load_definitions(definitions_path(instrument, index), dictionary)
        topics |= {*found.event_topics, *found.telemetry_topics}
    return frozenset(topics)


def _shipped() -> tuple[str, ...]:
    """Return the instruments that have keyword definitions."""
    files = (config_root() / "instruments").glob("*/keywords.yaml")
    return tuple(sorted(file.parent.name for file in files))


def _target(
    settings: ControlBusSettings, url: str | None, registry_url: str | None, subname: str | None
) -> ControlBusSettings:
    given = {"url": url, "registry_url": registry_url, "subname": subname, "prefix": subname}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return ControlBusSettings.model_validate(settings.model_dump() | changes)
    except ValueError as error:
        raise UsageError(f"--to, --registry, --subname: {error}") from error


def _spare_production(settings: ControlBusSettings, *, allowed: bool) -> None:
    kind = settings.address.kind
    name = settings.prefix if kind is BusKind.MQTT else settings.subname
    if kind is not BusKind.MEMORY and name == _PRODUCTION and not allowed:
        raise UsageError(
            f"an observatory may listen to {settings.address} under the name `{_PRODUCTION}`: give "
            "another --subname, or --onto-production if that is meant"
        )


async def _with_bus(
    settings: ControlBusSettings, work: Callable[[ForwardingBus], Awaitable[ResultT]]
) -> ResultT:
    control_bus = open_control_bus(
        settings, identity="arriero-bus", clock=SystemClock(), health=HealthBoard()
    )
    try:
        return await work(control_bus)
    finally:
        await control_bus.close()


def _told_to_stop(after_s: float | None) -> asyncio.Event:
    """Return what is set by SIGINT, by SIGTERM, and when a time is over."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if after_s is not None:
        loop.call_later(after_s, told.set)
    return told
