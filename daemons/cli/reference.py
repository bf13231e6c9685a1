"""The configuration reference, generated from the settings models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from daemons.cli.settings import Settings
from daemons.runtime.settings import schema
from daemons.runtime.settings_fields import is_reloadable, models

_HEAD = """\
# Configuration

<!-- Generated from the settings models by `make schemas`; do not edit. -->

One YAML file per host. Unknown keys are refused with file and line. From the weakest to the
strongest: defaults, the file, the environment (`ARRIERO_FORWARDER__DROP_DIRECTORY=/data`).
`arriero config check` says whether it can be used, `arriero config show --origin` where each
value comes from, `arriero config schema` prints the JSON Schema for editors.

Settings marked *live* change with `SIGHUP` (`systemctl reload`), the others with a restart.
A secret is `{file: /path}`, readable by nobody else, or `{credential: NAME}` of systemd.
"""


def configuration_schema() -> str:
    """Return the JSON Schema of the configuration."""
    return json.dumps(schema(Settings), indent=2) + "\n"


def configuration_page() -> str:
    """Return the reference page of the configuration."""
    return _HEAD + "".join(_section("The host", Settings, ""))


def _section(title: str, model: type[BaseModel], prefix: str) -> Iterator[str]:
    yield f"\n## {title}\n\n{_first_paragraph(model)}\n\n"
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        default = _default(field.default, field.default_factory)
        live = ", *live*" if is_reloadable(field) else ""
        sentence = " ".join((field.description or "").split())
        yield f"`{prefix}{name}` ({default}{live})\n: {sentence}\n\n"
        nested += [(name, inner) for inner in models(field.annotation)]
        nested += [(f"{name}.NAME", inner) for inner in _values(field.annotation)]
    for name, inner in nested:
        if inner.__name__ != "SecretRef":
            yield from _section(f"`{prefix}{name}`", inner, f"{prefix}{name}.")


def _values(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that are values of a mapping."""
    if getattr(annotation, "__origin__", None) is dict:
        yield from models(annotation.__args__[1])


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def _default(default: Any, factory: Any) -> str:
    if default is PydanticUndefined:
        return "required" if factory is None else "by default the machine's, or empty"
    if isinstance(default, BaseModel):
        return "a section"
    if isinstance(default, tuple | list | dict | str | bool | int | float) or default is None:
        return f"default `{json.dumps(default, default=str)}`"
    return f"default `{default}`"
