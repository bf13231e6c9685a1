"""YAML as a person means it: `NO` and `0051` are text, dates are text, keys stand once.

PyYAML follows YAML 1.1, in which `OBJECT: NO` is false and `SEQNUM: 0051` is 41.
What is no plain number, truth value or null here is text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from translators.checks.yaml_lines import YamlFile, read_yaml
from translators.errors import InstrumentDataError

_TAG = "tag:yaml.org,2002:"
_PLAIN_VALUES = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[1-9][0-9]*[eE][-+]?[0-9]+",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """Reads the core schema of YAML 1.2; every key is text."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if isinstance(key, ScalarNode):
                    key.tag = _TAG + "str"
        return super().construct_object(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _PLAIN_VALUES:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_document(path: Path) -> YamlFile:
    """Read a file.

    Raises
    ------
    InstrumentDataError
        It cannot be read, is no YAML, or a key stands twice.
    """
    file = read_yaml(path)
    try:
        data: Any = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        # What the faster parser let pass, such as a tab.
        raise InstrumentDataError(f"{path} is no YAML: {error}") from error
    return replace(file, data=data)
