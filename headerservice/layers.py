"""Reads a keyword definition file together with the files that it extends.

A file that says `extends` is laid over those files, in their order:

* sections of the primary header go together by their heading. A keyword that is there
  already has its keys replaced (`null` takes a key away), a new one goes to the end of
  its section; `without` takes keywords away, and a section that is then empty;
* a new section goes to the end, or behind the one that it names with `after`;
* `components`, `topics`, `enums`, `image_types`, `exposure` and `instants` go together key
  by key, `sensors` and `witnesses` like a section;
* everything else replaces what was there.

Every value keeps the file and line that it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemons.runtime.problems import KeyPath, Problem, settings_error
from daemons.runtime.yaml_file import Document, read_document
from translators.resources import config_root

_BY_KEY = ("components", "topics", "enums", "image_types", "exposure", "instants")
"""Mappings that go together key by key."""
_DEEPEST = 8
"""Files that may extend one another in a row."""


@dataclass(slots=True)
class Tree:
    """A value of a file, and where it stands."""

    where: str
    """`file:line`."""
    value: Any
    """A scalar, a mapping of trees, or a list of trees."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A definition file and what it extends, as one document."""

    data: dict[str, Any]
    origins: Mapping[KeyPath, str]
    """`file:line` of every key and list item."""
    problems: tuple[Problem, ...]
    files: tuple[Path, ...]
    """Every file that took part, the file itself last."""
    digest: str
    """SHA-256 of the content of all of them, hexadecimal."""

    def where(self, path: KeyPath) -> str:
        """Return `file:line` of a key, or of the nearest one that contains it."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                return origin
        return str(self.files[-1])


def read_layers(path: Path) -> Layers:
    """Read a definition file and the files that it extends.

    Raises
    ------
    SettingsError
        A file cannot be read, or is no YAML mapping.
    """
    reader = _Reader()
    tree = reader.read(path)
    origins: dict[KeyPath, str] = {}
    data = {key: _plain(each, (key,), origins) for key, each in tree.items()}
    return Layers(data, origins, tuple(reader.problems), tuple(reader.files), reader.digest())


class _Reader:
    """Reads files, each once, and lays them over each other."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self._contents: list[bytes] = []

    def digest(self) -> str:
        whole = hashlib.sha256()
        for content in self._contents:
            whole.update(hashlib.sha256(content).digest())
        return whole.hexdigest()

    def read(self, path: Path) -> dict[str, Tree]:
        merged: dict[str, Tree] = {}
        for own in self._in_order(path, ()):
            self._lay(merged, own)
        return merged

    def _in_order(self, path: Path, above: tuple[Path, ...]) -> Iterator[Mapping[str, Tree]]:
        """Yield the content of each file, once, what it extends before it."""
        document = read_document(path)
        self.problems.extend(document.problems)
        own = {key: _tree(each, (key,), document) for key, each in document.data.items()}
        for name in self._extended(own.pop("extends", None)):
            base = self._find(path, name)
            if base is not None and self._is_new(base, (*above, path), name):
                yield from self._in_order(base, (*above, path))
        self.files.append(path)
        self._contents.append(path.read_bytes())
        yield own

    def _extended(self, said: Tree | None) -> Iterator[Tree]:
        if said is None:
            return
        for each in said.value if isinstance(said.value, list) else [said]:
            if isinstance(each.value, str) and each.value:
                yield each
            else:
                self._problem(each.where, "extends", "is not the name of a file")

    def _find(self, path: Path, name: Tree) -> Path | None:
        """Return the file of a name: beside the one that names it, else as arriero ships it."""
        shipped = config_root() / "instruments"
        places: list[Path] = [path.parent / name.value, shipped / name.value]
        if "." not in name.value:
            places.append(shipped / name.value / "keywords.yaml")
        for place in places:
            if place.is_file():
                return place
        looked = ", ".join(str(place) for place in places)
        self._problem(name.where, "extends", f"there is no {name.value}", f"looked for {looked}")
        return None

    def _is_new(self, base: Path, above: tuple[Path, ...], name: Tree) -> bool:
        if base.resolve() in [each.resolve() for each in above]:
            self._problem(name.where, "extends", f"{name.value} extends itself")
            return False
        if base.resolve() in [each.resolve() for each in self.files]:
            return False
        if len(above) > _DEEPEST:
            self._problem(name.where, "extends", "too many files extend each other")
            return False
        return True

    def _lay(self, below: dict[str, Tree], above: Mapping[str, Tree]) -> None:
        """Lay one file's values over what is there."""
        for key, tree in above.items():
            before = below.get(key)
            both = before is not None and isinstance(before.value, dict)
            if key == "primary" and isinstance(tree.value, list):
                below[key] = Tree(tree.where, self._sections(before, tree.value))
            elif key == "sensors" and isinstance(tree.value, dict):
                base = before.value if before is not None and both else {}
                below[key] = Tree(tree.where, self._section(base, tree.value))
            elif key == "witnesses" and before is not None and isinstance(tree.value, list):
                entries = list(before.value) if isinstance(before.value, list) else []
                _lay_entries(entries, tree.value)
                below[key] = Tree(tree.where, entries)
            elif key in _BY_KEY and both and before is not None and isinstance(tree.value, dict):
                below[key] = Tree(tree.where, _without_nulls({**before.value, **tree.value}))
            elif tree.value is None:
                below.pop(key, None)
            else:
                below[key] = tree

    def _sections(self, before: Tree | None, added: list[Tree]) -> list[Tree]:
        sections = list(before.value) if before is not None else []
        for tree in added:
            if not isinstance(tree.value, dict):
                sections.append(tree)
                continue
            own = dict(tree.value)
            after = own.pop("after", None)
            heading = _text(own.get("section"))
            place = _place(sections, "section", heading)
            if place is not None:
                merged = self._section(sections[place].value, own)
                if "without" in own and not merged["keywords"].value:
                    del sections[place]
                else:
                    sections[place] = Tree(tree.where, merged)
                continue
            new = Tree(tree.where, self._section({}, own))
            behind = None if after is None else _place(sections, "section", _text(after))
            if after is not None and behind is None:
                self._problem(after.where, "after", f"there is no section {after.value!r}")
            sections.insert(len(sections) if behind is None else behind + 1, new)
        return sections

    def _section(self, before: Mapping[str, Tree], own: Mapping[str, Tree]) -> dict[str, Tree]:
        """Return a section, or the sensors, with another one laid over it."""
        added = dict(own)
        gone = added.pop("without", None)
        known = before.get("keywords")
        entries = list(known.value) if known is not None and isinstance(known.value, list) else []
        self._take_away(entries, gone)
        new = added.get("keywords")
        if new is not None and isinstance(new.value, list):
            _lay_entries(entries, new.value)
        merged = _without_nulls({**before, **added})
        if entries or known is not None:
            where = (new or known or Tree("", None)).where
            merged["keywords"] = Tree(where, entries)
        return merged

    def _take_away(self, entries: list[Tree], gone: Tree | None) -> None:
        if gone is None:
            return
        for name in gone.value if isinstance(gone.value, list) else [gone]:
            place = _place(entries, "keyword", _text(name))
            if place is None:
                self._problem(name.where, "without", f"there is no keyword {name.value!r} here")
            else:
                del entries[place]

    def _problem(self, where: str, key: str, what: str, hint: str = "") -> None:
        self.problems.append(Problem(where, key, what, hint))


def _lay_entries(entries: list[Tree], added: list[Tree]) -> None:
    """Lay keywords over those of the same name, and add the others."""
    known = len(entries)
    for entry in added:
        name = _text(entry.value.get("keyword")) if isinstance(entry.value, dict) else None
        place = _place(entries[:known], "keyword", name)
        if place is None:
            entries.append(entry)
        else:
            merged = _without_nulls({**entries[place].value, **entry.value})
            entries[place] = Tree(entry.where, merged)


def _place(items: list[Tree], key: str, name: str | None) -> int | None:
    for place, item in enumerate(items):
        if name is not None and isinstance(item.value, dict) and _text(item.value.get(key)) == name:
            return place
    return None


def _text(tree: Tree | None) -> str | None:
    return tree.value if tree is not None and isinstance(tree.value, str) else None


def _without_nulls(mapping: Mapping[str, Tree]) -> dict[str, Tree]:
    return {key: tree for key, tree in mapping.items() if tree.value is not None}


def _tree(value: Any, path: KeyPath, document: Document) -> Tree:
    where = document.where(path)
    if isinstance(value, dict):
        inner = {key: _tree(each, (*path, key), document) for key, each in value.items()}
        return Tree(where, inner)
    if isinstance(value, list):
        items = [_tree(each, (*path, index), document) for index, each in enumerate(value)]
        return Tree(where, items)
    return Tree(where, value)


def _plain(tree: Tree, path: KeyPath, origins: dict[KeyPath, str]) -> Any:
    origins[path] = tree.where
    if isinstance(tree.value, dict):
        return {key: _plain(each, (*path, key), origins) for key, each in tree.value.items()}
    if isinstance(tree.value, list):
        return [_plain(each, (*path, index), origins) for index, each in enumerate(tree.value)]
    return tree.value


def raise_for(layers: Layers, problems: list[Problem]) -> None:
    """Raise what is wrong with a file, if anything is.

    Raises
    ------
    SettingsError
        One line for each problem.
    """
    found = [*layers.problems, *problems]
    if found:
        raise settings_error(dict.fromkeys(found))
