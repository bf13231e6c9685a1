"""Disks that fill up, refuse writing or go away under the running forwarder: nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons.storage.directory import DirectoryStore
from tests.support.disks import SmallDisk, small_disk
from tests.unit.forwarder.harness import Bench, FaultyStore, raw_key, raw_name, small_raw, until

MIB = 1 << 20


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8 * MIB) as disk:
        yield disk


def bench_on(tmp_path: Path, **settings: Any) -> Bench:
    return Bench(tmp_path, scan_period_s=0.3, **settings)


def ok(bench: Bench, dependency: str) -> Callable[[], bool]:
    return lambda: bench.health.dependencies[dependency].ok


async def test_a_full_disk_of_the_journal_is_waited_for(tmp_path: Path, disk: SmallDisk) -> None:
    bench = bench_on(tmp_path, state_directory=disk.place / "state")
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        await bench.reach("announced")
        disk.fill()
        for number in range(2, 60):
            bench.put(raw_name(number), small_raw(number))
        await until(lambda: not ok(bench, "journal")(), "the health board says so", bench)
        assert "disk" in bench.health.dependencies["journal"].reason
        disk.free()
        await bench.reach("announced", 59)
        await until(ok(bench, "journal"), "it is well again", bench)
    for number in range(1, 60):
        assert (bench.bucket / raw_key(number)).read_bytes() == small_raw(number)


async def test_a_full_store_disk_is_waited_for(tmp_path: Path, disk: SmallDisk) -> None:
    bench = bench_on(tmp_path)
    bench.bucket = disk.place / "bucket"
    bench.store = FaultyStore(DirectoryStore("facility", bench.bucket))
    bench.again()
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        await bench.reach("announced")
        disk.fill()
        bench.put(raw_name(2), small_raw(2))
        await until(lambda: not ok(bench, "store.facility")(), "the board says so", bench)
        disk.free()
        await bench.reach("announced", 2)
    assert (bench.bucket / raw_key(2)).read_bytes() == small_raw(2)


async def test_a_full_quarantine_disk_keeps_the_bad_file_where_it_is(
    tmp_path: Path, disk: SmallDisk
) -> None:
    bench = bench_on(tmp_path, quarantine_directory=disk.place / "aside")
    disk.fill()
    async with bench.running():
        path = bench.put(raw_name(1), small_raw(1)[:-3000])
        bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced")
        await until(
            lambda: (
                bench.metric("arriero_forwarder_errors_total", stage="disk", code="OSError") > 0
            ),
            "told",
            bench,
        )
        assert path.exists()
        disk.free()
        await bench.reach("quarantined")
    assert not path.exists()
    (aside,) = (disk.place / "aside").rglob("*.fits")
    assert aside.read_bytes() == small_raw(1)[:-3000]


async def test_a_drop_directory_that_is_unmounted_and_comes_back_loses_nothing(
    tmp_path: Path, disk: SmallDisk
) -> None:
    bench = bench_on(tmp_path, drop_directory=disk.place)
    bench.drop = disk.place
    async with bench.running():
        write(bench, 1)
        await bench.reach("announced")
        bench.store.gate.clear()
        write(bench, 2)
        await bench.reach("inspected")
        disk.unmount()
        bench.store.gate.set()
        await until(
            lambda: bench.images("inspected") == 0 or not ok(bench, "drop_directory")(),
            "noticed",
            bench,
        )
        disk.mount()
        for number in (2, 3):
            write(bench, number)
        await bench.reach("announced", 3)
        await until(ok(bench, "drop_directory"), "it is well again", bench)
        assert bench.images("quarantined") == 0
    for number in (1, 2, 3):
        assert (bench.bucket / raw_key(number)).read_bytes() == small_raw(number)


async def test_a_read_only_drop_directory_is_read_and_sent(tmp_path: Path, disk: SmallDisk) -> None:
    bench = bench_on(tmp_path, drop_directory=disk.place)
    bench.drop = disk.place
    write(bench, 1)
    (disk.place / raw_name(2)).write_bytes(small_raw(2)[:-3000])
    disk.read_only()
    async with bench.running():
        await bench.reach("announced")
        # A bad file cannot be moved away; it stays, and is told of.
        await until(lambda: bool(reason_of(bench)), "told", bench)
        disk.writable()
        await bench.reach("quarantined")
    assert not (disk.place / raw_name(2)).exists()


def reason_of(bench: Bench) -> str:
    errors = bench.forwarder.status()["last_errors"]
    metric = "arriero_forwarder_errors_total"
    return str(errors) if errors else "x" * int(bench.metric(metric, stage="disk", code="OSError"))


def write(bench: Bench, number: int) -> None:
    """Write a file in place: the staging folder is on another file system."""
    (bench.drop / raw_name(number)).write_bytes(small_raw(number))
