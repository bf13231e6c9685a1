"""One thing that is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daemons.runtime.errors import SettingsError

KeyPath = tuple[str | int, ...]
"""Where a value is in a configuration: keys of mappings, indices of lists."""


def dotted(path: Sequence[str | int]) -> str:
    """Write a path the way people say it: `forwarder.stores.0.endpoint`."""
    return ".".join(str(part) for part in path)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the form `where: key: what; hint`."""

    where: str
    """`file:line`, `environment ARRIERO_X` or `command line`."""
    key: str
    """Dotted key; empty when the problem is the file itself."""
    what: str
    """What is wrong."""
    hint: str = ""
    """What to do."""

    def __str__(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.what}; {self.hint}" if self.hint else f"{place}: {self.what}"


def settings_error(problems: Iterable[Problem]) -> SettingsError:
    """Return the exception that lists every problem, one a line."""
    lines = tuple(str(problem) for problem in problems)
    return SettingsError("\n".join(lines), problems=lines)
