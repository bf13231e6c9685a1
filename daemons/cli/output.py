"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs, instead of text."
)
"""The `--json` of every command that prints."""


def console() -> Console:
    """Return the terminal; wide and plain when the output goes to a file or a pipe."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=200, no_color=True)


def print_json(value: Any) -> None:
    """Print a JSON value, indented."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print rows under a heading, or a sentence where there are none."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(empty)


def print_pairs(pairs: Mapping[str, Any], *, indent: str = "") -> None:
    """Print names and values, nested ones indented."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        if isinstance(value, Mapping):
            click.echo(f"{indent}{name}:" + ("" if value else " none"))
            print_pairs(value, indent=indent + "  ")
        elif isinstance(value, list | tuple):
            click.echo(f"{indent}{name:<{width}}  {', '.join(map(str, value)) or 'none'}")
        else:
            click.echo(f"{indent}{name:<{width}}  {'-' if value is None else value}")
