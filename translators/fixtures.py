"""Pin what an instrument's headers are translated to: header files beside expectations.

A fixture is a header (`NAME.hdr`, header text; or `.yaml`, `.json`, FITS) and beside
it `NAME.expect.yaml` with the properties as they must be. No Python is needed::

    file_name: MC_O_20250501_000123_R22_S11.fits
    translator: LSSTCam
    properties:
      exposure_id: 2025050100123
      datetime_begin: 2025-05-02T04:12:47.100
      boresight_airmass: 1.26
      altaz_end: null
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from astro_metadata_translator import PROPERTIES
from astropy.time import Time
from pydantic import BaseModel, ConfigDict, Field, field_validator

from translators.checks.yaml_lines import YamlFile, read_yaml, validated
from translators.errors import InstrumentDataError, TranslatorsError
from translators.headerfile import Entry, read_entries, yaml_value
from translators.record import Record, record_of

EXPECTATION = ".expect.yaml"
"""How an expectation's name ends."""

_HEADERS = (".hdr", ".head", ".yaml", ".yml", ".json", ".fits", ".fits.gz", ".fits.fz")
_TIMES = frozenset({"datetime_begin", "datetime_end"})
_TOLERANCE = 1e-9
_DIGITS = 6
"""Of a second, in an expectation."""

_SAME_TIME_S = 1e-6


class FixtureError(InstrumentDataError):
    """A fixture is wrong: the header or the expectation, with file and line."""

    code = "fixture.invalid"


class Expectation(BaseModel):
    """What a header must be translated to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: str | None = None
    """Name of the image that the header is of; by default the fixture's."""
    translator: str | None = None
    """Which translator must recognise it."""
    fails: str | None = None
    """Code of the error that the translation must end with, instead of properties."""
    mode: Literal["relaxed", "pedantic"] = "relaxed"
    """Whether a property that cannot be made is left out or an error."""
    tolerance: float = Field(default=_TOLERANCE, ge=0)
    """Relative difference of numbers that counts as none."""
    properties: dict[str, Any] = Field(default_factory=dict)
    """Values as `ObservationInfo.to_simple` has them, times as text in TAI; null: it is left
    out. What is not named is not looked at."""

    @field_validator("properties")
    @classmethod
    def _properties_are_known(cls, properties: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in properties if name not in PROPERTIES and name[:4] != "ext_"]
        if unknown:
            raise ValueError(f"no such property: {', '.join(unknown)}")
        return properties


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected."""

    name: str
    expected: Any
    found: Any
    where: str
    """File and line of the expectation."""


@dataclass(frozen=True, slots=True)
class FixtureResult:
    """What became of a fixture."""

    name: str
    """Path of the header below the folder that was asked for."""
    compared: int
    differences: tuple[Difference, ...] = ()
    error: str = ""
    """What is wrong with the fixture itself, with file and line."""
    updated: bool = False
    """Whether its expectation was written."""

    @property
    def passed(self) -> bool:
        """True when everything is as expected."""
        return not self.error and not self.differences


def run_fixtures(folder: Path, *, update: bool = False) -> Iterator[FixtureResult]:
    """Translate every fixture below a folder and compare.

    Parameters
    ----------
    folder
        Where the fixtures are.
    update
        Write what was found as the expectation: of an expectation that is there,
        the properties that it names; else all.

    Raises
    ------
    FixtureError
        There is none.
    """
    headers = sorted(path for path in folder.rglob("*") if _is_header(path))
    expected = set(folder.rglob(f"*{EXPECTATION}"))
    if not headers and not expected:
        raise FixtureError(
            f"{folder} has no fixtures: put headers ({', '.join(_HEADERS)}) there, then run with "
            "`--update`"
        )
    for header in headers:
        path = expectation_path(header)
        expected.discard(path)
        try:
            yield _run(header, path, str(header.relative_to(folder)), update=update)
        except TranslatorsError as error:
            yield FixtureResult(str(header.relative_to(folder)), 0, error=str(error))
    for path in sorted(expected):
        yield FixtureResult(
            str(path.relative_to(folder)), 0, error=f"{path}: there is no header beside it"
        )


def expectation_path(header: Path) -> Path:
    """Return where the expectation of a header is."""
    suffix = next(each for each in reversed(_HEADERS) if header.name.endswith(each))
    return header.with_name(header.name.removesuffix(suffix) + EXPECTATION)


def _is_header(path: Path) -> bool:
    return path.is_file() and path.name.endswith(_HEADERS) and not path.name.endswith(EXPECTATION)


def _run(header: Path, path: Path, name: str, *, update: bool) -> FixtureResult:
    if not path.exists() and not update:
        raise FixtureError(f"{header}: there is no {path.name} beside it; `--update` writes it")
    file = _read(path) if path.exists() else YamlFile(path, {}, {})
    expectation = validated(file, Expectation)
    found = _translated(header, expectation)
    if update:
        before = path.read_text() if path.exists() else ""
        after = _head_comment(before) + _updated(expectation, found)
        changed = after != before
        if changed:
            path.write_text(after)
        return FixtureResult(name, len(found.properties), updated=changed)
    return FixtureResult(name, _count(expectation), tuple(_differences(file, expectation, found)))


def _read(path: Path) -> YamlFile:
    lines = read_yaml(path)
    data = yaml_value(path.read_bytes(), str(path))
    return replace(lines, data={} if data is None else data)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a header was translated to, in an expectation's words."""

    translator: str | None
    fails: str | None
    properties: Mapping[str, Any]
    sentence: str = ""


def _translated(header: Path, expectation: Expectation) -> _Found:
    entry = _entry(header)
    file_name = expectation.file_name or entry.file_name
    try:
        record = record_of(
            replace(entry, file_name=file_name), pedantic=expectation.mode == "pedantic"
        )
    except TranslatorsError as error:
        return _Found(None, error.code, {}, str(error))
    return _Found(record.translator, None, _readable(record))


def _entry(header: Path) -> Entry:
    entries = read_entries(header)
    if len(entries) != 1:
        raise FixtureError(f"{header} is an index of {len(entries)} files; a fixture is one header")
    (entry,) = entries
    if entry.findings:
        raise FixtureError("; ".join(finding.sentence for finding in entry.findings))
    return entry


def _readable(record: Record) -> dict[str, Any]:
    return {
        name: _iso(value) if name in _TIMES else value
        for name, value in sorted(record.values.items())
        if not name.startswith("_")
    }


def _iso(value: Any) -> str:
    if isinstance(value, str):
        return str(Time(value, format="isot", scale="tai", precision=_DIGITS).isot)
    return str(Time(value[0], value[1], format="jd", scale="tai", precision=_DIGITS).isot)


def _count(expectation: Expectation) -> int:
    return len(expectation.properties) + bool(expectation.translator) + bool(expectation.fails)


def _differences(file: YamlFile, expectation: Expectation, found: _Found) -> Iterator[Difference]:
    if found.fails != expectation.fails:
        says = f"{found.fails}: {found.sentence}" if found.fails else "nothing: it is translated"
        yield Difference("fails", expectation.fails, says, file.where(("fails",)))
        return
    if expectation.translator not in {None, found.translator} and not found.fails:
        where = file.where(("translator",))
        yield Difference("translator", expectation.translator, found.translator, where)
    for name, expected in expectation.properties.items():
        where = file.where(("properties", name))
        value = found.properties.get(name)
        if not _same(_comparable(name, expected, where), value, expectation.tolerance, name):
            yield Difference(name, expected, value, where)


def _comparable(name: str, expected: Any, where: str) -> Any:
    if name not in _TIMES or expected is None:
        return expected
    try:
        return _iso(str(expected))
    except ValueError as error:
        raise FixtureError(
            f"{where}: {name}: {expected!r} is no time such as 2025-05-02T04:12:47.100"
        ) from error


def _same(expected: Any, found: Any, tolerance: float, name: str) -> bool:
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(expected) == len(found) and all(
            _same(one, other, tolerance, name) for one, other in zip(expected, found, strict=True)
        )
    if name in _TIMES and isinstance(expected, str) and isinstance(found, str):
        return bool(abs((Time(expected) - Time(found)).sec) < _SAME_TIME_S)
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        if isinstance(found, int):
            return expected == found
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=1e-12)
    return bool(expected == found)


def _updated(expectation: Expectation, found: _Found) -> str:
    """Return the expectation that what was found is."""
    chosen = expectation.properties or found.properties
    content: dict[str, Any] = {
        "file_name": expectation.file_name,
        "translator": found.translator,
        "fails": found.fails,
        "mode": None if expectation.mode == "relaxed" else expectation.mode,
        "tolerance": None if expectation.tolerance == _TOLERANCE else expectation.tolerance,
    }
    content = {key: value for key, value in content.items() if value is not None}
    if not found.fails:
        content["properties"] = {name: found.properties.get(name) for name in chosen}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes a property in each line, with its numbers where it has several."""


_Dumper.add_representer(
    list,
    lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=True
    ),
)


def _head_comment(text: str) -> str:
    """Return the comment at the top of a file, which stays."""
    lines = text.splitlines(keepends=True)
    count = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:count])
