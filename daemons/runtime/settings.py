"""Settings: one YAML file per host, environment overrides, problems with file and line.

From the weakest to the strongest: defaults, the file, the environment
(`ARRIERO_FORWARDER__DROP_DIRECTORY=/data`), the command line. Values of the
environment and of the command line are text; where the setting is a list or a
mapping they are JSON. Keys of the environment are lower case, except where the
file already has the key of a mapping in another case.

A root model derives from `RootSettings`, each section of it from `SectionModel`::

    class ForwarderSettings(SectionModel):
        drop_directory: Path
        \"\"\"Where the camera writes.\"\"\"
        scan_interval_s: Annotated[float, Reloadable()] = 30.0
        \"\"\"Seconds between two looks at the whole drop directory.\"\"\"

    class HostSettings(RootSettings):
        forwarder: ForwarderSettings | None = None
        \"\"\"The forwarder; absent: it does not run on this host.\"\"\"

    loaded = load_settings(HostSettings, Path("config.yaml"))
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemons.runtime.problems import KeyPath, Problem, dotted, settings_error
from daemons.runtime.settings_diff import SettingsDiff, diff
from daemons.runtime.settings_errors import explain
from daemons.runtime.settings_fields import Reloadable, redact
from daemons.runtime.settings_sources import Entry, environment_entries, override_entries
from daemons.runtime.yaml_file import Document, read_document

__all__ = [
    "LoadedSettings",
    "Reloadable",
    "RootSettings",
    "SectionModel",
    "SettingsDiff",
    "ShownSetting",
    "diff",
    "load_settings",
    "schema",
]

ModelT = TypeVar("ModelT", bound=BaseModel)

DEFAULT = "default"
"""Origin of a setting that nobody set."""


class SectionModel(BaseModel):
    """A section: unknown keys refused, frozen, a sentence below every setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RootSettings(BaseSettings):
    """The whole configuration of a host.

    Only `load_settings` looks at files and at the environment, so that building
    one in a test gives what the test says and nothing else.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what the constructor is given, and nothing from around it."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One effective setting, as `arriero config show` lists it."""

    key: str
    """Dotted key."""
    value: Any
    """As JSON, without secrets."""
    origin: str
    """`file:line`, `environment ARRIERO_X`, `command line` or `default`."""


@dataclass(frozen=True)
class LoadedSettings(Generic[ModelT]):
    """Valid settings, and where each of them comes from."""

    value: ModelT
    """The settings."""
    path: Path | None
    """The file, if there was one."""
    ignored_environment: tuple[str, ...] = ()
    """Variables with our prefix that no setting claims and that resemble none."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Origin by dotted key, of those that are set."""

    def origin(self, dotted_key: str) -> str:
        """Return where a setting comes from: `config.yaml:12`, `default`, and so on."""
        return self.origins.get(dotted_key, DEFAULT)

    def show(self) -> tuple[ShownSetting, ...]:
        """Return every effective setting with its origin, secrets redacted."""
        return tuple(
            ShownSetting(dotted(path), value, self.origin(dotted(path)))
            for path, value in _leaves(self.as_json(), ())
        )

    def as_json(self) -> dict[str, Any]:
        """Return the effective settings as a JSON object, secrets redacted."""
        data = self.value.model_dump(mode="json", by_alias=True, fallback=str)
        shown: dict[str, Any] = redact(type(self.value), (), data)
        return shown

    def text(self) -> str:
        """Return the effective settings as YAML, with the origin behind each value."""
        return "\n".join(self._lines(self.as_json(), ())) + "\n"

    def _lines(self, section: Mapping[str, Any], path: KeyPath) -> Iterator[str]:
        indent = "  " * len(path)
        for key, value in section.items():
            here = (*path, key)
            name = key if key.isidentifier() else json.dumps(key)
            if isinstance(value, dict) and value:
                yield f"{indent}{name}:"
                yield from self._lines(value, here)
            else:
                shown = json.dumps(value, ensure_ascii=False)
                yield f"{indent}{name}: {shown}  # {self.origin(dotted(here))}"


def load_settings(
    model: type[ModelT],
    path: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    env_prefix: str = "ARRIERO_",
    overrides: Mapping[str, Any] | None = None,
) -> LoadedSettings[ModelT]:
    """Read, merge and validate the configuration of a host.

    Parameters
    ----------
    model
        What the configuration must be: a `RootSettings` class, or a section.
    path
        The YAML file; None: defaults, environment and overrides only.
    environ
        Environment; None: that of the process.
    env_prefix
        What the names of our environment variables begin with.
    overrides
        From the command line: values by dotted key.

    Raises
    ------
    SettingsError
        One line for each thing that is wrong, in the message and in `problems`.
    """
    if issubclass(model, BaseSettings) and not issubclass(model, RootSettings):
        raise TypeError(
            f"{model.__name__} must derive from RootSettings, which reads no environment"
        )
    document = Document("configuration", {}, {}, ()) if path is None else read_document(path)
    assembly = _Assembly(document)
    environment = environment_entries(
        model, os.environ if environ is None else environ, env_prefix, document.data
    )
    command_line = override_entries(model, overrides or {}, document.data)
    for entry in (*environment.entries, *command_line.entries):
        assembly.put(entry)
    problems = [
        *document.problems,
        *environment.problems,
        *command_line.problems,
        *assembly.private_keys(),
    ]
    value: ModelT | None = None
    try:
        value = model(**assembly.data)
    except ValidationError as error:
        told = {problem.key for problem in problems}
        found = explain(error, model, assembly.data, assembly.where)
        problems.extend(problem for problem in found if problem.key not in told)
    if problems or value is None:
        raise settings_error(problems)
    origins = {dotted(key): where for key, where in assembly.origins.items()}
    return LoadedSettings(value, path, environment.ignored, origins)


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file, for editors and for `config schema`."""
    body = model.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}


class _Assembly:
    """The file's values with stronger ones laid over them."""

    def __init__(self, document: Document) -> None:
        self.data: dict[str, Any] = dict(document.data)
        self.document = document
        self.origins: dict[KeyPath, str] = {key: document.where(key) for key in document.lines}

    def put(self, entry: Entry) -> None:
        """Lay one value over what is there."""
        section = self.data
        for depth, key in enumerate(entry.path[:-1], 1):
            self.origins.setdefault(entry.path[:depth], entry.origin)
            below = section.get(str(key))
            section[str(key)] = dict(below) if isinstance(below, dict) else {}
            section = section[str(key)]
        last = str(entry.path[-1])
        before = section.get(last)
        both = isinstance(entry.value, dict) and isinstance(before, dict)
        section[last] = {**(before or {}), **entry.value} if both else entry.value
        for path, _ in _everything(entry.value, entry.path):
            self.origins[path] = entry.origin

    def where(self, path: KeyPath) -> str:
        """Return the origin of a key, or of the nearest section that contains it."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                return origin
        return self.document.name

    def private_keys(self) -> Iterator[Problem]:
        """Take away and report keys that pydantic-settings would keep for itself."""
        for key in [key for key in self.data if key.startswith("_")]:
            del self.data[key]
            yield Problem(self.where((key,)), key, "unknown key", "remove it")


def _everything(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _everything(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _everything(item, (*path, index))


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value
