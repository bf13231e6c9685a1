"""YAML the way a configuration wants it: lines kept, nothing guessed.

PyYAML composes the document; what its scalars mean is decided here, after the
core schema of YAML 1.2.2 (section 10.3.2), because YAML 1.1 has surprises for
people who write filter and site names:

* `NO`, `on`, `yes` are strings (and still true or false for a boolean setting);
* dates, times and `1:30` are strings;
* a number with a leading zero is refused: 1.1 reads `0644` as 420, 1.2 as 644;
* duplicate keys, merge keys and tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from daemons.runtime.problems import KeyPath, Problem, dotted, settings_error

_PLAIN = "plain"
"""Tag of a scalar without quotes and without a tag of its own."""
_PLAIN_TAGS = {_PLAIN, "tag:yaml.org,2002:str"}
_MAP_TAG = "tag:yaml.org,2002:map"
_SEQ_TAG = "tag:yaml.org,2002:seq"

_MAX_NODES = 100_000
"""More nodes than this, aliases expanded, are no configuration but an accident."""

_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """Composes nodes, and marks scalars that are neither quoted nor tagged."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file as values, with the line of every key."""

    name: str
    """The file, as problems name it."""
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]
    """Line of each key and list item, counted from 1."""
    problems: tuple[Problem, ...]
    """What was left out of `data`, and why."""

    def where(self, path: KeyPath) -> str:
        """Return `file:line` of a key, or of the nearest section that contains it."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.name}:{line}"
        return self.name


def read_document(path: Path) -> Document:
    """Read a configuration file.

    Raises
    ------
    SettingsError
        The file cannot be read, or is no YAML. What is wrong with single keys is
        in `Document.problems` instead, so that all of it can be told at once.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise settings_error(
            [Problem(str(path), "", "there is no such file", "name it with --config FILE")]
        ) from None
    except OSError as error:
        raise settings_error(
            [Problem(str(path), "", f"cannot be read: {error.strerror}")]
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise settings_error(
            [Problem(f"{path}:{line}", "", "is not UTF-8", "save it as UTF-8")]
        ) from error
    return parse_document(text, name=str(path))


def parse_document(text: str, *, name: str) -> Document:
    """Read a configuration from text; `name` stands for the file in problems.

    Raises
    ------
    SettingsError
        The text is no YAML, or its top is no mapping.
    """
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise settings_error([_syntax_problem(error, name)]) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"holds the character #x{ord(text[error.position]):04x}, which YAML does not allow"
        raise settings_error([Problem(f"{name}:{line}", "", what)]) from error
    except RecursionError:
        raise settings_error([Problem(name, "", "is nested too deeply")]) from None
    builder = _Builder(name)
    data = None if root is None else builder.value(root, ())
    if data is None and not builder.problems:
        data = {}
    if not isinstance(data, dict):
        what = "the configuration is not a mapping"
        raise settings_error([Problem(f"{name}:1", "", what, "write `key: value` lines")])
    return Document(name, data, builder.lines, tuple(builder.problems))


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    what = " ".join(part for part in (error.context, error.problem) if part)
    hint = "indent with spaces" if "'\\t'" in what else ""
    return Problem(where, "", f"is no YAML: {what}", hint)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values, keeping lines and problems."""

    name: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)
    _nodes: int = 0

    def value(self, node: Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            what = f"has more than {_MAX_NODES} entries when its aliases are written out"
            raise settings_error([Problem(self.name, "", what)])
        if id(node) in self._open:
            self._refuse(node, path, "an alias stands inside its own anchor")
            return None
        self._open.add(id(node))
        try:
            return self._of_kind(node, path)
        finally:
            self._open.discard(id(node))

    def _of_kind(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, MappingNode) and node.tag == _MAP_TAG:
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _SEQ_TAG:
            return self._sequence(node, path)
        if isinstance(node, ScalarNode) and node.tag in _PLAIN_TAGS:
            return self._plain(node, path) if node.tag == _PLAIN else node.value
        self._refuse(node, path, f"the tag {node.tag} is not allowed", "remove it")
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in out:
                first = self.lines[here]
                self._refuse(key_node, here, f"is given twice, first in line {first}", "keep one")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            out[key] = self.value(value_node, here)
        return out

    def _key(self, node: Node, path: KeyPath) -> str | None:
        if not isinstance(node, ScalarNode) or node.tag not in _PLAIN_TAGS or not node.value:
            self._refuse(node, path, "a key is not a plain word", "quote it")
            return None
        if node.value == "<<" and node.tag == _PLAIN:
            self._refuse(node, path, "merge keys (`<<`) are not supported", "write the keys out")
            return None
        return str(node.value)

    def _sequence(self, node: SequenceNode, path: KeyPath) -> list[Any]:
        out = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.lines[here] = item.start_mark.line + 1
            out.append(self.value(item, here))
        return out

    def _plain(self, node: ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if text in _WORDS:
            return _WORDS[text]
        if _LEADING_ZERO.fullmatch(text):
            octal = text.lstrip("+-0_") or "0"
            self._refuse(
                node,
                path,
                f"{text} starts with a zero, and YAML versions differ about what that means",
                f"write 0o{octal} for octal, {octal} for decimal, or quote a text",
            )
            return None
        return _number(text)

    def _refuse(self, node: Node, path: KeyPath, what: str, hint: str = "") -> None:
        where = f"{self.name}:{node.start_mark.line + 1}"
        self.problems.append(Problem(where, dotted(path), what, hint))


def _number(text: str) -> int | float | str:
    """Read a plain scalar as the number that it is, else leave it a text."""
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
