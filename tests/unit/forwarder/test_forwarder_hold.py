"""Files that somebody still works on: compressed in place, locked, written in parts."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.support.waiting import until as wait_until
from tests.unit.forwarder.harness import Bench, raw_key, raw_name, small_raw, until

MakeBench = Callable[..., Bench]


async def waits(bench: Bench) -> None:
    """Return when a file is held."""

    async def held() -> bool:
        files = (await bench.forwarder.operations.queue())["files"]
        return any(file["reason"] == "file.held" for file in files)

    await wait_until(held)


async def test_a_file_compressed_in_place_is_sent_once_and_compressed(bench: Bench) -> None:
    """As fpack does it: beside the file, with its times, then renamed over it."""
    compressed = small_raw(variant=1)
    async with bench.running():
        path = bench.drop / raw_name()
        path.write_bytes(small_raw())
        beside = path.with_name(path.name + ".fz")
        with beside.open("wb") as out:
            out.write(compressed[:40_000])
            out.flush()
            await waits(bench)
            assert bench.store.puts == []
            out.write(compressed[40_000:])
        status = path.stat()
        os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
        beside.rename(path)
        await bench.reach("announced")
        await until(lambda: not bench.forwarder.status()["in_hand"]["files"], "quiet", bench)
    assert (bench.bucket / raw_key()).read_bytes() == compressed
    assert [key for key in bench.store.puts if "fits" in key] == [raw_key()]
    assert bench.events("image.conflicted") == []


async def test_a_locked_file_waits_until_the_lock_is_gone(bench: Bench) -> None:
    lock = bench.drop / f"{raw_name()}.lock"
    lock.touch()
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await waits(bench)
        assert bench.store.puts == []
        lock.unlink()
        await bench.reach("announced")


async def test_a_lock_that_nobody_takes_away_holds_a_file_for_a_while_only(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(hold_patience_s=0.3)
    (bench.drop / f"{raw_name()}.lock").touch()
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).exists()
