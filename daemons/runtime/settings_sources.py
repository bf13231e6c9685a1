"""What the environment and the command line say about the configuration.

pydantic-settings decides how text becomes a value (its `EnvSettingsSource`
knows models, unions, JSON); it is asked about one variable at a time, so that
each value keeps its origin and each mistake is told.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings import SettingsError as UnreadableValueError

from daemons.runtime.errors import SettingsError
from daemons.runtime.problems import KeyPath, Problem, dotted
from daemons.runtime.settings_fields import annotation_at, known_keys, members

DELIMITER = "__"
"""Stands for the dot of a dotted key in the name of an environment variable."""

COMMAND_LINE = "command line"
"""Origin of an override."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value from outside the file."""

    path: KeyPath
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class FromOutside:
    """What the environment or the command line says."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...] = ()
    """Variables with the prefix that resemble no setting; another program's."""


def environment_entries(
    model: type[BaseModel], environ: Mapping[str, str], prefix: str, file_data: Mapping[str, Any]
) -> FromOutside:
    """Read every variable that begins with the prefix, shorter names first."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    ignored: list[str] = []
    names = sorted(name for name in environ if name.startswith(prefix) and name != prefix)
    for name in sorted(names, key=lambda name: name.count(DELIMITER)):
        parts = tuple(name[len(prefix) :].lower().split(DELIMITER))
        origin = f"environment {name}"
        if parts[0] not in known_keys(model, ()):
            problem = _unknown(model, parts, origin)
            if problem is None:
                ignored.append(name)
            else:
                problems.append(problem)
            continue
        try:
            entries.append(Entry(*_settle(model, parts, environ[name], file_data), origin))
        except SettingsError as error:
            problems.append(Problem(origin, dotted(parts), str(error)))
    return FromOutside(tuple(entries), tuple(problems), tuple(ignored))


def override_entries(
    model: type[BaseModel], overrides: Mapping[str, Any], file_data: Mapping[str, Any]
) -> FromOutside:
    """Read values by dotted key; text is decoded as in the environment."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for key, value in overrides.items():
        parts = tuple(key.split("."))
        if not isinstance(value, str) or annotation_at(model, parts) is None:
            entries.append(Entry(_spelling(parts, file_data), value, COMMAND_LINE))
            continue
        try:
            entries.append(Entry(*_settle(model, parts, value, file_data), COMMAND_LINE))
        except SettingsError as error:
            problems.append(Problem(COMMAND_LINE, key, str(error)))
    return FromOutside(tuple(entries), tuple(problems))


def _settle(
    model: type[BaseModel], parts: tuple[str, ...], text: str, file_data: Mapping[str, Any]
) -> tuple[KeyPath, Any]:
    """Return the key as the file spells it, and the text as a value."""
    if text == "null" and _may_be_null(model, parts):
        return _spelling(parts, file_data), None
    source = EnvSettingsSource(
        cast("type[BaseSettings]", model),
        case_sensitive=False,
        env_prefix="",
        env_nested_delimiter=DELIMITER,
    )
    source.env_vars = {DELIMITER.join(parts).lower(): text}
    try:
        value: Any = source()
    except UnreadableValueError as error:
        raise SettingsError(
            'is no JSON; a list is written ["a", "b"], a mapping {"a": 1}'
        ) from error
    for part in parts:
        value = _member(value, part)
    return _spelling(parts, file_data), value


def _member(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if str(key).lower() == part.lower():
                return item
    raise SettingsError("names a key inside a value that is not a section")


def _may_be_null(model: type[BaseModel], parts: tuple[str, ...]) -> bool:
    annotation = annotation_at(model, parts)
    return annotation is not None and str not in members(annotation)


def _spelling(parts: tuple[str, ...], data: Any) -> KeyPath:
    """Return the keys in the case that the file has them in."""
    out: list[str | int] = []
    for part in parts:
        keys = list(data) if isinstance(data, Mapping) else []
        spelled = next((key for key in keys if str(key).lower() == part.lower()), part)
        data = data.get(spelled) if isinstance(data, Mapping) else None
        out.append(spelled)
    return tuple(out)


def _unknown(model: type[BaseModel], parts: tuple[str, ...], origin: str) -> Problem | None:
    near = difflib.get_close_matches(parts[0], known_keys(model, ()), n=1, cutoff=0.75)
    if not near and len(parts) == 1:
        return None
    hint = f"did you mean `{near[0]}`?" if near else "unset the variable"
    return Problem(origin, dotted(parts), "unknown key", hint)
