"""The summary at the end of a demonstration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from daemons.cli.demonstration.drive import Outcome
from daemons.cli.demonstration.layout import Layout
from daemons.cli.demonstration.watch import percentile
from daemons.cli.output import print_table

_FAULTS_SHOWN = 20


def stage_seconds(outcome: Outcome) -> dict[str, list[float]]:
    """Return the seconds that each stage took, a value per image."""
    written = {
        Path(entry.file).name: datetime.fromisoformat(entry.written_at)
        for entry in outcome.manifest
    }
    watch = outcome.watch
    return {
        "written to stored": _between(written, watch.stored_at),
        "stored to registered": _between(watch.stored_at, watch.registered_at),
        "written to registered": _between(written, watch.registered_at),
    }


def _between(begin: Mapping[str, datetime], end: Mapping[str, datetime]) -> list[float]:
    return [(end[name] - begin[name]).total_seconds() for name in end if name in begin]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the summary for programs."""
    proof = outcome.proof
    return {
        "ok": proof.whole and outcome.in_order,
        "made": proof.made,
        "made_bytes": proof.made_bytes,
        "stored": proof.stored,
        "identical": proof.identical,
        "images": proof.images,
        "registered": proof.registered,
        "headers": {name: each.header for name, each in outcome.watch.exposures.items()},
        "faults": list(proof.faults),
        "troubles": outcome.watch.troubles,
        "seconds": round(outcome.seconds, 2),
        "stages": {
            stage: {"p50_s": percentile(values, 0.5), "max_s": max(values, default=None)}
            for stage, values in stage_seconds(outcome).items()
        },
    }


def print_report(outcome: Outcome, layout: Layout) -> None:
    """Print the summary for people."""
    proof = outcome.proof
    headers = [each.header for each in outcome.watch.exposures.values()]
    click.echo()
    print_table(
        ("", "files"),
        (
            ("made by the camera", f"{proof.made} ({proof.made_bytes / 1e6:.0f} MB)"),
            ("stored", f"{proof.stored}"),
            ("byte-identical, read back, by sha256", f"{proof.identical}"),
            ("images registered, as the Butler reports", f"{proof.registered} of {proof.images}"),
            ("complete headers", f"{headers.count('complete')} of {len(headers)}"),
        ),
        empty="",
    )
    click.echo()
    print_table(
        ("stage", "median s", "p95 s", "worst s"),
        ((stage, *_figures(values)) for stage, values in stage_seconds(outcome).items()),
        empty="",
    )
    click.echo()
    _print_some(outcome.watch.troubles)
    _print_some(proof.faults)
    verdict = "everything arrived" if proof.whole else f"{len(proof.faults)} faults"
    click.echo(f"{verdict}, in {outcome.seconds:.1f} s; the log is {layout.log}")


def _figures(values: list[float]) -> list[str]:
    return [
        "-" if value is None else f"{value:.3f}"
        for value in (percentile(values, 0.5), percentile(values, 0.95), max(values, default=None))
    ]


def _print_some(sentences: Iterable[str]) -> None:
    listed = list(sentences)
    for sentence in listed[:_FAULTS_SHOWN]:
        click.echo(sentence)
    if len(listed) > _FAULTS_SHOWN:
        click.echo(f"(and {len(listed) - _FAULTS_SHOWN} more)")
