"""How far an audit is, with rate and time to go: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


class AuditProgress:
    """Tells on the standard error stream how many files are done; a context manager.

    Parameters
    ----------
    total
        How many files there are.
    done
        How many were done before.
    quiet
        Tell nothing.
    """

    def __init__(self, total: int, done: int, *, quiet: bool) -> None:
        self._total = total
        self._done = done
        self._began_with = done
        self._began = self._told = time.monotonic()
        self._exits = ExitStack()
        terminal = Console(stderr=True)
        self._tell: Callable[[int], None] = self._say
        if quiet:
            self._tell = lambda _: None
        elif terminal.is_terminal:
            self._tell = self._bar(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._exits.close()

    def advance(self, count: int) -> None:
        """Say that some more are done."""
        self._done += count
        self._tell(count)

    @property
    def sentence(self) -> str:
        """How far it is, in words."""
        elapsed = max(time.monotonic() - self._began, 1e-6)
        rate = (self._done - self._began_with) / elapsed
        left_s = (self._total - self._done) / rate if rate else 0.0
        return f"{self._done} of {self._total} files, {rate:,.0f}/s" + (
            f", about {_duration(left_s)} to go" if left_s else ""
        )

    def _bar(self, terminal: Console) -> Callable[[int], None]:
        columns = (
            TextColumn("audit"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        bar = self._exits.enter_context(Progress(*columns, console=terminal, transient=True))
        task = bar.add_task("audit", total=self._total, completed=self._done)
        return lambda count: bar.advance(task, count)

    def _say(self, _count: int) -> None:
        if time.monotonic() - self._told >= _LINE_EVERY_S:
            self._told = time.monotonic()
            click.echo(self.sentence, err=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
