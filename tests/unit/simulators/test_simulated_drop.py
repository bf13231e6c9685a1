from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.simulators.drop import Drop, WriteMode
from daemons.simulators.errors import ManifestError
from daemons.simulators.manifest import Manifest, ManifestEntry

OBS_ID = "MC_O_20261103_000001"
FILE = f"20261103/{OBS_ID}/{OBS_ID}_R22_S11.fits"
CONTENT = (b"header" * 500, b"data" * 3000)
WHOLE = b"".join(CONTENT)
MakeDrop = Callable[..., Drop]


@pytest.fixture
def make_drop(tmp_path: Path) -> Iterator[MakeDrop]:
    """Open the same drop directory, as often as wanted."""
    opened: list[Drop] = []

    def make(mode: WriteMode = WriteMode.ATOMIC, **options: float) -> Drop:
        manifest = Manifest(tmp_path / "manifest.jsonl")
        drop = Drop(tmp_path / "drop", manifest, mode=mode, **options)  # type: ignore[arg-type]
        opened.append(drop)
        return drop

    yield make
    for drop in opened:
        drop.manifest.close()


def _write(drop: Drop, content: tuple[bytes, ...] = CONTENT, **options: object) -> object:
    return drop.write(FILE, content, obs_id=OBS_ID, detector="R22_S11", **options)  # type: ignore[arg-type]


def _entry(place: int = 0, content: bytes = WHOLE) -> ManifestEntry:
    return ManifestEntry(
        FILE if place == 0 else f"file{place}",
        len(content),
        hashlib.sha256(content).hexdigest(),
        OBS_ID,
        "R22_S11",
        "2026-11-04T01:00:00.000+00:00",
    )


def test_a_file_and_its_entry_agree(make_drop: MakeDrop) -> None:
    drop = make_drop()
    _write(drop)
    entry = Manifest.read(drop.manifest.path)[FILE]
    assert (drop.directory / FILE).read_bytes() == WHOLE
    assert entry.size_bytes == len(WHOLE)
    assert entry.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert (entry.obs_id, entry.detector) == (OBS_ID, "R22_S11")


def test_nothing_temporary_stays(make_drop: MakeDrop) -> None:
    drop = make_drop()
    _write(drop)
    assert [path.name for path in (drop.directory / FILE).parent.iterdir()] == [Path(FILE).name]


def test_a_file_that_was_written_is_not_written_again(make_drop: MakeDrop) -> None:
    _write(make_drop())
    again = make_drop()
    assert _write(again, (b"other",)) is None
    assert (again.directory / FILE).read_bytes() == WHOLE


def test_a_file_that_was_taken_away_is_not_written_again(make_drop: MakeDrop) -> None:
    drop = make_drop()
    _write(drop)
    (drop.directory / FILE).unlink()
    assert drop.has(FILE)
    assert _write(drop) is None
    assert not (drop.directory / FILE).exists()


def test_a_file_of_somebody_else_is_left_and_listed(make_drop: MakeDrop) -> None:
    drop = make_drop()
    path = drop.directory / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody else's")
    _write(drop)
    assert path.read_bytes() == b"somebody else's"
    expected = hashlib.sha256(b"somebody else's").hexdigest()
    assert Manifest.read(drop.manifest.path)[FILE].sha256 == expected


def test_a_file_is_renewed_only_when_its_content_differs(make_drop: MakeDrop) -> None:
    drop = make_drop()
    _write(drop)
    assert _write(drop, renew=True) is None
    assert _write(drop, (b"other",), renew=True) is not None
    assert (drop.directory / FILE).read_bytes() == b"other"
    assert Manifest.read(drop.manifest.path)[FILE].size_bytes == 5


def _temporary(drop: Drop) -> Path:
    final = drop.directory / FILE
    final.parent.mkdir(parents=True, exist_ok=True)
    return final.with_name(f".{final.name}.writing")


def test_a_crash_between_manifest_and_rename_is_finished(make_drop: MakeDrop) -> None:
    crashed = make_drop()
    _temporary(crashed).write_bytes(WHOLE)
    crashed.manifest.append(_entry())
    drop = make_drop()
    assert drop.recover() == 1
    assert (drop.directory / FILE).read_bytes() == WHOLE
    assert drop.has(FILE)


def test_a_crash_before_the_manifest_is_written_again(make_drop: MakeDrop) -> None:
    crashed = make_drop()
    _temporary(crashed).write_bytes(WHOLE[:100])
    drop = make_drop()
    assert drop.recover() == 0
    assert not _temporary(drop).exists()
    assert not drop.has(FILE)
    assert _write(drop) is not None
    assert (drop.directory / FILE).read_bytes() == WHOLE


def test_a_file_that_grows_has_its_name_from_the_beginning(make_drop: MakeDrop) -> None:
    drop = make_drop(WriteMode.IN_PLACE_SLOW, pieces=40, pause_s=0.01)
    path = drop.directory / FILE
    sizes = set()
    writer = threading.Thread(target=_write, args=(drop,), kwargs={"before": CONTENT})
    writer.start()
    while writer.is_alive():
        if path.exists():
            sizes.add(path.stat().st_size)
    writer.join()
    assert len(sizes) > 3
    assert path.read_bytes() == WHOLE
    assert Manifest.read(drop.manifest.path)[FILE].size_bytes == len(WHOLE)


def test_a_file_that_was_growing_at_a_crash_grows_on(make_drop: MakeDrop) -> None:
    crashed = make_drop(WriteMode.IN_PLACE_SLOW)
    path = crashed.directory / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE[:5000])
    crashed.manifest.append(_entry())
    drop = make_drop(WriteMode.IN_PLACE_SLOW, pause_s=0.0)
    assert not drop.has(FILE)
    _write(drop, before=CONTENT)
    assert path.read_bytes() == WHOLE
    assert drop.has(FILE)


def test_a_growing_file_with_other_content_begins_again(make_drop: MakeDrop) -> None:
    crashed = make_drop(WriteMode.IN_PLACE_SLOW)
    path = crashed.directory / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE[:5000])
    crashed.manifest.append(_entry())
    other = (b"x" * 9000,)
    drop = make_drop(WriteMode.IN_PLACE_SLOW, pause_s=0.0)
    _write(drop, other, before=other)
    assert path.read_bytes() == other[0]
    assert Manifest.read(drop.manifest.path)[FILE].size_bytes == 9000


def test_a_packed_file_replaces_the_raw_one(make_drop: MakeDrop) -> None:
    drop = make_drop(WriteMode.FPACK_IN_PLACE, pause_s=0.3)
    path = drop.directory / FILE
    raw = b"raw" * 20_000
    seen: set[int] = set()
    writer = threading.Thread(target=_write, args=(drop,), kwargs={"before": (raw,)})
    writer.start()
    while writer.is_alive():
        if path.exists():
            seen.add(path.stat().st_size)
    writer.join()
    seen.add(path.stat().st_size)
    assert seen == {len(raw), len(WHOLE)}
    assert path.read_bytes() == WHOLE
    assert [each.size_bytes for each in Manifest.read(drop.manifest.path).values()] == [len(WHOLE)]


def test_packing_goes_on_after_a_crash(make_drop: MakeDrop) -> None:
    crashed = make_drop(WriteMode.FPACK_IN_PLACE)
    path = crashed.directory / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"raw")
    drop = make_drop(WriteMode.FPACK_IN_PLACE, pause_s=0.0)
    _write(drop, before=(b"raw",))
    assert path.read_bytes() == WHOLE


def test_small_files_are_atomic_whatever_the_mode(make_drop: MakeDrop) -> None:
    for mode in WriteMode:
        drop = make_drop(mode)
        name = f"20261103/{OBS_ID}/{mode}.json"
        assert drop.write(name, (b"{}",), obs_id=OBS_ID, detector=None) is not None
        assert (drop.directory / name).read_bytes() == b"{}"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 400), st.integers(1, 4))
def test_a_manifest_that_was_cut_off_loses_only_its_last_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int, entries: int
) -> None:
    lines = b"".join(
        json.dumps(
            {
                "file": f"file{place}",
                "size_bytes": place,
                "sha256": "0" * 64,
                "obs_id": OBS_ID,
                "detector": None,
                "written_at": "2026-11-04T01:00:00.000+00:00",
            }
        ).encode()
        + b"\n"
        for place in range(1, entries + 1)
    )
    whole = lines[: max(0, len(lines) - cut)]
    path = tmp_path_factory.mktemp("cut") / "manifest.jsonl"
    path.write_bytes(whole)
    manifest = Manifest(path)
    manifest.append(_entry(99))
    manifest.close()
    expected = [f"file{place}" for place in range(1, whole.count(b"\n") + 1)]
    assert list(Manifest.read(path)) == [*expected, "file99"]


def test_a_manifest_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Manifest.read(tmp_path / "none.jsonl") == {}


def test_a_damaged_manifest_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"file": "a"}\n')
    with pytest.raises(ManifestError, match="line 1"):
        Manifest.read(path)
    path.write_text("{}\n\n")
    with pytest.raises(ManifestError, match="line 1"):
        Manifest(path)


def test_entries_come_from_many_threads_at_once(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    threads = [
        threading.Thread(target=manifest.append, args=(_entry(place),)) for place in range(1, 30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest.close()
    assert len(Manifest.read(manifest.path)) == 29
