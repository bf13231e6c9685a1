"""What a keyword's value must be, by the definitions in `keywords.yaml`.

The same file tells the header service where a value comes from; here only type,
unit, range and whether it is required are read, from the file and from those that
it extends. The header service checks the files' form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from translators.checks.yaml_lines import read_yaml
from translators.errors import InstrumentDataError
from translators.instruments_folders import folders, instrument_folder
from translators.resources import config_root

_FILE = "keywords.yaml"
_HIERARCH = "HIERARCH "


@dataclass(frozen=True, slots=True)
class Keyword:
    """What the value of a keyword must be."""

    name: str
    """Without HIERARCH."""
    type: str
    """`str`, `int`, `float` or `bool`; empty where the definitions do not say."""
    unit: str
    """In the header; empty where it has none."""
    low: float | None
    high: float | None
    required: bool | str
    """Of every image, of none, or of a set of image types."""


@dataclass(frozen=True, slots=True)
class KeywordRules:
    """The definitions of an instrument."""

    keywords: Mapping[str, Keyword] = field(default_factory=dict)
    image_types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Sets of image types, such as `sky`."""

    def required(self, image_type: str) -> Iterator[str]:
        """Yield the keywords that an image of a type must have."""
        for keyword in self.keywords.values():
            wanted = keyword.required
            if wanted is True or (
                isinstance(wanted, str) and image_type in self.image_types.get(wanted, ())
            ):
                yield keyword.name


def keyword_rules(*names: str) -> KeywordRules:
    """Return the definitions of the first of some instruments that has any.

    Files are read once.

    Raises
    ------
    InstrumentDataError
        The file, or one that it extends, is wrong.
    """
    return _of_first(names, folders())


@lru_cache(maxsize=32)
def _of_first(
    names: tuple[str, ...],
    known: tuple[Path, ...],  # noqa: ARG001 - part of the key: instruments may be added
) -> KeywordRules:
    for name in names:
        folder = instrument_folder(name)
        if folder is not None and (folder / _FILE).is_file():
            return _rules(folder / _FILE)
    return KeywordRules()


def _rules(path: Path) -> KeywordRules:
    entries: dict[str, dict[str, Any]] = {}
    types: dict[str, frozenset[str]] = {}
    for file, content in _layers(path, set()):
        try:
            for part in (*(content.get("primary") or ()), content.get("sensors") or {}):
                _lay(entries, part)
            for name, members in (content.get("image_types") or {}).items():
                types[name] = frozenset(str(each).upper() for each in members)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InstrumentDataError(
                f"{file}: it is not of the form of keyword definitions ({error!r})"
            ) from error
    try:
        keywords = {keyword.name: keyword for keyword in map(_keyword, entries.values())}
    except (KeyError, TypeError, ValueError) as error:
        raise InstrumentDataError(f"{path}: a keyword is not well defined ({error!r})") from error
    return KeywordRules(MappingProxyType(keywords), MappingProxyType(types))


def _layers(path: Path, seen: set[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a file behind those that it extends, each once."""
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    content = read_yaml(path).data
    if not isinstance(content, dict):
        raise InstrumentDataError(f"{path}: it holds no keyword definitions")
    extended = content.get("extends") or ()
    for name in [extended] if isinstance(extended, str) else extended:
        yield from _layers(_find(path, str(name)), seen)
    yield path, content


def _find(path: Path, name: str) -> Path:
    shipped = config_root() / "instruments"
    for place in (path.parent / name, shipped / name, shipped / name / _FILE):
        if place.is_file():
            return place
    raise InstrumentDataError(f"{path}: it extends {name}, which is not there")


def _lay(entries: dict[str, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Lay a section, or the sensors, over what is known."""
    for name in part.get("without") or ():
        entries.pop(str(name), None)
    for entry in part.get("keywords") or ():
        known = entries.setdefault(str(entry["keyword"]), {})
        known.update(entry)


def _keyword(entry: Mapping[str, Any]) -> Keyword:
    low, high = entry.get("range") or (None, None)
    unit = entry.get("unit") or ""
    return Keyword(
        name=str(entry["keyword"]).removeprefix(_HIERARCH),
        type=str(entry.get("type") or ""),
        unit=str(unit["to"] if isinstance(unit, Mapping) else unit),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        required=entry.get("required") or False,
    )
