from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from daemons.runtime.errors import AlreadyRunningError
from daemons.runtime.health import HealthBoard
from headerservice import exposure as life
from headerservice.errors import JournalError
from headerservice.exposure import Exposure, Phase, Status, Timing
from headerservice.journal import Journal
from headerservice.journal_records import StoredHeader, Todo
from headerservice.journal_thread import FILE_NAME, JournalThread
from headerservice.quality import fixed
from tests.unit.headerservice.rig import OBS_ID, Image, lsstcam, message

T0 = 1_795_273_000.0
IMAGE = Image(OBS_ID, T0)
TIMING = Timing(deadline_margin_s=30, settle_s=2, grace_s=1, revise_after_s=1, late_data_s=60)


def header(
    obs_id: str = OBS_ID, revision: int = 1, status: Status = Status.COMPLETE
) -> StoredHeader:
    return StoredHeader(
        obs_id=obs_id,
        day_obs=20251121,
        revision=revision,
        status=status,
        made_at=T0,
        missing=("RA",),
        sha256="0" * 64,
        md5="0" * 32,
        body=b"PRIMARY: []\n" * 100,
        provenance=b"{}",
        todo=Todo.STORE | Todo.CONTROL_BUS,
    )


def started(obs_id: str = OBS_ID) -> Exposure:
    said = message("MTCamera.logevent_startIntegration", IMAGE.start_fields(), T0)
    change = life.heard(
        life.opened(obs_id, now=T0), said, plan=lsstcam().events, timing=TIMING, now=T0
    )
    return change.exposure


def test_an_exposure_survives_with_its_events_and_values(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    exposure = started()
    (said,) = exposure.messages.values()
    journal.save_exposure(exposure, message=said, sampled={"RA": fixed(1.5)})
    journal.save_exposure(exposure)
    journal.close()
    journal = Journal(tmp_path / "j.sqlite3")
    known = journal.exposure(OBS_ID)
    assert known is not None
    again, sampled = known
    assert sampled == {"RA": fixed(1.5)}
    assert again.deadline == exposure.deadline
    (message_again,) = again.messages.values()
    assert message_again.fields == said.fields
    assert message_again.sent == said.sent
    assert journal.unfinished() == (OBS_ID,)
    journal.close()


def test_an_event_is_kept_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    said = message("MTMount.logevent_simulationMode", {"mode": 1}, T0)
    assert journal.add_message(said)
    assert not journal.add_message(said)
    assert journal.last_heard() == T0
    journal.close()


def test_the_last_state_before_an_instant_is_remembered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    for number in range(10):
        fields = {"filterName": str(number)}
        name = "MTCamera.logevent_endSetFilter"
        journal.add_message(message(name, fields, T0 + number, sequence=number))
    journal.add_message(message("MTHexapod:1.logevent_simulationMode", {"mode": 1}, T0))
    journal.add_message(message("MTHexapod:2.logevent_simulationMode", {"mode": 2}, T0 - 5))
    found = journal.state_messages(T0 + 7.5)
    assert [each.fields.get("filterName") for each in found if "filterName" in each.fields] == [
        *("7", "8", "9"),
    ]
    assert sorted(each.topic.index for each in found if "mode" in each.fields) == [1, 2]
    journal.close()


def test_header_and_state_are_one_transaction_and_waiting_until_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    done = life.published(started(), status=Status.COMPLETE, improvable=False, now=T0 + 20)
    number = journal.save_exposure(done, header=header())
    assert journal.unfinished() == ()
    assert journal.waiting() == ((number, OBS_ID),)
    journal.mark(number, todo=Todo.CONTROL_BUS, key="a/b", error="away")
    kept = journal.header(number)
    assert kept is not None
    assert (kept.body, kept.todo, kept.key, kept.error) == (
        *(header().body, Todo.CONTROL_BUS, "a/b", "away"),
    )
    journal.mark(number, todo=Todo.NOTHING, key=None, error=None)
    assert journal.waiting() == ()
    known = journal.exposure(OBS_ID)
    assert known is not None
    assert known[0].phase is Phase.PUBLISHED
    journal.close()


def test_the_latest_header_is_the_last_final_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    for revision, status in ((1, Status.EARLY), (1, Status.PARTIAL), (2, Status.COMPLETE)):
        journal.save_exposure(started(), header=header(revision=revision, status=status))
        latest = journal.latest(OBS_ID)
        assert latest is not None
        assert (latest.revision, latest.status) == (revision, status)
    first = journal.latest(OBS_ID, revision=1)
    assert first is not None
    assert first.status is Status.PARTIAL
    assert journal.latest("MC_O_20251121_000157") is None
    assert [each.revision for each in journal.headers(day_obs=20251121)] == [1, 1, 2]
    journal.close()


def test_what_is_old_goes_and_what_is_needed_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite3")
    done = life.published(started(), status=Status.COMPLETE, improvable=False, now=T0 + 20)
    (said,) = done.messages.values()
    journal.add_message(message("MTMount.logevent_simulationMode", {"mode": 0}, T0 - 9, sequence=1))
    journal.add_message(message("MTMount.logevent_simulationMode", {"mode": 1}, T0 - 5, sequence=2))
    finished = journal.save_exposure(done, message=said, header=header())
    journal.mark(finished, todo=Todo.NOTHING, key="k", error=None)
    waiting_ = started("MC_O_20251121_000157")
    journal.save_exposure(waiting_, header=header("MC_O_20251121_000157"))
    assert journal.prune(heard_before=T0 + 100, made_before=T0 + 100) == 1
    assert journal.latest(OBS_ID) is None
    assert journal.exposure(OBS_ID) is None
    assert journal.latest("MC_O_20251121_000157") is not None
    assert journal.unfinished() == ("MC_O_20251121_000157",)
    (state,) = journal.state_messages(T0 + 100)
    assert state.fields == {"mode": 1}
    journal.close()


def test_a_damaged_journal_and_a_newer_one_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(JournalError, match="move it away"):
        Journal(path)
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(JournalError, match="newer arriero"):
        Journal(newer)


async def test_one_process_at_a_time_has_the_journal(tmp_path: Path) -> None:
    first, second = (JournalThread(tmp_path, HealthBoard()) for _ in range(2))
    await first.open()
    with pytest.raises(AlreadyRunningError, match="in use by process"):
        await second.open()
    await second.close()
    await first.close()
    await second.open()
    await second.close()


async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = JournalThread(tmp_path / "file" / "state", HealthBoard())
    with pytest.raises(JournalError, match="state_directory"):
        await journal.open()
    await journal.close()


async def test_while_the_journal_cannot_be_written_it_waits_and_says_so(tmp_path: Path) -> None:
    health = HealthBoard()
    journal = JournalThread(tmp_path, health)
    await journal.open()
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    page = other.execute("PRAGMA page_count").fetchone()[0]
    await journal.run(lambda each: each._database.execute(f"PRAGMA max_page_count={page}"))
    told: list[bool] = []

    def lift(dependency: object) -> None:
        told.append(dependency.ok)  # type: ignore[attr-defined]

    health.on_change(lift)
    blocked = message("MTMount.logevent_simulationMode", {"mode": 1, "x": "y" * 100_000}, T0)

    def keep(each: Journal) -> bool:
        if told:
            each._database.execute("PRAGMA max_page_count=1000000")
        return each.add_message(blocked)

    assert await journal.run(keep)
    assert told == [False, True]
    other.close()
    await journal.close()
