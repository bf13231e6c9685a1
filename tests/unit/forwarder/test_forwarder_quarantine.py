"""Setting files aside."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daemons.forwarder.errors import FileChangedError, FileGoneError
from daemons.forwarder.model import FileIdentity, FileKind, FileState, JournalEntry
from daemons.forwarder.quarantine import Quarantine, note_path
from translators.findings import Finding, Severity

AT = 1_746_144_000.0
"""2025-05-02T00:00:00 UTC"""
FINDINGS = (Finding("structure.truncated", Severity.ERROR, "It is cut.", 3),)


def entry_of(path: Path, number: int = 7) -> JournalEntry:
    return JournalEntry(
        id=number,
        revision=1,
        path=os.fsencode(path),
        location=os.fsencode(path),
        identity=FileIdentity.from_stat(path.lstat()),
        kind=FileKind.IMAGE,
        state=FileState.DISCOVERED,
        seen_at=AT,
        changed_at=AT,
    )


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", host="camera-host")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "drop" / "bad.fits"
    path.parent.mkdir()
    path.write_bytes(b"cut")
    return path


def aside(quarantine: Quarantine, entry: JournalEntry) -> Path:
    entry = replace(entry, quarantine_path=quarantine.choose(entry, AT))
    quarantine.set_aside(entry, FINDINGS, sha256="5" * 64, at=AT)
    return Path(os.fsdecode(entry.quarantine_path or b""))


def test_a_file_is_moved_with_the_reason_beside_it(quarantine: Quarantine, bad: Path) -> None:
    place = aside(quarantine, entry_of(bad))
    assert place == quarantine.root / "20250502" / "bad.fits"
    assert place.read_bytes() == b"cut"
    assert not bad.exists()
    note = json.loads(Path(os.fsdecode(note_path(os.fsencode(place)))).read_bytes())
    assert note["codes"] == ["structure.truncated"]
    assert note["reason"] == "It is cut."
    assert note["findings"][0]["hdu"] == 3
    assert note["original_path"] == str(bad)
    assert note["sha256"] == "5" * 64
    assert note["size_bytes"] == 3
    assert note["quarantined_at"] == "2025-05-02T00:00:00+00:00"
    assert "release 7" in note["what_to_do"]
    assert sorted(os.listdir(place.parent)) == ["bad.fits", "bad.fits.reason.json"]  # noqa: PTH208 - names


def test_nothing_is_overwritten(quarantine: Quarantine, bad: Path) -> None:
    first = aside(quarantine, entry_of(bad))
    bad.write_bytes(b"another")
    second = aside(quarantine, entry_of(bad))
    assert first.read_bytes() == b"cut"
    assert second.read_bytes() == b"another"
    assert second.name == "bad.1.fits"
    (quarantine.root / "20250502" / "bad.2.fits.reason.json").write_text("{}")
    bad.write_bytes(b"third")
    assert aside(quarantine, entry_of(bad)).name == "bad.3.fits"


def test_a_move_that_was_done_already_is_finished(quarantine: Quarantine, bad: Path) -> None:
    entry = entry_of(bad)
    entry = replace(entry, quarantine_path=quarantine.choose(entry, AT))
    bad.rename(os.fsdecode(entry.quarantine_path or b""))
    bad.write_bytes(b"a new one under the old name")
    quarantine.set_aside(entry, FINDINGS, sha256=None, at=AT)
    quarantine.set_aside(entry, FINDINGS, sha256=None, at=AT)
    assert Path(os.fsdecode(entry.quarantine_path or b"")).read_bytes() == b"cut"
    assert bad.read_bytes() == b"a new one under the old name"


def test_a_file_that_was_replaced_meanwhile_is_not_moved(
    quarantine: Quarantine, bad: Path, tmp_path: Path
) -> None:
    entry = entry_of(bad)
    entry = replace(entry, quarantine_path=quarantine.choose(entry, AT))
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"good")
    fresh.rename(bad)
    with pytest.raises(FileChangedError):
        quarantine.set_aside(entry, FINDINGS, sha256=None, at=AT)
    assert bad.read_bytes() == b"good"
    bad.unlink()
    with pytest.raises(FileGoneError):
        quarantine.set_aside(entry, FINDINGS, sha256=None, at=AT)


def test_a_place_that_another_file_took_is_not_written_over(
    quarantine: Quarantine, bad: Path
) -> None:
    entry = entry_of(bad)
    entry = replace(entry, quarantine_path=quarantine.choose(entry, AT))
    taken = Path(os.fsdecode(entry.quarantine_path or b""))
    taken.write_bytes(b"somebody else's")
    with pytest.raises(FileChangedError, match="taken by another file"):
        quarantine.set_aside(entry, FINDINGS, sha256=None, at=AT)
    assert taken.read_bytes() == b"somebody else's"
    assert bad.read_bytes() == b"cut"


@pytest.fixture
def other_file_system(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let renames out of a folder fail as they do between file systems."""

    def apart(folder: Path) -> None:
        rename, inside = os.rename, os.fsencode(folder) + b"/"

        def refuse(source: bytes, target: bytes) -> None:
            source, target = os.fsencode(source), os.fsencode(target)
            if source.startswith(inside) and not target.startswith(inside):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            rename(source, target)

        monkeypatch.setattr(os, "rename", refuse)

    return apart


def test_between_file_systems_it_is_copied_and_then_removed(
    quarantine: Quarantine, bad: Path, other_file_system: Callable[[Path], None]
) -> None:
    other_file_system(bad.parent)
    place = aside(quarantine, entry_of(bad))
    assert place.read_bytes() == b"cut"
    assert list(bad.parent.iterdir()) == []


def test_between_file_systems_a_file_that_took_the_name_meanwhile_stays(
    quarantine: Quarantine,
    bad: Path,
    tmp_path: Path,
    other_file_system: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other_file_system(bad.parent)
    entry = entry_of(bad)
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"good")
    sync = os.fsync
    synced: list[int] = []

    def replace_after_copy(descriptor: int) -> None:
        sync(descriptor)
        synced.append(descriptor)
        if fresh.exists() and (quarantine.root / "20250502" / "bad.fits").exists():
            os.replace(fresh, bad)  # noqa: PTH105 - rename is replaced in this test

    monkeypatch.setattr(os, "fsync", replace_after_copy)
    place = aside(quarantine, entry)
    assert synced
    assert place.read_bytes() == b"cut"
    assert bad.read_bytes() == b"good"
    assert [path.name for path in bad.parent.iterdir()] == ["bad.fits"]


def test_an_operators_decision_is_added_to_the_note(quarantine: Quarantine, bad: Path) -> None:
    place = aside(quarantine, entry_of(bad))
    entry = replace(entry_of(place), path=os.fsencode(bad))
    for decision in ("released", "rejected"):
        quarantine.annotate(entry, {"decision": decision, "who": "ann"})
    note = json.loads(Path(os.fsdecode(note_path(os.fsencode(place)))).read_bytes())
    assert [each["decision"] for each in note["decisions"]] == ["released", "rejected"]
    assert note["codes"] == ["structure.truncated"]


def test_a_file_in_quarantine_stays_where_it_is(quarantine: Quarantine, bad: Path) -> None:
    place = aside(quarantine, entry_of(bad))
    entry = entry_of(place)
    assert quarantine.choose(entry, AT + 1e6) == os.fsencode(place)
    quarantine.set_aside(
        replace(entry, quarantine_path=os.fsencode(place)), FINDINGS, sha256=None, at=AT
    )
    assert place.read_bytes() == b"cut"
