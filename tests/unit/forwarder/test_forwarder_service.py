"""The service around the way of a file: locks, damage, health, status, metrics."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from daemons.forwarder import reading, waiting
from daemons.forwarder.database import CommitObserver
from daemons.forwarder.errors import ForwarderError, JournalDamagedError
from daemons.forwarder.housekeeping import Housekeeper
from daemons.forwarder.model import FileState, JournalEntry
from daemons.forwarder.notice import Ended, Hint
from daemons.forwarder.schedule import Slots
from daemons.forwarder.service import JOURNAL_NAME, Forwarder
from daemons.runtime.errors import AlreadyRunningError
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.state import Command, State
from tests.unit.forwarder.harness import Bench, raw_key, raw_name, small_raw, until


async def test_a_second_forwarder_on_the_same_journal_is_refused_and_told_the_pid(
    bench: Bench,
) -> None:
    bench.registry = CollectorRegistry()
    second = bench.make()
    async with bench.running():
        with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
            await second.open()
        await second.close()
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    await second.open()
    await second.close()


async def test_a_damaged_journal_is_a_fault_that_says_what_to_do_and_leaves_the_lock_free(
    bench: Bench,
) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    path = bench.settings.state_directory / JOURNAL_NAME
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\x00" * 3000 + content[3100:])
    bench.again()
    runner = ServiceRunner(bench.forwarder, health=bench.health)
    with pytest.raises(Exception, match="damaged"):
        await runner.command(Command.START)
    assert runner.state is State.FAULT
    assert runner.error is not None
    assert f"mv {path}" in runner.error.report
    await runner.command(Command.STANDBY)
    for part in path.parent.glob(f"{JOURNAL_NAME}*"):
        part.rename(part.with_name(f"damaged-{part.name}"))
    await runner.go_to(State.ENABLED)
    await bench.reach("announced")
    assert bench.images("conflicted") == 0
    assert (bench.bucket / raw_key()).read_bytes() == small_raw()
    await runner.stop()


async def test_damage_that_is_found_while_working_is_a_fault_in_plain_words(
    bench: Bench,
) -> None:
    class Broken:
        broken = False

        def before_commit(self, labels: Sequence[str]) -> None:
            if self.broken:
                error = sqlite3.DatabaseError(f"database disk image is malformed at {labels}")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error

        def after_commit(self, labels: Sequence[str]) -> None:
            pass

    observer = Broken()

    class Watched(Forwarder):
        def _observer(self) -> CommitObserver:
            return observer

    bench.registry = CollectorRegistry()
    bench.forwarder = bench.make(Watched)
    await bench.forwarder.open()
    work = asyncio.create_task(bench.forwarder.work())
    bench.put(raw_name(), small_raw())
    await bench.reach("announced")
    observer.broken = True
    bench.put(raw_name(2), small_raw(2))
    with pytest.raises(JournalDamagedError, match="keep the file for inspection"):
        await work
    await bench.forwarder.close()


async def test_a_file_that_fails_in_a_way_nobody_foresaw_is_given_up_and_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_FIRST_TRY_S", 0.01)
    translate = reading.translate

    def fail(header: object, *, file_name: str) -> object:
        if file_name == raw_name(2):
            raise ZeroDivisionError("a bug of a translator")
        return translate(header, file_name=file_name)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "translate", fail)
    async with bench.running():
        bench.put(raw_name(2), small_raw(2))
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await bench.reach("failed")
        (entry,) = await bench.forwarder._open_parts.journal.aside({FileState.FAILED}, 10)
        assert entry.reason == "internal.error"
        assert "ZeroDivisionError" in str(entry.detail)
        errors = bench.forwarder.status()["last_errors"]
        assert errors[0]["error"] == "a bug of a translator"
        monkeypatch.setattr(reading, "translate", translate)
        await bench.forwarder.operations.release(entry.id, who="ann", why="mended")
        await bench.reach("announced", 2)


async def test_a_key_that_the_store_refuses_fails_that_file_only(bench: Bench) -> None:
    in_the_way = bench.bucket / raw_key(2)
    in_the_way.mkdir(parents=True)
    (in_the_way / "x").write_bytes(b"")
    async with bench.running():
        bench.put(raw_name(2), small_raw(2))
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await bench.reach("failed")
        (entry,) = await bench.forwarder._open_parts.journal.aside({FileState.FAILED}, 10)
    assert entry.reason == "store.refused"
    assert "facility refuses" in str(entry.detail)


async def test_a_quarantine_that_cannot_be_written_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_FIRST_TRY_S", 0.05)
    async with bench.running():
        bench.quarantine.rmdir()
        bench.quarantine.write_bytes(b"in the way")
        path = bench.put("notes.fits", b"no image " * 1000)
        failures = {"stage": "disk", "code": "NotADirectoryError"}
        await until(
            lambda: bench.metric("arriero_forwarder_errors_total", **failures) >= 2,
            "tried twice",
            bench,
        )
        assert path.exists()
        bench.quarantine.unlink()
        await bench.reach("quarantined")


async def test_lost_notices_make_a_full_scan(bench: Bench) -> None:
    async with bench.running() as forwarder:
        await until(lambda: bench.metric("arriero_scan_seconds_count") == 1, "scan", bench)
        logging.getLogger("watchdog.observers.inotify_c").warning(
            "Inotify queue overflowed; filesystem events were lost"
        )
        await until(lambda: bench.metric("arriero_scan_seconds_count") == 2, "scan", bench)
        assert bench.metric("arriero_notice_overflows_total") == 1
        intake = forwarder._open_parts.reconciler.intake
        for number in range(bench.settings.queue_limit + 5):
            intake.hint(Hint(f"/nowhere/{number}.fits".encode(), Ended.CLOSED))
        await until(lambda: bench.metric("arriero_scan_seconds_count") == 3, "scan", bench)
        assert bench.metric("arriero_notice_overflows_total") == 2


async def test_a_file_of_which_no_notice_came_is_found_by_the_next_scan(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(scan_period_s=0.3)
    async with bench.running() as forwarder:
        await until(lambda: bench.metric("arriero_scan_seconds_count") >= 1, "scan", bench)
        forwarder._open_parts.reconciler.intake.hint = lambda _hint: None  # type: ignore[method-assign]
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")


async def test_without_notices_of_the_kernel_the_scans_do_it_all(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_args: object, **_options: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("daemons.forwarder.notice.BaseObserver.schedule", none)
    bench = make_bench(scan_period_s=0.2)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        assert bench.health.dependencies["drop_directory"].ok
        assert "no notices" in bench.health.dependencies["drop_directory"].reason


async def test_status_and_metrics_tell_what_waits_and_for_how_long(bench: Bench) -> None:
    assert bench.forwarder.status()["outbox"] == {"depth": 0, "oldest_seconds": 0.0}
    bench.store.down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("inspected")
        await asyncio.sleep(0.2)
        status = bench.forwarder.status()
        assert status["images"]["inspected"]["bytes"] == len(small_raw())
        assert status["oldest_unsent_seconds"] > 0.1
        assert status["in_hand"]["files"] == 1
        assert bench.metric("arriero_oldest_unsent_seconds") > 0.1
        assert bench.metric("arriero_files_held", state="inspected") == 1
        bench.store.down = False
        await bench.reach("announced")
        assert bench.metric("arriero_oldest_unsent_seconds") == 0
        assert bench.metric("arriero_stored_bytes_total") == len(small_raw())
        for stage in ("settle", "inspect", "sidecar", "upload", "verify", "stored", "announce"):
            assert bench.metric("arriero_stage_seconds_count", stage=stage) >= 1, stage
        assert bench.metric("arriero_journal_commit_seconds_count") > 0
        assert b"arriero_files_total" in generate_latest(bench.registry)


async def test_a_closed_forwarder_says_that_it_is_not_open(bench: Bench) -> None:
    with pytest.raises(ForwarderError, match="not open"):
        await bench.forwarder.work()
    with pytest.raises(ForwarderError, match="these are no settings"):
        bench.forwarder.reload({"quiet_time_s": 1})


async def test_old_entries_of_files_that_left_are_forgotten_and_others_are_kept(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(journal_keep_days=1e-9, reannounce_after_s=None)
    async with bench.running() as forwarder:
        kept = bench.put(raw_name(), small_raw())
        left = bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced", 2)
        left.unlink()
        housekeeper: Housekeeper = forwarder._open_parts.housekeeper
        assert await housekeeper.clean() == 1
        assert bench.images("announced") == 1
        assert await housekeeper.clean() == 0
        kept.unlink()
        assert await housekeeper.clean() == 1


async def test_the_runner_takes_it_through_all_states(bench: Bench) -> None:
    runner = ServiceRunner(bench.forwarder, health=bench.health)
    await runner.go_to(State.ENABLED)
    bench.put(raw_name(), small_raw())
    await bench.reach("announced")
    assert runner.ready
    await runner.go_to(State.DISABLED)
    await runner.go_to(State.ENABLED)
    bench.put(raw_name(2), small_raw(2))
    await bench.reach("announced", 2)
    assert await runner.stop()
    assert runner.drains_cut_off == 0


async def test_a_file_that_a_scan_finds_is_not_taken_before_it_was_quiet(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(unseen_quiet_time_s=1000.0)
    bench.put(raw_name(), small_raw())
    async with bench.running():
        await until(lambda: bench.metric("arriero_scan_seconds_count") >= 1, "scan", bench)
        assert bench.forwarder.status()["settling"] == 1
        assert bench.images("discovered") == 0


async def test_draining_that_begins_while_files_are_fetched_begins_none_of_them(
    bench: Bench,
) -> None:
    await bench.forwarder.open()
    journal = bench.forwarder._open_parts.journal
    choose = journal.choose
    fetched: list[int] = []

    async def drain_meanwhile(slots: Slots, **which: Any) -> list[JournalEntry]:
        entries = await choose(slots, **which)
        if entries:
            fetched.append(len(entries))
            bench.forwarder._around.draining.set()
        return entries

    journal.choose = drain_meanwhile  # type: ignore[method-assign]
    work = asyncio.create_task(bench.forwarder.work())
    bench.put(raw_name(), small_raw())
    await until(lambda: bool(fetched), "fetched", bench)
    await asyncio.sleep(0.1)
    assert bench.forwarder.status()["in_hand"]["files"] == 0
    assert bench.images("discovered") == 1
    work.cancel()
    await asyncio.wait({work})
    await bench.forwarder.close()
