"""Walking the fields of settings models by dotted keys."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, GetJsonSchemaHandler, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from daemons.runtime.problems import KeyPath

REDACTED = "**********"
"""Stands where a secret was; the same as pydantic's `SecretStr` shows."""

_SECRET_NAME = re.compile(r"(password|passwd|secret|secret_key|secret_access_key|token)$")
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")


class Reloadable:
    """Marks a setting that may change without a restart: `Annotated[float, Reloadable()]`."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say so in the JSON Schema, for editors and for the documentation."""
        return {**handler(core_schema), "x-reloadable": True}

    def __repr__(self) -> str:
        return "Reloadable()"


def is_reloadable(field: FieldInfo) -> bool:
    """Return whether a field carries the `Reloadable` mark."""
    return any(mark is Reloadable or isinstance(mark, Reloadable) for mark in field.metadata)


def members(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without `Annotated`, `None` and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from members(option)
    elif hasattr(annotation, "__value__"):  # `type Name = ...` of Python 3.12
        yield from members(annotation.__value__)
    elif annotation is not type(None):
        yield annotation


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation allows."""
    for option in members(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option


def step(annotation: Any, key: str | int) -> Any:
    """Return the annotation of a member of a section, mapping or list; None: unknown."""
    for option in members(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            field = _field(option, key)
            if field is not None:
                return field.annotation
            continue
        origin, args = get_origin(option), get_args(option)
        if isinstance(origin, type) and args:
            if issubclass(origin, Mapping):
                return args[1]
            if isinstance(key, int) and issubclass(origin, (Sequence, set, frozenset)):
                return args[0]
    return None


def annotation_at(model: type[BaseModel], path: KeyPath) -> Any:
    """Return the annotation of a dotted key; None where the model knows no such key."""
    annotation: Any = model
    for key in path:
        annotation = step(annotation, key)
        if annotation is None:
            return None
    return annotation


def known_keys(model: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """Return the keys that a section may have; empty where any key goes."""
    found: dict[str, None] = {}
    for section in models(annotation_at(model, path) if path else model):
        found.update(
            dict.fromkeys(_key(name, field) for name, field in section.model_fields.items())
        )
    return tuple(found)


def is_secret(model: type[BaseModel], path: KeyPath) -> bool:
    """Return whether the value of a key must never be shown."""
    annotation = annotation_at(model, path)
    if any(option in (SecretStr, SecretBytes) for option in members(annotation)):
        return True
    if any(True for _ in models(annotation)):
        return False
    return bool(path) and bool(_SECRET_NAME.search(str(path[-1]).lower()))


def redact(model: type[BaseModel], path: KeyPath, value: Any) -> Any:
    """Return a value as it may be shown: without secrets, without passwords in URLs."""
    if isinstance(value, Mapping):
        return {key: redact(model, (*path, key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(model, (*path, index), item) for index, item in enumerate(value)]
    if value is not None and is_secret(model, path):
        return REDACTED
    return _URL_PASSWORD.sub(rf"\1:{REDACTED}@", value) if isinstance(value, str) else value


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return field
    return None


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name
