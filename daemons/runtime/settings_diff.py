"""What changed between two settings, and what of it needs a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from daemons.runtime.problems import KeyPath, dotted
from daemons.runtime.settings_fields import is_reloadable, redact


class Change(NamedTuple):
    """The two values of a setting that changed, as they may be shown."""

    before: Any
    after: Any


class SettingsDiff(NamedTuple):
    """What changed between two settings."""

    reloadable: Mapping[str, Change]
    """Changes that a running service can take over, by dotted key."""
    restart: tuple[str, ...]
    """Dotted keys of changes that need a restart."""


def diff(old: BaseModel, new: BaseModel) -> SettingsDiff:
    """Compare two settings of the same model."""
    root = type(new)
    reloadable: dict[str, Change] = {}
    restart: list[str] = []
    for path, before, after, live in _changes(old, new, (), live=False):
        if live:
            reloadable[dotted(path)] = Change(
                redact(root, path, _plain(before)), redact(root, path, _plain(after))
            )
        else:
            restart.append(dotted(path))
    return SettingsDiff(reloadable, tuple(restart))


def _changes(
    old: Any, new: Any, path: KeyPath, *, live: bool
) -> Iterator[tuple[KeyPath, Any, Any, bool]]:
    if old == new:
        return
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name, field in type(old).model_fields.items():
            yield from _changes(
                getattr(old, name),
                getattr(new, name),
                (*path, name),
                live=live or is_reloadable(field),
            )
    elif isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key, value in old.items():
            yield from _changes(value, new[key], (*path, key), live=live)
    else:
        yield path, old, new, live


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", fallback=str)
    return (
        value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)
    )
