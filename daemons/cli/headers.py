"""`arriero headers`: keyword definitions and headers.

A command of this group is a module `headers_<command>.py` beside this one, and a row
of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from daemons.cli.lazy import LazyGroup

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "check-config": (
            "daemons.cli.headers_check:check_config",
            "Check keyword definitions, and list their keywords.",
        ),
        "rebuild": (
            "daemons.cli.headers_rebuild:rebuild",
            "Make the header of an exposure again.",
        ),
        "diff": ("daemons.cli.headers_diff:diff", "Compare two headers keyword by keyword."),
    }
)
"""Name to (module:attribute, one sentence)."""


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def headers() -> None:
    """Check keyword definitions, make headers anew, and compare them."""
