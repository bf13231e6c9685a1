"""Further destinations: every file there too, each destination in its own time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from daemons.events import ImageConflicted, ImageCopied
from daemons.forwarder import reading
from tests.unit.forwarder.harness import (
    Bench,
    expected_sensors,
    obs_id,
    raw_key,
    raw_name,
    small_raw,
    until,
)
from tests.unit.forwarder.test_forwarder_operations import ANN, ask, operated

MakeBench = Callable[..., Bench]


def held(bench: Bench, store: str) -> dict[str, bytes]:
    """Return what a further destination holds, by key."""
    root = bench.folder / store
    found = [Path(at, name) for at, _, names in os.walk(root) for name in names]
    keys = {str(path.relative_to(root)): path for path in found}
    return {key: path.read_bytes() for key, path in keys.items() if not key.startswith(".")}


def waiting(bench: Bench, store: str) -> int:
    return int(bench.forwarder.status()["copies"][store]["waiting"])


async def test_every_file_is_in_every_destination_and_told_of(make_bench: MakeBench) -> None:
    bench = make_bench(copies=("summit", "tape"))
    async with bench.running():
        bench.put(raw_name(), small_raw())
        bench.put(f"{obs_id()}_expectedSensors.json", expected_sensors(1, ["R22_S11"]))
        await until(lambda: len(bench.events("image.copied")) == 2, "copied", bench)
        await until(lambda: not waiting(bench, "summit") and not waiting(bench, "tape"), "all")
        await bench.reach("announced")
    for store in ("summit", "tape"):
        content = held(bench, store)
        assert content[raw_key()] == small_raw()
        assert len(content) == 3, "image, sidecar, list of expected sensors"
        for key, held_bytes in content.items():
            assert (bench.bucket / key).read_bytes() == held_bytes
    facts = [event.read(ImageCopied) for event in bench.events("image.copied")]
    assert {fact.store for fact in facts} == {"summit", "tape"}
    assert {fact.key for fact in facts} == {raw_key()}
    assert len(bench.events("image.stored")) == 1


async def test_a_file_is_read_once_for_all_destinations(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    inspect = reading.inspect_file

    def counted(path: Path) -> object:
        reads.append(path)
        return inspect(path)

    monkeypatch.setattr(reading, "inspect_file", counted)
    bench = make_bench(copies=("summit", "tape"))
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await until(lambda: len(bench.events("image.copied")) == 2, "copied", bench)
    assert len(reads) == 1


async def test_a_destination_that_is_away_delays_no_other_and_gets_all_later(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(copies=("summit", "tape"))
    bench.copies["summit"].down = True
    async with bench.running():
        for number in range(3):
            bench.put(raw_name(number), small_raw(number))
        await bench.reach("announced", 3)
        await until(lambda: len(bench.events("image.copied")) == 3, "on tape", bench)
        assert not held(bench, "summit")
        assert "store.summit" in bench.health.dependencies
        assert not bench.health.dependencies["store.summit"].ok
        bench.copies["summit"].down = False
        await until(lambda: len(bench.events("image.copied")) == 6, "everywhere", bench)
    assert len([key for key in held(bench, "summit") if key.endswith(".fits")]) == 3


async def test_the_first_destination_away_does_not_delay_the_copies(make_bench: MakeBench) -> None:
    bench = make_bench(copies=("summit",))
    bench.store.down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await until(lambda: len(bench.events("image.copied")) == 1, "copied", bench)
        assert bench.images("inspected") == 1
        bench.store.down = False
        await bench.reach("announced")


async def test_copies_are_made_after_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench(copies=("summit",))
    bench.copies["summit"].down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    bench.copies["summit"].down = False
    bench.again()
    async with bench.running():
        await until(lambda: len(bench.events("image.copied")) == 1, "copied", bench)
    assert held(bench, "summit")[raw_key()] == small_raw()


async def test_a_conflict_in_one_destination_is_told_and_can_be_tried_again(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(copies=("summit",))
    await bench.copies["summit"].put(raw_key(), b"other content")
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await until(lambda: len(bench.events("image.conflicted")) == 1, "told", bench)
        fact = bench.events("image.conflicted")[0].read(ImageConflicted)
        assert fact.uri == bench.copies["summit"].uri(raw_key())
        assert held(bench, "summit")[raw_key()] == b"other content"
        await until(
            lambda: bench.metric("arriero_copies_total", store="summit", state="conflicted") == 1,
            "counted",
        )
        await bench.copies["summit"].delete(raw_key())
        answer = await ask(http, "/forwarder/requeue", {**ANN, "obs_id": obs_id()})
        assert answer["again"] == 1
        await until(lambda: len(bench.events("image.copied")) == 1, "copied", bench)
    assert held(bench, "summit")[raw_key()] == small_raw()


async def test_a_file_that_vanished_before_it_was_copied_is_told(make_bench: MakeBench) -> None:
    bench = make_bench(copies=("summit",))
    bench.copies["summit"].down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    bench.again()
    (bench.drop / raw_name()).unlink()
    async with bench.running():
        await until(
            lambda: bench.metric("arriero_copies_total", store="summit", state="failed") == 1,
            "told",
            bench,
        )
        await until(lambda: not waiting(bench, "summit"), "waits no longer")


async def test_draining_waits_for_copies(make_bench: MakeBench) -> None:
    bench = make_bench(copies=("summit",))
    bench.copies["summit"].gate.clear()
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await until(lambda: waiting(bench, "summit") == 1, "waits", bench)
        assert (await ask(http, "/forwarder/drain", ANN))["drained"] is False
        bench.copies["summit"].gate.set()
        assert (await ask(http, "/forwarder/drain", {**ANN, "wait_s": 30}))["drained"] is True
    assert len(bench.events("image.copied")) == 1


@pytest.mark.parametrize("copies", [("facility",), ("tape", "tape")])
def test_a_store_is_named_once(make_bench: MakeBench, copies: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="names a store twice"):
        make_bench(copies=copies)
