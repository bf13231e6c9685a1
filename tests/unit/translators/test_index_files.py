"""Index files and sidecars, proved with astro-metadata-translator's own readers and writers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astro_metadata_translator import ObservationGroup, ObservationInfo
from astro_metadata_translator import indexing as theirs
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

import translators.plugin  # noqa: F401 - their readers need our translators
from translators.errors import SidecarError
from translators.headerfile import read_entries
from translators.index import index_bytes, read_index
from translators.record import record_of
from translators.sidecar import (
    Content,
    read_sidecar,
    sidecar_bytes,
    sidecar_name,
    translated_sidecar_bytes,
)

Cards = dict[str, Any]
WriteRaw = Callable[..., Path]
NAMES = ("MC_O_20250501_000123_R22_S11.fits", "MC_O_20250501_000123_R22_S12.fits")


@pytest.fixture
def raws(sky_header: Cards, write_raw: WriteRaw) -> list[Path]:
    slots = ("S11", "S12")
    return [
        write_raw(sky_header | {"CCDSLOT": slot}, name=name)
        for slot, name in zip(slots, NAMES, strict=True)
    ]


def headers(raws: list[Path]) -> dict[str, Cards]:
    return {path.name: dict(read_entries(path)[0].values) for path in raws}


def records(raws: list[Path]) -> dict[str, Cards]:
    return {
        path.name: dict(record_of(read_entries(path)[0], pedantic=True).values) for path in raws
    }


def as_json(raws: list[Path]) -> dict[str, Cards]:
    """Write the headers as JSON: of FITS headers theirs cannot make an index with astropy."""
    found = {}
    for path in raws:
        header = headers(raws)[path.name]
        path.with_suffix(".json").write_text(json.dumps(header))
        found[path.with_suffix(".json").name] = header
    return found


def test_index_of_headers_is_what_astro_metadata_translator_writes(raws: list[Path]) -> None:
    files = as_json(raws)

    index, okay, failed = theirs.index_files(list(files), str(raws[0].parent), 0, None, "metadata")

    assert (len(okay), failed) == (2, [])
    assert json.loads(index_bytes(files, Content.METADATA)) == json.loads(json.dumps(index))


def test_index_of_records_is_what_astro_metadata_translator_writes(raws: list[Path]) -> None:
    ours = json.loads(index_bytes(records(raws), Content.TRANSLATED))

    index, _, failed = theirs.index_files(
        [path.name for path in raws], str(raws[0].parent), 0, None, "translated"
    )

    assert failed == []
    assert ours == json.loads(json.dumps(index))


def test_their_reader_takes_our_index_of_headers(raws: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "_index.json"
    path.write_bytes(index_bytes(headers(raws), Content.METADATA))

    assert theirs.read_index(str(path)) == headers(raws)


def test_their_reader_takes_our_index_of_records(raws: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "_index.json"
    path.write_bytes(index_bytes(records(raws), Content.TRANSLATED))

    group = theirs.read_index(str(path))
    by_file = theirs.process_index_data(json.loads(path.read_bytes()), force_dict=True)

    assert isinstance(group, ObservationGroup)
    assert [info.detector_num for info in group] == [94, 95]
    assert list(by_file) == list(NAMES)
    for name, info in by_file.items():
        assert isinstance(info, ObservationInfo)
        assert info == ObservationInfo(headers(raws)[name])


@pytest.mark.parametrize("content", list(Content))
def test_our_reader_takes_their_index(raws: list[Path], content: Content) -> None:
    files = as_json(raws)
    index, _, _ = theirs.index_files(list(files), str(raws[0].parent), 0, None, content.value)

    found = read_index(json.dumps(index).encode())

    assert found.content is content
    expected = records(raws) if content is Content.TRANSLATED else headers(raws)
    assert list(found.files.values()) == list(expected.values())


def test_index_of_one_file_tells_all_in_common() -> None:
    written = json.loads(index_bytes({"a.fits": {"A": 1}}, Content.METADATA))

    assert written == {"__CONTENT__": "metadata", "__COMMON__": {"A": 1}, "a.fits": {}}
    assert read_index(json.dumps(written).encode()).files == {"a.fits": {"A": 1}}


def test_values_that_only_look_the_same_are_not_made_one() -> None:
    files = {"a": {"X": 1, "Y": True}, "b": {"X": 1.0, "Y": 1}}

    found = read_index(index_bytes(files, Content.METADATA)).files

    assert [type(value) for value in found["a"].values()] == [int, bool]
    assert [type(value) for value in found["b"].values()] == [float, int]


def test_index_of_nothing_is_not_written() -> None:
    with pytest.raises(ValueError, match="no files"):
        index_bytes({}, Content.METADATA)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no JSON"),
        (b'{"a.fits": {}}', "__COMMON__"),
        (b'{"__COMMON__": 5}', "__COMMON__"),
        (b'{"__COMMON__": {}, "__CONTENT__": "guess"}', "'guess'"),
        (b'{"__COMMON__": {}, "a.fits": 5}', "a.fits"),
        (b'{"__COMMON__": {}, "a.fits": {"X": [1]}}', "a.fits X are no values"),
    ],
)
def test_what_is_no_index_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(SidecarError, match=says):
        read_index(content)


HEADERS = st.dictionaries(
    st.text("ABCDEF", min_size=1, max_size=3),
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0]) | st.text("ab"),
    max_size=6,
)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=4), HEADERS, min_size=1, max_size=5))
def test_every_header_comes_back_from_an_index_and_theirs_agrees(files: dict[str, Cards]) -> None:
    written = index_bytes(files, Content.METADATA)

    assert read_index(written).files == files
    assert theirs.process_index_data(json.loads(written)) == files


def test_their_reader_takes_our_translated_sidecar(raws: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "MC.json"
    path.write_bytes(translated_sidecar_bytes(records(raws)[NAMES[0]]))

    info = theirs.read_sidecar(str(path))

    assert info == ObservationInfo(headers(raws)[NAMES[0]])
    assert read_sidecar(path.read_bytes()).content is Content.TRANSLATED


def test_their_reader_takes_our_sidecar_of_a_header(raws: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "MC.json"
    header = headers(raws)[NAMES[0]]
    path.write_bytes(sidecar_bytes(header))

    found = theirs.read_sidecar(str(path))

    assert found.pop("HIERARCH.SIMULATE.MTMOUNT") == header.pop("SIMULATE MTMOUNT")
    assert found == header


def test_sidecar_without_its_mark_is_guessed_as_theirs_is() -> None:
    record = {"observation_id": "a", "instrument": "b"}

    assert read_sidecar(json.dumps(record).encode()).content is Content.TRANSLATED
    assert read_sidecar(b'{"OBSID": "a"}').content is Content.METADATA
    with pytest.raises(SidecarError, match="nobody knows"):
        read_sidecar(b'{"__CONTENT__": "guess"}')


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [
        ("a.fits", "a.json"),
        ("a.fits.gz", "a.json"),
        ("a.b.fits.fz", "a.b.json"),
        ("a.FIT", "a.json"),
        ("a", "a.json"),
    ],
)
def test_sidecars_are_named_as_theirs_are(name: str, sidecar: str) -> None:
    assert sidecar_name(name) == sidecar


def test_astropy_sees_the_header_that_the_index_tells(raws: list[Path]) -> None:
    told = read_index(index_bytes(headers(raws), Content.METADATA)).files[NAMES[1]]

    header = fits.getheader(raws[1])

    assert {key: header[key] for key in told} == told
