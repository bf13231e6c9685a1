"""Headers wherever they are kept: FITS files, sidecars, index files, YAML and header text.

One file gives one entry, an index one for each file that it tells of. Of a FITS
file only the headers are read, not the data.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import yaml

from translators.errors import SidecarError, UnreadableFileError
from translators.findings import Finding
from translators.fits.cards import CARD_BYTES, parse_header
from translators.fits.packed import packed_image, unpacked_cards
from translators.fits.source import GZIP_MAGIC
from translators.fits.structure import (
    BLOCK_BYTES,
    StructureError,
    read_structure,
    structural_cards,
)
from translators.index import COMMON_KEY, Index, read_index
from translators.inspection import CardValue
from translators.instruments import instrument_of
from translators.sidecar import Content, header_of, json_object, read_sidecar

_END = b"END     "
_MAX_BLOCKS = 5000
_CARD_NAMED = re.compile(
    r"card ([A-Z0-9_-]+)|HDU \d+: ([A-Z0-9_-]+) stands twice|\(([A-Z0-9_-]+)\)"
)
_TEXT_SUFFIXES = frozenset({".hdr", ".head", ".txt"})
_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Entry:
    """The header of one image, or the record that was made of it."""

    file_name: str
    """Name of the image; a sidecar's name tells it but for the end."""
    place: str
    """Where it was read, for a person."""
    content: Content
    values: Mapping[str, Any]
    """Cards as `Inspection.primary` has them, or the translated record."""
    findings: tuple[Finding, ...] = ()
    """What was wrong with the cards."""


def read_entries(path: Path, *, hdu: int | None = None) -> tuple[Entry, ...]:
    """Return the headers that a file holds.

    Parameters
    ----------
    path
        FITS (also in gzip, or compressed with fpack), JSON sidecar or index, YAML, or
        header text (`.hdr`, `.head`, `.txt`: a card in each line).
    hdu
        Of a FITS file: whose header to put over the primary one. None: the primary
        alone where an instrument of ours recognises it, else with that of HDU 1.

    Raises
    ------
    UnreadableFileError
        It cannot be opened, or is no such file.
    SidecarError
        It is a JSON or YAML file that holds no header.
    """
    try:
        with path.open("rb") as source:
            return entries_of(source, str(path), hdu=hdu)
    except OSError as error:
        raise UnreadableFileError(
            f"{path} cannot be read: {error.strerror or error}; look at the folder and its "
            "permissions"
        ) from error


def entries_of(source: BinaryIO, place: str, *, hdu: int | None = None) -> tuple[Entry, ...]:
    """Return the headers in an open file, or in what was fetched of one; see `read_entries`.

    Parameters
    ----------
    source
        Readable and seekable.
    place
        Path or URI; its end says what form the content has.
    hdu
        As for `read_entries`.
    """
    name = PurePosixPath(place).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".json":
        return _json_entries(source.read(), name, place)
    if suffix in _YAML_SUFFIXES:
        values = header_of(_yaml_mapping(source.read(), place), place)
        return (Entry(_image_name(name), place, Content.METADATA, values),)
    if suffix in _TEXT_SUFFIXES:
        return (_text_entry(source.read(), name, place),)
    header, findings = _fits_header(source, place, hdu)
    return (Entry(name, place, Content.METADATA, header, findings),)


def _image_name(name: str) -> str:
    """Return the name of the image that a sidecar is of."""
    return f"{PurePosixPath(name).stem}.fits"


def _json_entries(content: bytes, name: str, place: str) -> tuple[Entry, ...]:
    try:
        if COMMON_KEY.encode() in content and COMMON_KEY in json_object(content, "the file"):
            return tuple(_index_entries(read_index(content), place))
        sidecar = read_sidecar(content)
    except SidecarError as error:
        raise SidecarError(f"{place}: {error}") from error
    return (Entry(_image_name(name), place, sidecar.content, sidecar.values),)


def _index_entries(index: Index, place: str) -> Iterator[Entry]:
    for name, values in index.files.items():
        yield Entry(PurePosixPath(name).name, f"{place}#{name}", index.content, values)


def _text_entry(content: bytes, name: str, place: str) -> Entry:
    cards = []
    lines = content.split(b"\n")
    for line in lines:
        card = line.rstrip(b"\r")[:CARD_BYTES]
        if card.rstrip() == b"END":
            break
        if card.strip():
            cards.append(card.ljust(CARD_BYTES))
    parsed = parse_header(b"".join(cards))
    if not parsed.cards:
        raise UnreadableFileError(f"{place} holds no card of a FITS header")
    findings = tuple(_with_line(finding, lines, place) for finding in parsed.findings)
    return Entry(_image_name(name), place, Content.METADATA, parsed.cards, findings)


def _with_line(finding: Finding, lines: list[bytes], place: str) -> Finding:
    """Put the line of a header text before the sentence about one of its cards."""
    keywords = _CARD_NAMED.search(finding.sentence)
    keyword = next((each for each in keywords.groups() if each), "") if keywords else ""
    numbers = [n for n, line in enumerate(lines, 1) if line.startswith(keyword.encode())]
    where = f"{place}:{numbers[-1]}" if keyword and numbers else place
    return replace(finding, sentence=f"{where}: {finding.sentence}")


class _HeaderLoader(yaml.CSafeLoader):
    """YAML without its traps: NO stays text, 0051 stays text, a date stays text."""


_HeaderLoader.yaml_implicit_resolvers = {}
for _tag, _expression, _firsts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _HeaderLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"^(?:{_expression})$"),
        ["" if each == "\0" else each for each in _firsts],
    )


def _number(loader: yaml.CSafeLoader, node: yaml.ScalarNode) -> float | str:
    """Return a number; one with a leading zero and no point is text."""
    text = loader.construct_scalar(node)
    return str(text) if re.fullmatch(r"[-+]?0\d+", str(text)) else float(text)


_HeaderLoader.add_constructor("tag:yaml.org,2002:float", _number)


def _property_list(loader: yaml.CSafeLoader, node: yaml.SequenceNode) -> dict[str, Any]:
    """Read the form in which the LSST pipelines write a header: name, type, value, comment."""
    cards: dict[str, Any] = {}
    for item in node.value:
        name, _, value, *_ = loader.construct_sequence(item, deep=True)
        cards.setdefault(str(name), value)
    return {
        key: value for key, value in cards.items() if key not in {"", "COMMENT", "HISTORY", "END"}
    }


_HeaderLoader.add_constructor("lsst.daf.base.PropertyList", _property_list)


def yaml_value(content: bytes | str, place: str) -> Any:
    """Read YAML as header values are meant: no octal numbers, no dates, `NO` is text.

    Raises
    ------
    SidecarError
        It is no YAML; the message carries file and line.
    """
    try:
        return yaml.load(content, Loader=_HeaderLoader)  # noqa: S506 - a safe loader's child
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark else place
        raise SidecarError(f"{where}: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SidecarError(f"{place}: {error}") from error


def _yaml_mapping(content: bytes, place: str) -> dict[str, Any]:
    found = yaml_value(content, place)
    if not isinstance(found, dict):
        raise SidecarError(f"{place} holds no mapping of keywords to values")
    return {str(key): value for key, value in found.items()}


def _fits_header(
    source: BinaryIO, place: str, hdu: int | None
) -> tuple[dict[str, CardValue], tuple[Finding, ...]]:
    wrapped = source.read(2) == GZIP_MAGIC
    source.seek(0)
    try:
        if wrapped:
            source = io.BufferedReader(gzip.GzipFile(fileobj=source))
        return _merged(source, place, hdu)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFileError(f"{place} is wrapped in gzip and broken: {error}") from error


def _merged(
    source: BinaryIO, place: str, hdu: int | None
) -> tuple[dict[str, CardValue], tuple[Finding, ...]]:
    raw, position = _header_at(source, 0, place, first=True)
    if raw is None:
        raise UnreadableFileError(f"{place} is empty")
    primary = parse_header(raw)
    if hdu == 0 or (hdu is None and instrument_of(primary.cards) is not None):
        return primary.cards, primary.findings
    wanted = 1 if hdu is None else hdu
    for number in range(1, wanted + 1):
        raw, position = _header_at(source, position, place, first=False)
        if raw is None:
            if hdu is None:
                return primary.cards, primary.findings
            raise UnreadableFileError(f"{place} has no HDU {hdu}; it ends after HDU {number - 1}")
    extension = parse_header(raw or b"", hdu=wanted)
    if wanted == 1 and packed_image(primary.cards, extension.cards) is not None:
        return unpacked_cards(extension.cards), primary.findings + extension.findings
    return primary.cards | extension.cards, primary.findings + extension.findings


def _header_at(
    source: BinaryIO, position: int, place: str, *, first: bool
) -> tuple[bytes | None, int]:
    """Return the cards of the header at a place, and where the next HDU begins."""
    source.seek(position)
    header = bytearray()
    for _ in range(_MAX_BLOCKS):
        block = source.read(BLOCK_BYTES)
        if not header and (not block or not _begins_hdu(block, first=first)):
            if first and block:
                raise UnreadableFileError(
                    f"{place} does not begin with SIMPLE  =; it is no FITS file"
                )
            return None, position
        end = _end_of(block)
        header += block[: max(end, 0) if end >= 0 else None]
        position += len(block)
        if end >= 0:
            return bytes(header), position + _data_bytes(bytes(header), place, first=first)
        if len(block) < BLOCK_BYTES:
            break
    raise UnreadableFileError(f"{place}: a header has no END card; the file is cut or broken")


def _begins_hdu(block: bytes, *, first: bool) -> bool:
    return block.startswith(b"SIMPLE  =" if first else b"XTENSION")


def _end_of(block: bytes) -> int:
    starts = range(0, len(block), CARD_BYTES)
    return next((start for start in starts if block.startswith(_END, start)), -1)


def _data_bytes(header: bytes, place: str, *, first: bool) -> int:
    try:
        return read_structure(structural_cards(header, first=first), first=first).padded_bytes
    except StructureError as error:
        raise UnreadableFileError(f"{place}: {error}") from error
