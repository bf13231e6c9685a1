"""The journal: states, outbox, exposures, forgetting."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemons.events import ExposureComplete, new_event
from daemons.forwarder import oblivion
from daemons.forwarder.errors import EntryChangedError, ForbiddenMoveError, UnknownFileError
from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.journal import Journal
from daemons.forwarder.model import (
    FileIdentity,
    FileKind,
    FileState,
    JournalEntry,
    Reason,
    Sighting,
)
from daemons.forwarder.patience import Patience
from daemons.forwarder.records import Decision, Inspected
from daemons.forwarder.sightings import Seen
from daemons.runtime.clock import TaiSeconds, UtcSeconds
from daemons.runtime.health import HealthBoard
from translators.findings import Finding, Severity
from translators.identity import ImageIdentity, ImageKind

NOBODY = ExposureComplete(
    instrument="X", obs_id="X", exposure_id=1, day_obs=20250501, seq_num=1,
    scope="host", expected=1, stored=1,
)  # fmt: skip


class HandClock:
    now = 1_000_000.0

    def utc(self) -> UtcSeconds:
        return UtcSeconds(self.now)

    def tai(self) -> TaiSeconds:
        return TaiSeconds(self.now + 37)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def health() -> HealthBoard:
    return HealthBoard()


@pytest.fixture
async def journal(tmp_path: Path, clock: HandClock, health: HealthBoard) -> AsyncIterator[Journal]:
    patience = Patience("journal", health, first_s=0.01, most_s=0.01)
    journal = Journal(tmp_path / "journal.sqlite3", clock=clock, patience=patience)
    await journal.open()
    yield journal
    await journal.close()


def image(
    detector: int = 94, name: str = "R22_S11", obs_id: str = "MC_O_20250501_000001"
) -> ImageIdentity:
    return ImageIdentity(
        instrument="LSSTCam",
        obs_id=obs_id,
        exposure_id=2025050100001,
        day_obs=20250501,
        seq_num=1,
        detector=detector,
        detector_name=name,
        kind=ImageKind.SCIENCE,
        dataset_type="raw",
        run="LSSTCam/raw/all",
    )


def seen(name: str = "a.fits", *, inode: int = 1, size: int = 100, ctime: int = 1) -> Seen:
    return Seen(
        f"/drop/{name}".encode(),
        FileIdentity(1, inode, size, ctime),
        FileKind.IMAGE,
        999_990.0,
        True,
    )


async def take(journal: Journal, one: Seen) -> JournalEntry:
    (sighted,) = await journal.sight([one])
    return await journal.entry(sighted.file_id)


def complete(share: ExposureShare) -> object:
    fact = NOBODY.model_copy(
        update={
            "obs_id": share.obs_id,
            "expected": len(share.expected or ()),
            "stored": len(share.stored),
        }
    )
    return new_event(fact, source="/test", key=f"{share.obs_id}")


async def inspect(
    journal: Journal, entry: JournalEntry, what: ImageIdentity | None = None
) -> JournalEntry:
    what = what or image()
    key = f"LSSTCam/{what.obs_id}/{what.detector_name}.fits"
    return await journal.inspected(entry, Inspected("5" * 64, "0" * 16, what, key, ()))


numbers = itertools.count()


async def store(journal: Journal, entry: JournalEntry, key: str | None = None) -> JournalEntry:
    fact = NOBODY.model_copy(update={"obs_id": f"event-{next(numbers)}"})
    event = new_event(fact, source="/test", key=key or fact.obs_id)
    return await journal.stored(entry, event, complete)  # type: ignore[arg-type]


async def through(journal: Journal, name: str, what: ImageIdentity | None = None) -> JournalEntry:
    entry = await take(journal, seen(name, inode=next(numbers) + 10))
    return await store(journal, await inspect(journal, entry, what))


def counts(journal: Journal) -> dict[str, tuple[int, int]]:
    return {
        state: (tally.files, tally.size_bytes)
        for (_, state), tally in journal.summary.tallies.items()
        if tally.files
    }


async def test_a_file_goes_its_way_and_the_tallies_go_with_it(journal: Journal) -> None:
    entry = await take(journal, seen())
    assert counts(journal) == {"discovered": (1, 100)}
    assert journal.summary.oldest_waiting == 999_990.0
    entry = await inspect(journal, entry)
    assert entry.image == image()
    entry = await store(journal, entry)
    assert counts(journal) == {"stored": (1, 100)}
    assert journal.summary.oldest_waiting is None
    assert journal.summary.outbox_depth == 1
    (event,) = await journal.pending(10)
    await journal.published([event.sequence])
    assert counts(journal) == {"announced": (1, 100)}
    assert journal.summary.outbox_depth == 0
    (registered,) = await journal.registered(str(image().dataset_id), "5" * 64)
    assert registered.file_id == entry.id
    assert counts(journal) == {"registered": (1, 100)}


async def test_a_registration_that_overtakes_our_note_of_the_announcement_counts(
    journal: Journal,
) -> None:
    await store(journal, await inspect(journal, await take(journal, seen())))
    assert len(await journal.registered(str(image().dataset_id), "5" * 64)) == 1
    (event,) = await journal.pending(10)
    await journal.published([event.sequence])
    assert counts(journal) == {"registered": (1, 100)}


async def test_a_registration_of_other_content_is_not_ours(journal: Journal) -> None:
    await store(journal, await inspect(journal, await take(journal, seen())))
    assert await journal.registered(str(image().dataset_id), "6" * 64) == []
    assert await journal.registered(str(image(95).dataset_id), "5" * 64) == []


async def test_two_hands_do_not_write_over_each_other(journal: Journal) -> None:
    entry = await take(journal, seen())
    await journal.note(entry, "structure.truncated", "cut")
    with pytest.raises(EntryChangedError):
        await inspect(journal, entry)
    assert (await journal.entry(entry.id)).state is FileState.DISCOVERED


async def test_a_move_that_the_life_cycle_lacks_is_refused_and_writes_nothing(
    journal: Journal,
) -> None:
    entry = await take(journal, seen())
    with pytest.raises(ForbiddenMoveError):
        await store(journal, entry)
    assert await journal.pending(10) == []
    assert counts(journal) == {"discovered": (1, 100)}


async def test_a_file_that_grew_keeps_its_entry_and_a_replaced_one_gives_way(
    journal: Journal,
) -> None:
    first = await inspect(journal, await take(journal, seen()))
    (sighted,) = await journal.sight([seen(size=200, ctime=2)])
    assert (sighted.sighting, sighted.file_id) == (Sighting.GREW, first.id)
    assert counts(journal) == {"discovered": (1, 200)}
    (sighted,) = await journal.sight([seen(inode=2, ctime=3)])
    assert sighted.sighting is Sighting.REPLACED
    assert (await journal.entry(first.id)).reason == Reason.REPLACED
    assert sighted.file_id != first.id


async def test_content_after_a_stored_one_is_a_new_version(journal: Journal) -> None:
    first = await store(journal, await inspect(journal, await take(journal, seen())))
    (sighted,) = await journal.sight([seen(ctime=2)])
    assert sighted.sighting is Sighting.NEW_VERSION
    second = await journal.entry(sighted.file_id)
    assert (await journal.earlier(second)) == first
    await journal.fold_into(second, first, second.identity)
    with pytest.raises(UnknownFileError):
        await journal.entry(second.id)
    (again,) = await journal.sight([seen(ctime=2)])
    assert (again.sighting, again.file_id, again.due) == (Sighting.KNOWN, first.id, False)


async def test_a_vanished_file_that_is_there_again_is_taken_up(journal: Journal) -> None:
    entry = await take(journal, seen())
    await journal.failed(entry, Reason.GONE, "gone")
    assert await journal.known([entry.path]) == {}
    (sighted,) = await journal.sight([seen()])
    assert (sighted.sighting, sighted.due) == (Sighting.RETURNED, True)
    assert (await journal.entry(entry.id)).state is FileState.DISCOVERED


async def test_an_unwitnessed_file_whose_end_is_seen_after_all_is_due(journal: Journal) -> None:
    entry = await take(journal, replace(seen(), witnessed=False))
    assert not entry.witnessed
    (sighted,) = await journal.sight([seen()])
    assert (sighted.sighting, sighted.due) == (Sighting.KNOWN, True)
    assert (await journal.entry(entry.id)).witnessed


async def test_waiting_files_come_first_seen_first_without_those_excluded(
    journal: Journal,
) -> None:
    files = [await take(journal, seen(f"{n}.fits", inode=n)) for n in range(6)]
    await inspect(journal, files[1])
    got = await journal.waiting(3, {files[0].id, files[3].id})
    assert [entry.id for entry in got] == [files[1].id, files[2].id, files[4].id]


async def test_outbox_numbers_have_no_gap_though_jobs_fail_between(journal: Journal) -> None:
    for number in range(5):
        entry = await inspect(journal, await take(journal, seen(f"{number}.fits", inode=number)))
        await store(journal, entry)
        with pytest.raises(EntryChangedError):
            await store(journal, entry)
    assert [event.sequence for event in await journal.pending(10)] == [1, 2, 3, 4, 5]
    assert [event.event.sequence for event in await journal.pending(2)] == [
        f"{1:020d}",
        f"{2:020d}",
    ]


async def test_the_same_fact_again_keeps_its_number_and_is_published_again(
    journal: Journal,
) -> None:
    first = await take(journal, seen("a.fits", inode=1))
    second = await take(journal, seen("b.fits", inode=2))
    await store(journal, await inspect(journal, first), key="same")
    await journal.published([1])
    fact = NOBODY.model_copy(update={"obs_id": "event-again"})
    event = new_event(fact, source="/test", key="same")
    await journal.stored(await inspect(journal, second), event, complete)  # type: ignore[arg-type]
    (again,) = await journal.pending(10)
    assert again.sequence == 1
    await journal.published([1])
    assert counts(journal) == {"announced": (2, 200)}
    third = await through(journal, "c.fits")
    assert third.state is FileState.STORED
    assert [event.sequence for event in await journal.pending(10)] == [2]


async def test_unregistered_images_are_announced_again_after_ever_longer_times(
    journal: Journal, clock: HandClock
) -> None:
    await through(journal, "a.fits")
    await journal.published([1])
    waits = []
    for _ in range(9):
        start = clock.now
        while not await journal.announce_again(10.0):
            clock.now += 5.0
        waits.append(clock.now - start)
        await journal.published([1])
    assert waits == [10, 20, 40, 80, 160, 320, 640, 640, 640]


async def test_what_was_announced_before_an_instant_is_due_whatever_the_time(
    journal: Journal, clock: HandClock
) -> None:
    await through(journal, "a.fits", image(1, "R01_S01"))
    await journal.published([1])
    clock.now += 1.0
    started = clock.now
    await through(journal, "b.fits", image(2, "R01_S02"))
    await journal.published([2])
    assert await journal.announce_again(10.0, before=started) == 1
    assert [event.sequence for event in await journal.pending(10)] == [1]


async def test_a_clock_that_is_set_back_does_not_hold_announcements_up(
    journal: Journal, clock: HandClock
) -> None:
    await through(journal, "a.fits")
    await journal.published([1])
    clock.now -= 86_400.0
    assert await journal.announce_again(10.0) == 1


async def test_an_image_that_the_butler_refuses_is_not_announced_again(
    journal: Journal, clock: HandClock
) -> None:
    entry = await through(journal, "a.fits")
    await journal.published([1])
    assert await journal.registration_failed(str(image().dataset_id), "5" * 64, "why not") == 1
    clock.now += 1e6
    assert await journal.announce_again(10.0) == 0
    assert await journal.announce_again(10.0, before=clock.now + 1) == 0
    assert (await journal.entry(entry.id)).detail == "why not"
    assert len(await journal.registered(str(image().dataset_id), "5" * 64)) == 1


async def test_an_event_that_the_stream_refuses_does_not_block_the_others(
    journal: Journal,
) -> None:
    first = await through(journal, "a.fits", image(1, "R01_S01"))
    await through(journal, "b.fits", image(2, "R01_S02"))
    await journal.refused(1, "too large")
    assert [event.sequence for event in await journal.pending(10)] == [2]
    assert (await journal.entry(first.id)).detail == "too large"


async def test_an_exposure_is_complete_once_all_that_is_expected_is_stored(
    journal: Journal, clock: HandClock
) -> None:
    await through(journal, "a.fits", image(0, "R01_S00"))
    share = await journal.exposure("MC_O_20250501_000001")
    assert share is not None
    assert share.expected is None
    await journal.expect(share, {"R01_S00", "R01_S01"}, complete)  # type: ignore[arg-type]
    assert (await journal.exposures(5))[0].missing == {"R01_S01"}
    clock.now += 3.0
    await through(journal, "b.fits", image(1, "R01_S01"))
    events = [event.event for event in await journal.pending(10)]
    facts = [event for event in events if event.subject == "MC_O_20250501_000001"]
    assert len(facts) == 1
    (done,) = await journal.exposures(5)
    assert done.complete
    assert done.seconds == 13.0
    await through(journal, "c.fits", image(1, "R01_S01", "MC_O_20250501_000001"))
    assert len(await journal.pending(10)) == len(events) + 1


async def test_an_exposure_whose_list_comes_last_is_complete_then(journal: Journal) -> None:
    await through(journal, "a.fits", image(0, "R01_S00"))
    share = await journal.exposure("MC_O_20250501_000001")
    assert share is not None
    await journal.expect(share, {"R01_S00"}, complete)  # type: ignore[arg-type]
    assert len(await journal.pending(10)) == 2


async def test_an_exposure_of_which_nothing_is_expected_here_is_never_complete(
    journal: Journal,
) -> None:
    await through(journal, "a.fits", image(0, "R01_S00"))
    share = await journal.exposure("MC_O_20250501_000001")
    assert share is not None
    await journal.expect(share, set(), complete)  # type: ignore[arg-type]
    assert len(await journal.pending(10)) == 1


async def test_release_and_reject_are_recorded_with_who_and_why(
    journal: Journal, tmp_path: Path
) -> None:
    finding = Finding("checksum.wrong", Severity.ERROR, "wrong")
    entry = await take(journal, seen())
    entry = await journal.quarantining(entry, b"/quarantine/a.fits", (finding,), sha256="5" * 64)
    fact = NOBODY.model_copy(update={"obs_id": "aside"})
    event = new_event(fact, source="/test", key="aside")
    entry = await journal.quarantined(entry, "checksum.wrong", "wrong", event)
    assert (entry.location, entry.findings) == (b"/quarantine/a.fits", (finding,))
    decision = Decision("ann", "known fault", ("checksum.wrong",))
    entry = await journal.release(entry, decision, entry.identity)
    assert (entry.state, entry.waived) == (FileState.DISCOVERED, ("checksum.wrong",))
    assert (entry.path, entry.location) == (b"/drop/a.fits", b"/quarantine/a.fits")
    entry = await journal.failed(entry, Reason.REFUSED, "no")
    entry = await journal.release(entry, Decision("bob", "again"), entry.identity)
    assert entry.waived == ("checksum.wrong",)
    with sqlite3.connect(tmp_path / "journal.sqlite3") as base:
        rows = base.execute("SELECT who, decision, why FROM decisions ORDER BY id").fetchall()
    base.close()
    assert rows == [("ann", "release", "known fault"), ("bob", "release", "again")]


async def test_a_full_disk_is_waited_for_and_the_health_board_says_so(
    journal: Journal, health: HealthBoard
) -> None:
    def full(base: sqlite3.Connection) -> None:
        pages = base.execute("PRAGMA page_count").fetchone()[0]
        base.execute(f"PRAGMA max_page_count = {pages}")

    await journal._database.read("full", full)
    many = [seen(f"{n}" + "x" * 200, inode=n) for n in range(200)]
    writing = asyncio.create_task(journal.sight(many))
    away = asyncio.Event()
    health.on_change(lambda _dependency: away.set())
    await away.wait()
    assert "free space" in health.dependencies["journal"].reason
    await asyncio.sleep(0.1)
    assert not writing.done()
    await journal._database.read(
        "roomy", lambda base: base.execute("PRAGMA max_page_count = 1000000").fetchone()
    )
    assert len(await writing) == 200
    assert health.dependencies["journal"].ok
    assert counts(journal)["discovered"][0] == 200


async def test_what_ended_long_ago_is_forgotten_and_what_waits_for_somebody_is_not(
    journal: Journal, clock: HandClock
) -> None:
    done = await through(journal, "done.fits", image(1, "R01_S01"))
    asked = await through(journal, "asked.fits", image(2, "R01_S02"))
    await journal.published([1, 2])
    await journal.registered(str(image(1).dataset_id), "5" * 64)
    waiting = await take(journal, seen("waiting.fits", inode=77))
    clock.now += 100.0

    async def forgettable(keep_s: float, *, awaited: bool) -> list[int]:
        found = await journal.read(
            "forgettable",
            lambda base: oblivion.forgettable(
                base, clock.now - keep_s, oblivion.Place(), 10, awaited=awaited
            ),
        )
        return [place.file_id for place, _ in found]

    assert await forgettable(50.0, awaited=True) == [done.id]
    assert await forgettable(50.0, awaited=False) == [done.id, asked.id]
    assert await forgettable(500.0, awaited=False) == []
    await journal.write("forget", lambda base: oblivion.forget(base, [done.id]))
    before = clock.now - 50.0
    assert (
        await journal.write("forget_events", lambda base: oblivion.forget_events(base, before)) == 1
    )
    assert counts(journal)["announced"][0] == 1
    assert (await journal.entry(waiting.id)).state is FileState.DISCOVERED
    await through(journal, "later.fits", image(3, "R01_S10"))
    assert [event.sequence for event in await journal.pending(10)] == [3]


async def test_names_that_are_no_text_are_kept_as_they_are(journal: Journal) -> None:
    name = bytes(range(1, 47)) + bytes(range(48, 256))
    one = replace(seen(), path=b"/drop/" + name)
    entry = await take(journal, one)
    assert entry.path == one.path
    assert entry.file_name == name
    assert (await journal.known([one.path])) == {one.path: one.identity}


def test_seconds_of_an_exposure_are_never_negative() -> None:
    now = datetime(2025, 5, 1, tzinfo=UTC).timestamp()
    share = ExposureShare(
        "X", "X", 1, 20250501, 1, now, frozenset({"A"}), now - 5, frozenset({"A"})
    )
    assert share.seconds == 0.0
