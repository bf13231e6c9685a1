"""Read a YAML file so that a fault can be told with its file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from translators.errors import InstrumentDataError

ModelT = TypeVar("ModelT", bound=BaseModel)
Place = tuple[str | int, ...]
"""Keys and indices from the top of the file down to a value."""

_UNKNOWN_KEY = "extra_forbidden"


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file and where it stands."""

    path: Path
    data: Any
    lines: dict[Place, int]
    """Line of each key or item, from 1."""

    def where(self, place: Place) -> str:
        """Return `file:line` of a value, or of what contains it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return f"{self.path}:{self.lines[place[:length]]}"
        return str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """Read a file.

    Raises
    ------
    InstrumentDataError
        It cannot be read, is no YAML, or a key stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise InstrumentDataError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: also bytes that are no UTF-8.
        raise InstrumentDataError(f"{path} is no YAML: {error}") from error
    lines: dict[Place, int] = {}
    if node is not None:
        for place, line in _places(node, ()):
            if place in lines:
                raise InstrumentDataError(
                    f"{path}:{line}: {place[-1]} stands twice, first in line {lines[place]}"
                )
            lines[place] = line
    return YamlFile(path, {} if data is None else data, lines)


def _places(node: Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _places(value, here)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            here = (*place, index)
            yield here, value.start_mark.line + 1
            yield from _places(value, here)


def validated(file: YamlFile, model: type[ModelT]) -> ModelT:
    """Return the content of a file as a model.

    Raises
    ------
    InstrumentDataError
        It does not fit; one line for each fault, with file and line.
    """
    try:
        return model.model_validate(file.data)
    except ValidationError as error:
        faults = [_fault(fault["type"], fault["loc"], fault["msg"]) for fault in error.errors()]
        places = [file.where(_place(fault["loc"], fault["msg"], model)) for fault in error.errors()]
        told = [f"{place}: {fault}" for place, fault in zip(places, faults, strict=True)]
        known = f"known at the top are {', '.join(model.model_fields)}"
        raise InstrumentDataError("\n".join(told) + f"\n{known}") from error


def _place(place: Place, message: str, model: type[BaseModel]) -> Place:
    """Return where a fault is; one of the whole file may name a key in front of a colon."""
    if place:
        return place
    named = message.removeprefix("Value error, ").partition(":")[0]
    return (named,) if named in model.model_fields else ()


def _fault(kind: str, place: Place, message: str) -> str:
    name = ".".join(map(str, place)) or "the file"
    if kind == _UNKNOWN_KEY:
        return f"unknown key {name}"
    return f"{name}: {message.removeprefix('Value error, ')}"
