"""`arriero audit`: translate and check very many headers; killed, it goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from daemons.cli.audit_progress import AuditProgress
from daemons.cli.audit_state import AuditState
from daemons.cli.output import json_option, print_json, print_table
from daemons.cli.sources import Sources
from daemons.runtime.lock import InstanceLock
from translators.audit.cluster import ClusterPool
from translators.audit.judge import judge_batch
from translators.audit.model import Judge, Pool, batches_of
from translators.audit.processes import ProcessPool
from translators.audit.tally import Tally
from translators.checks.policy import policy_for


@click.command()
@click.argument("names", metavar="FILE|URI|DIR...", nargs=-1, required=True)
@click.option(
    "--state",
    "state_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where to remember what is done; the same command goes on from it.",
)
@click.option("--restart", is_flag=True, help="Forget what was done and begin anew.")
@click.option("--pattern", help="Names to take in folders, such as '*_R22_*.json'.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A site's own policy, over those of the instruments.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what was found there, a JSON object in each line.",
)
@click.option("--all", "with_clean", is_flag=True, help="Images without findings in it, too.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=lambda: os.cpu_count() or 1,
    show_default="processors",
    help="Processes.",
)
@click.option("--scheduler", help="Use this Dask cluster instead, such as tcp://host:8786.")
@click.option(
    "--batch", type=click.IntRange(1), default=500, show_default=True, help="Files at a time."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds after which a process is taken for hung.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@json_option
@click.pass_obj
def audit(path: Path | None, /, names: tuple[str, ...], **options: Any) -> int:
    """Translate and check all headers, and add up what is wrong by code, instrument and night.

    It uses all processors, or a Dask cluster, and may be killed at any time: the same
    command goes on where it was and ends with the same report. Exit code 0 when nothing
    is an error, else 1.
    """
    ask = Asked(config=path, names=names, **options)
    policy_for(None, override=ask.policy)
    with InstanceLock(_lock_path(ask.state_path), purpose=f"the audit {ask.state_path}"):
        if ask.restart:
            _forget(ask.state_path)
        state = AuditState(ask.state_path)
        try:
            with Sources(path) as sources:
                state.begin(ask.described(), sources.find(names, ask.pattern))
            _work(state, ask)
            tally = state.tally()
            if ask.report is not None:
                _write_report(state, ask.report, with_clean=ask.with_clean)
        finally:
            state.close()
    _print(tally, as_json=ask.as_json)
    return 1 if tally.by_severity["error"] else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line."""

    config: Path | None
    names: tuple[str, ...]
    state_path: Path
    restart: bool
    pattern: str | None
    policy: Path | None
    report: Path | None
    with_clean: bool
    workers: int
    scheduler: str | None
    batch: int
    timeout_s: float
    quiet: bool
    as_json: bool

    def described(self) -> dict[str, Any]:
        """Return what the audit is of; the same again goes on with it."""
        return {
            "names": [n if "://" in n else str(Path(n).absolute()) for n in self.names],
            "pattern": self.pattern,
            "policy": None if self.policy is None else self.policy.read_text(),
        }


def _work(state: AuditState, ask: Asked) -> None:
    total, done = state.counts()
    judge: Judge = partial(judge_batch, opened=Opener(ask.config), policy=ask.policy)
    batches = batches_of(state.pending(), ask.batch)
    with (
        AuditProgress(total, done, quiet=ask.quiet) as progress,
        _pool(judge, ask, left=total - done) as pool,
    ):
        try:
            for batch, verdicts in pool.run(batches):
                state.record(verdicts)
                progress.advance(len(batch))
        except KeyboardInterrupt:
            click.echo(f"stopped: {progress.sentence}; the same command goes on", err=True)
            raise
    if not ask.quiet:
        click.echo(progress.sentence, err=True)


@contextmanager
def _pool(judge: Judge, ask: Asked, *, left: int) -> Iterator[Pool]:
    if ask.scheduler is not None and left:
        cluster = ClusterPool(judge, ask.scheduler)
        try:
            yield cluster
        finally:
            cluster.close()
    else:
        yield ProcessPool(judge, ask.workers, timeout_s=ask.timeout_s)


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens files and objects in whatever process it is used."""

    config: Path | None

    def __call__(self, place: str) -> BinaryIO:
        """Open a path or a URI."""
        return _sources(self.config).open(place)


@lru_cache(maxsize=1)
def _sources(config: Path | None) -> Sources:
    """Return this process's connections, which live as long as it does."""
    return Sources(config)


def _lock_path(state: Path) -> Path:
    state.parent.mkdir(parents=True, exist_ok=True)
    return state.with_name(f"{state.name}.lock")


def _forget(state: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        state.with_name(state.name + suffix).unlink(missing_ok=True)


def _write_report(state: AuditState, path: Path, *, with_clean: bool) -> None:
    """Write the report so that nobody sees it half written."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8") as lines:
            for line in state.lines(with_clean=with_clean):
                lines.write(json.dumps(line) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _print(tally: Tally, *, as_json: bool) -> None:
    found = tally.as_json()
    if as_json:
        print_json(found)
        return
    click.echo(f"{tally.files} files, {tally.images} images, {tally.clean} without a fault")
    print_table(
        ("severity", "code", "count"),
        ((each["severity"], each["code"], each["count"]) for each in found["codes"]),
        empty="nothing was found",
    )
    columns = ("images", "clean", "error", "warning", "info")
    print_table(
        ("instrument", "day", *columns),
        (
            (each["instrument"], each["day_obs"], *(each.get(name, 0) for name in columns))
            for each in found["nights"]
        ),
        empty="no image was found",
    )
