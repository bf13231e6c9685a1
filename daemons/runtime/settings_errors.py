"""pydantic's findings as sentences with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from daemons.runtime.problems import KeyPath, Problem, dotted
from daemons.runtime.settings_fields import is_secret, known_keys, redact

_SHOWN_LENGTH = 60
"""Values longer than this are not repeated in a message."""
_LISTED_KEYS = 12
"""Sections with more keys than this are not listed in a hint."""
_AT_KEY = frozenset({"missing", "extra_forbidden"})
"""Findings whose last location is a key that the data need not have."""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Mapping[str, Any],
    where: Callable[[KeyPath], str],
) -> Iterator[Problem]:
    """Yield a problem for each finding; `where` tells the origin of a key."""
    seen = set()
    for finding in error.errors(include_url=False):
        path = _data_path(finding, data)
        problem = Problem(
            where(path), dotted(path), _what(finding, model, path), _hint(finding, model, path)
        )
        if problem not in seen:
            seen.add(problem)
            yield problem


def _data_path(finding: ErrorDetails, data: Any) -> KeyPath:
    """Return where in the data a finding is: its location without the names of union members."""
    path: list[str | int] = []
    location = finding["loc"]
    for position, part in enumerate(location):
        if _holds(data, part):
            path.append(part)
            data = data[part]
        elif position == len(location) - 1 and finding["type"] in _AT_KEY:
            path.append(part)
    return tuple(path)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)


def _what(finding: ErrorDetails, model: type[BaseModel], path: KeyPath) -> str:
    kind = finding["type"]
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "is required"
    cause = finding.get("ctx", {}).get("error")
    message = str(cause) if kind in ("value_error", "assertion_error") and cause else finding["msg"]
    message = message[:1].lower() + message[1:]
    shown = _shown(finding["input"], model, path)
    return f"{message}, not {shown}" if shown else message


def _shown(value: Any, model: type[BaseModel], path: KeyPath) -> str:
    if not isinstance(value, (str, int, float)) or is_secret(model, path):
        return ""
    text = repr(redact(model, path, value))
    return text if len(text) <= _SHOWN_LENGTH else ""


def _hint(finding: ErrorDetails, model: type[BaseModel], path: KeyPath) -> str:
    kind = finding["type"]
    if kind == "extra_forbidden":
        return _nearest(str(path[-1]), known_keys(model, path[:-1]))
    if kind == "string_type" and isinstance(finding["input"], (bool, int, float)):
        return "put the value in quotes"
    if kind in ("model_type", "model_attributes_type") and finding["input"] is None:
        return "write its keys below it, or remove it"
    return ""


def _nearest(key: str, known: tuple[str, ...]) -> str:
    if key in known:
        return "it goes with another kind of this section"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if known and len(known) <= _LISTED_KEYS:
        return "known here: " + ", ".join(known)
    return "remove it, or see `arriero config schema`"
