"""The registrar remembers what waits, across restarts, and refuses what it cannot read."""

import sqlite3
from pathlib import Path

import pytest

from daemons.registrar.journal import Reason, RegistrarJournal
from daemons.runtime.sqlite import DatabaseFileError
from tests.support.bare_facts import bare_image


def test_what_waits_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "registrar.sqlite3"
    journal = RegistrarJournal(path)
    journal.remember(bare_image(detector=189), Reason.HELD, code="c", sentence="waits")
    journal.close()

    journal = RegistrarJournal(path)
    (waiting,) = journal.waiting(Reason.HELD)
    assert waiting.image == bare_image(detector=189)
    assert (waiting.code, waiting.sentence, waiting.attempts) == ("c", "waits", 1)
    journal.close()


def test_a_second_refusal_counts_and_replaces_the_reason(tmp_path: Path) -> None:
    journal = RegistrarJournal(tmp_path / "registrar.sqlite3")
    journal.remember(bare_image(), Reason.REFUSED, code="a", sentence="first")
    journal.remember(bare_image(), Reason.REFUSED, code="b", sentence="second")

    (waiting,) = journal.waiting(Reason.REFUSED)

    assert (waiting.code, waiting.sentence, waiting.attempts) == ("b", "second", 2)
    journal.close()


def test_only_the_exposure_asked_for_is_returned_and_forgotten(tmp_path: Path) -> None:
    journal = RegistrarJournal(tmp_path / "registrar.sqlite3")
    for exposure in (1, 2):
        image = bare_image(exposure_id=exposure)
        journal.remember(image, Reason.HELD, code="c", sentence="s")

    (one,) = journal.waiting(Reason.HELD, exposure=("LSSTCam", 1))
    journal.forget([one.image.file_id])

    assert [each.image.exposure_id for each in journal.waiting(Reason.HELD)] == [2]
    journal.close()


def test_a_damaged_journal_is_named_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "registrar.sqlite3"
    path.write_bytes(b"this is no database at all, but it is long enough" * 100)
    with pytest.raises(DatabaseFileError, match="damaged"):
        RegistrarJournal(path)
    assert path.read_bytes().startswith(b"this is no database")


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registrar.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(DatabaseFileError, match="newer arriero"):
        RegistrarJournal(path)
