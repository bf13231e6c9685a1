"""A file's way, end to end, and what may happen to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable

from daemons.events import ImageConflicted, ImageQuarantined, ImageStored
from tests.unit.forwarder.harness import (
    Bench,
    detectors,
    obs_id,
    raw_key,
    raw_name,
    register,
    small_raw,
    until,
)


async def test_file_renamed_into_place_is_stored_with_its_sidecar_and_announced(
    bench: Bench,
) -> None:
    content = small_raw()
    async with bench.running():
        bench.put(raw_name(), content)
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).read_bytes() == content
    info = await bench.store.head(raw_key())
    assert info is not None
    assert info.metadata["sha256"] == hashlib.sha256(content).hexdigest()
    assert info.metadata["obs-id"] == obs_id()
    (event,) = bench.events("image.stored")
    fact = event.read(ImageStored)
    assert fact.key == raw_key()
    assert fact.sha256 == info.metadata["sha256"]
    assert fact.crc64nvme == info.metadata["crc64nvme"]
    assert fact.run == "LSSTCam/raw/all"
    assert fact.detector == 94
    assert fact.observation is not None
    assert fact.sidecar is not None
    stored_sidecar = (bench.bucket / fact.sidecar.key).read_bytes()
    assert json.loads(stored_sidecar)["__CONTENT__"] == "metadata"
    assert json.loads(stored_sidecar)["OBSID"] == obs_id()
    assert fact.sidecar.sha256 == hashlib.sha256(stored_sidecar).hexdigest()
    assert sorted(bench.store.puts) == sorted([fact.sidecar.key, fact.key])


async def test_registered_image_moves_on_and_is_not_announced_again(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(reannounce_after_s=0.2)
    registrar = asyncio.create_task(register(bench.stream))
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("registered")
        await asyncio.sleep(0.5)
    registrar.cancel()
    assert len(bench.events("image.stored")) == 1


async def test_image_that_nobody_registers_is_announced_again_with_the_same_id(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(reannounce_after_s=0.2)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await until(lambda: len(bench.events("image.stored")) >= 3, "three announcements", bench)
    events = bench.events("image.stored")
    assert len({event.id for event in events}) == 1
    assert {event.sequence for event in events} == {"00000000000000000001"}


async def test_without_a_registrar_nothing_is_announced_again(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(reannounce_after_s=None, reannounce_grace_s=0.0)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await asyncio.sleep(0.3)
    bench.again()
    async with bench.running():
        await asyncio.sleep(0.3)
        assert bench.images("announced") == 1
    assert bench.events("image.stored") == []


async def test_restart_announces_again_what_the_stream_in_memory_forgot(bench: Bench) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    first = bench.events("image.stored")
    bench.again()
    async with bench.running():
        await until(lambda: bool(bench.events("image.stored")), "announced again", bench)
    assert [event.id for event in bench.events("image.stored")] == [event.id for event in first]


async def test_five_hundred_files_at_once_are_all_stored_and_announced_in_sequence(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    sent = {}
    for seq_num in (1, 2, 3):
        for raft, sensor in detectors(167):
            content = small_raw(seq_num, raft, sensor)
            sent[raw_key(seq_num, raft, sensor)] = hashlib.sha256(content).hexdigest()
            (bench.folder / raw_name(seq_num, raft, sensor)).write_bytes(content)
    async with bench.running():
        for path in bench.folder.glob("*.fits"):
            path.rename(bench.drop / path.name)
        await bench.reach("announced", 501)
    facts = [event.read(ImageStored) for event in bench.events("image.stored")]
    assert {fact.key: fact.sha256 for fact in facts} == sent
    for key, digest in sent.items():
        assert hashlib.sha256((bench.bucket / key).read_bytes()).hexdigest() == digest
    sequences = [int(event.sequence or 0) for event in bench.events()]
    assert sequences == list(range(1, 502))
    assert bench.metric("arriero_files_total", state="stored") == 501


async def test_file_written_in_place_waits_until_it_is_quiet(bench: Bench) -> None:
    content = small_raw()
    path = bench.drop / raw_name()
    async with bench.running():
        with path.open("wb") as out:
            for start in range(0, len(content), 20_000):
                out.write(content[start : start + 20_000])
                out.flush()
                await asyncio.sleep(0.04)
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).read_bytes() == content
    assert not list(bench.quarantine.rglob("*.fits"))


async def test_file_that_pauses_longer_than_the_quiet_time_is_waited_for(bench: Bench) -> None:
    content = small_raw()
    path = bench.drop / raw_name()
    async with bench.running():
        with path.open("wb") as out:
            out.write(content[:50_000])
            out.flush()
            await asyncio.sleep(0.4)
            out.write(content[50_000:])
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).read_bytes() == content


async def test_truncated_file_waits_then_is_quarantined(bench: Bench) -> None:
    content = small_raw()[:-3000]
    async with bench.running():
        path = bench.put(raw_name(), content)
        await until(lambda: bench.images("discovered") == 1, "discovered", bench)
        await asyncio.sleep(0.3)
        assert bench.images("discovered") == 1
        assert path.exists()
        await bench.reach("quarantined")
        await until(lambda: bool(bench.events("image.quarantined")), "announced", bench)
    assert not path.exists()
    (aside,) = bench.quarantine.rglob("*.fits")
    assert aside.read_bytes() == content
    reason = json.loads(aside.with_name(aside.name + ".reason.json").read_bytes())
    assert "structure.truncated" in reason["codes"]
    assert reason["original_path"] == str(path)
    assert reason["sha256"] == hashlib.sha256(content).hexdigest()
    assert reason["size_bytes"] == len(content)
    (event,) = bench.events("image.quarantined")
    fact = event.read(ImageQuarantined)
    assert fact.quarantine_path == str(aside)
    assert fact.obs_id == obs_id()
    assert "structure.truncated" in fact.codes
    assert bench.metric("arriero_files_total", state="quarantined") == 1


async def test_truncated_file_that_becomes_whole_in_time_is_sent(bench: Bench) -> None:
    content = small_raw()
    async with bench.running():
        path = bench.put(raw_name(), content[:-3000])
        await until(lambda: bench.images("discovered") == 1, "discovered", bench)
        await asyncio.sleep(0.2)
        with path.open("ab") as out:
            out.write(content[-3000:])
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).read_bytes() == content


async def test_text_file_named_fits_and_empty_file_are_quarantined_and_others_go_on(
    bench: Bench,
) -> None:
    async with bench.running():
        bench.put("notes.fits", b"this is no image\n" * 400)
        bench.put("empty.fits", b"")
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await bench.reach("quarantined", 2)
        await until(lambda: len(bench.events("image.quarantined")) == 2, "announced", bench)
    codes = {
        fact.file_name: fact.codes
        for fact in (event.read(ImageQuarantined) for event in bench.events("image.quarantined"))
    }
    assert "structure.not_fits" in codes["notes.fits"]
    assert "file.empty" in codes["empty.fits"]


async def test_wrong_checksum_is_quarantined_at_once(bench: Bench) -> None:
    content = bytearray(small_raw())
    content[-2880] ^= 1
    async with bench.running():
        bench.put(raw_name(), bytes(content))
        await bench.reach("quarantined")
    (reason,) = bench.quarantine.rglob("*.reason.json")
    assert json.loads(reason.read_bytes())["codes"] == ["checksum.wrong"]


async def test_header_that_no_instrument_knows_is_quarantined(bench: Bench) -> None:
    async with bench.running():
        bench.put("other.fits", small_raw(INSTRUME="unheard of", TELESCOP="none"))
        await bench.reach("quarantined")
    (reason,) = bench.quarantine.rglob("*.reason.json")
    assert "translation.unknown_instrument" in json.loads(reason.read_bytes())["codes"]


async def test_name_that_the_template_cannot_place_is_quarantined(bench: Bench) -> None:
    async with bench.running():
        bench.put(f"copy of {raw_name()}", small_raw())
        await bench.reach("quarantined")
    (reason,) = bench.quarantine.rglob("*.reason.json")
    note = json.loads(reason.read_bytes())
    assert note["codes"] == ["placement.failed"]
    assert "rename the file" in note["reason"]


async def test_name_that_is_not_utf8_is_quarantined_under_its_own_bytes(bench: Bench) -> None:
    name = b"caf\xe9_" + raw_name().encode()
    path = os.fsencode(bench.drop) + b"/" + name
    staged = bench.folder / "staged"
    staged.write_bytes(small_raw())
    async with bench.running():
        os.rename(os.fsencode(staged), path)  # noqa: PTH104 - the name is no text
        await bench.reach("quarantined")
        await until(lambda: bool(bench.events("image.quarantined")), "announced", bench)
    (folder,) = os.scandir(os.fsencode(bench.quarantine))
    assert name in [entry.name for entry in os.scandir(folder.path)]
    (event,) = bench.events("image.quarantined")
    assert event.read(ImageQuarantined).file_name.startswith("caf\\xe9_")


async def test_same_key_with_other_content_is_a_conflict_and_nothing_is_overwritten(
    bench: Bench,
) -> None:
    first, second = small_raw(variant=1), small_raw(variant=2)
    async with bench.running():
        bench.put(raw_name(), first, folder="a")
        await bench.reach("announced")
        path = bench.put(raw_name(), second, folder="b")
        await bench.reach("conflicted")
        await until(lambda: bool(bench.events("image.conflicted")), "announced", bench)
    assert (bench.bucket / raw_key()).read_bytes() == first
    assert path.read_bytes() == second
    (event,) = bench.events("image.conflicted")
    fact = event.read(ImageConflicted)
    assert fact.sha256 == hashlib.sha256(second).hexdigest()
    assert fact.stored_sha256 == hashlib.sha256(first).hexdigest()
    assert len(bench.events("image.stored")) == 1


async def test_same_content_under_the_same_key_is_stored_already(bench: Bench) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw(), folder="a")
        await bench.reach("announced")
        bench.put(raw_name(), small_raw(), folder="b")
        await bench.reach("announced", 2)
    assert len({event.id for event in bench.events("image.stored")}) == 1
    assert bench.images("conflicted") == 0


async def test_in_place_replacement_with_kept_mtime_is_seen_as_a_new_version(
    bench: Bench,
) -> None:
    first, second = small_raw(variant=1), small_raw(variant=2)
    assert len(first) == len(second)
    async with bench.running():
        path = bench.put(raw_name(), first)
        await bench.reach("announced")
        before = path.stat()
        bench.put(raw_name(), second)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        await bench.reach("conflicted")
    assert (bench.bucket / raw_key()).read_bytes() == first


async def test_replacement_with_the_same_content_is_a_version_that_is_stored_already(
    bench: Bench,
) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        bench.put(raw_name(), small_raw())
        await bench.reach("announced", 2)
    assert bench.store.puts.count(raw_key()) == 2  # the second was answered: it is there


async def test_hard_link_into_place_is_taken_at_once_and_changes_no_version(bench: Bench) -> None:
    elsewhere = bench.folder / "elsewhere.fits"
    elsewhere.write_bytes(small_raw())
    async with bench.running():
        os.link(elsewhere, bench.drop / raw_name())
        await bench.reach("announced")
        os.link(elsewhere, bench.folder / "another.fits")  # moves the ctime of the same inode
        (bench.drop / raw_name()).chmod(0o640)
        bench.forwarder._open_parts.reconciler.scan_soon()
        puts = len(bench.store.puts)
        await until(lambda: bench.metric("arriero_scan_seconds_count") >= 2, "scan", bench)
        await until(lambda: bench.forwarder.status()["settling"] == 0, "settled", bench)
        await until(lambda: bench.images("discovered") == 0, "done", bench)
        assert bench.images("announced") == 1
    assert len(bench.store.puts) == puts
    assert len(bench.events("image.stored")) == 1


async def test_file_removed_while_it_is_read_is_noted_and_others_go_on(bench: Bench) -> None:
    async with bench.running():
        bench.store.before_put = lambda _key: (bench.drop / raw_name()).unlink(missing_ok=True)
        bench.put(raw_name(), small_raw())
        await bench.reach("failed")
        bench.store.before_put = lambda _key: None
        bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced")
        (entry,) = await bench.forwarder._open_parts.journal.aside({"failed"}, 10)
    assert entry.reason == "file.gone"
    assert not (bench.bucket / raw_key()).exists()
    assert len(bench.events()) == 1


async def test_file_that_vanishes_before_it_is_read_and_comes_back_is_sent(bench: Bench) -> None:
    bench.store.down = True
    async with bench.running():
        path = bench.put(raw_name(), small_raw())
        await bench.reach("inspected")
        hidden = path.rename(bench.folder / "hidden.fits")
        bench.store.down = False
        await bench.reach("failed")
        hidden.rename(path)
        await bench.reach("announced")


async def test_file_replaced_during_its_upload_starts_again_with_the_new_content(
    bench: Bench,
) -> None:
    first, second = small_raw(variant=1), small_raw(variant=2)
    replaced = []

    def replace(key: str) -> None:
        if key == raw_key() and not replaced:
            replaced.append(key)
            bench.put(raw_name(), second)

    bench.store.after_put = replace
    async with bench.running():
        bench.put(raw_name(), first)
        await bench.reach("announced")
        assert bench.images("conflicted") == 0
    assert (bench.bucket / raw_key()).read_bytes() == second
    (event,) = bench.events("image.stored")
    assert event.read(ImageStored).sha256 == hashlib.sha256(second).hexdigest()
    sidecar = json.loads((bench.bucket / raw_key()).with_suffix(".json").read_bytes())
    assert sidecar["VARIANT"] == 2


async def test_camera_sidecar_is_used_as_it_is(bench: Bench) -> None:
    own = json.dumps({"__CONTENT__": "metadata", "OBSID": obs_id(), "EXTRA": "mine"}).encode()
    async with bench.running():
        bench.put(raw_name().replace(".fits", ".json"), own)
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    assert (bench.bucket / raw_key()).with_suffix(".json").read_bytes() == own


async def test_camera_sidecar_of_another_exposure_is_not_used(bench: Bench) -> None:
    other = json.dumps({"__CONTENT__": "metadata", "OBSID": obs_id(7)}).encode()
    async with bench.running():
        bench.put(raw_name().replace(".fits", ".json"), other)
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        (entry,) = await bench.forwarder._open_parts.journal.aside({"announced"}, 10)
    sidecar = json.loads((bench.bucket / raw_key()).with_suffix(".json").read_bytes())
    assert sidecar["OBSID"] == obs_id()
    assert "sidecar.invalid" in {finding.code for finding in entry.findings}


async def test_unknown_files_links_and_ignored_names_are_left_alone(bench: Bench) -> None:
    elsewhere = bench.folder / "elsewhere.fits"
    elsewhere.write_bytes(small_raw())
    bench.put("readme.txt", b"hello")
    bench.put(".hidden.fits", small_raw())
    bench.put(f"{raw_name()}.part", small_raw())
    (bench.drop / raw_name()).symlink_to(elsewhere)
    os.mkfifo(bench.drop / raw_name(3))
    async with bench.running():
        bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced")
        bench.forwarder._open_parts.reconciler.scan_soon()
        await until(lambda: bench.metric("arriero_scan_seconds_count") >= 2, "scan", bench)
        status = bench.forwarder.status()
    assert status["left_alone"]["unknown"] == 1
    assert len(status["left_alone"]["refused"]) == 2
    assert (bench.drop / raw_name()).is_symlink()
    assert len(bench.events()) == 1


async def test_store_away_at_the_start_is_waited_for(bench: Bench) -> None:
    bench.store.down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("inspected")
        assert not bench.health.dependencies["store.facility"].ok
        assert not bench.health.ready
        bench.store.down = False
        await bench.reach("announced")
        assert bench.health.dependencies["store.facility"].ok


async def test_store_that_goes_away_in_the_middle_and_answers_that_are_lost(
    bench: Bench,
) -> None:
    names = detectors(40)
    async with bench.running():
        for raft, sensor in names[:20]:
            bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))
        bench.store.lose_answers = 5
        await bench.reach("stored", 1)
        bench.store.down = True
        for raft, sensor in names[20:]:
            bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))
        await asyncio.sleep(0.5)
        bench.store.down = False
        await bench.reach("announced", 40)
        assert bench.images("conflicted") == 0
    assert len(bench.events("image.stored")) == 40


async def test_event_stream_away_is_waited_for_and_the_sequence_has_no_gap(bench: Bench) -> None:
    bench.broker.stop()
    async with bench.running():
        for raft, sensor in detectors(10):
            bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))
        await bench.reach("stored", 10)
        await until(lambda: not bench.health.dependencies["event_stream"].ok, "noticed", bench)
        assert bench.forwarder.status()["outbox"]["depth"] == 10
        assert bench.metric("arriero_outbox_depth") == 10
        bench.broker.start()
        await bench.reach("announced", 10)
        assert bench.health.dependencies["event_stream"].ok
    assert sorted({int(event.sequence or 0) for event in bench.events()}) == list(range(1, 11))


async def test_drop_directory_that_is_not_there_is_waited_for(bench: Bench) -> None:
    bench.drop.rmdir()
    async with bench.running():
        await until(
            lambda: "cannot be read" in bench.health.dependencies["drop_directory"].reason,
            "noticed",
            bench,
        )
        bench.drop.mkdir()
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        assert bench.health.dependencies["drop_directory"].ok


async def test_drop_directory_that_is_replaced_is_watched_anew(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(scan_period_s=0.3)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        bench.drop.rename(bench.folder / "former")
        await until(lambda: not bench.health.dependencies["drop_directory"].ok, "noticed", bench)
        bench.drop.mkdir()
        bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced", 2)


async def test_files_in_hand_survive_a_drop_directory_that_goes_away_and_comes_back(
    bench: Bench,
) -> None:
    bench.store.down = True
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("inspected")
        former = bench.drop.rename(bench.folder / "former")
        bench.store.down = False
        await asyncio.sleep(0.5)
        assert bench.images("failed") == 0
        former.rename(bench.drop)
        await bench.reach("announced")


async def test_files_that_came_while_nobody_looked_are_found_at_the_start(bench: Bench) -> None:
    for raft, sensor in detectors(12):
        night = f"night/{raft}"
        bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor), folder=night)
    async with bench.running():
        await bench.reach("announced", 12)


async def test_fresh_folder_filled_at_once_is_complete(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(scan_period_s=1.0)
    made = bench.folder / "made"
    made.mkdir()
    for raft, sensor in detectors(20):
        (made / raw_name(1, raft, sensor)).write_bytes(small_raw(1, raft, sensor))
    async with bench.running():
        await until(lambda: bench.metric("arriero_scan_seconds_count") >= 1, "scan", bench)
        shutil.copytree(made, bench.drop / "deep" / "er" / "copied")
        made.rename(bench.drop / "renamed")
        await bench.reach("announced", 40)
        assert bench.images("failed") == 0


async def test_draining_finishes_what_is_in_hand_and_begins_nothing_new(bench: Bench) -> None:
    async with bench.running() as forwarder:
        for raft, sensor in detectors(30):
            bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))
        await bench.reach("stored", 1)
        async with asyncio.timeout(10):
            await forwarder.drain()
        done = bench.images("announced")
        assert forwarder.status()["in_hand"]["files"] == 0
        assert forwarder.status()["outbox"]["depth"] == 0
        await asyncio.sleep(0.2)
        assert bench.images("announced") == done
    bench.again()
    async with bench.running():
        await bench.reach("announced", 30)


async def test_draining_does_not_wait_for_a_store_that_is_away(bench: Bench) -> None:
    bench.store.down = True
    async with bench.running() as forwarder:
        bench.put(raw_name(), small_raw())
        await bench.reach("inspected")
        async with asyncio.timeout(5):
            await forwarder.drain()
        assert bench.images("inspected") == 1
    bench.store.down = False
    bench.again()
    async with bench.running():
        await bench.reach("announced")


async def test_work_can_be_ended_and_begun_again_on_one_open_forwarder(bench: Bench) -> None:
    await bench.forwarder.open()
    for seq_num in (1, 2):
        work = asyncio.create_task(bench.forwarder.work())
        bench.put(raw_name(seq_num), small_raw(seq_num))
        await bench.reach("announced", seq_num)
        await bench.forwarder.drain()
        work.cancel()
        await asyncio.wait({work})
    await bench.forwarder.close()
    await bench.forwarder.close()


async def test_settings_that_may_change_are_taken_over_and_others_are_named(bench: Bench) -> None:
    changed = bench.settings.model_copy(update={"quiet_time_s": 3.0, "inspect_threads": 7})
    assert bench.forwarder.reload(changed) == ("inspect_threads",)
    assert bench.forwarder._live.settings.quiet_time_s == 3.0
    assert bench.forwarder._live.settings.inspect_threads == 2


async def test_sidecar_whose_image_never_arrived_gives_way_to_that_of_the_present_image(
    bench: Bench,
) -> None:
    key = raw_key().replace(".fits", ".json")
    left = {"sha256": hashlib.sha256(b"{}").hexdigest(), "image-sha256": "0" * 64}
    await bench.store.put(key, b"{}", metadata=left)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    assert json.loads((bench.bucket / key).read_bytes())["OBSID"] == obs_id()


async def test_sidecar_of_somebody_else_without_an_image_is_a_conflict(bench: Bench) -> None:
    key = raw_key().replace(".fits", ".json")
    await bench.store.put(key, b"{}")
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("conflicted")
    assert (bench.bucket / key).read_bytes() == b"{}"
    assert not (bench.bucket / raw_key()).exists()


async def test_image_that_another_tool_stored_with_its_own_sidecar_is_stored_already(
    bench: Bench,
) -> None:
    key = raw_key().replace(".fits", ".json")
    await bench.store.put(key, b"{}")
    await bench.store.put(raw_key(), small_raw())
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
    fact = bench.events("image.stored")[0].read(ImageStored)
    assert fact.sidecar is not None
    assert fact.sidecar.sha256 == hashlib.sha256(b"{}").hexdigest()
    assert (bench.bucket / key).read_bytes() == b"{}"


async def test_draining_does_not_wait_for_an_event_stream_that_is_away(bench: Bench) -> None:
    bench.broker.stop()
    async with bench.running() as forwarder:
        bench.put(raw_name(), small_raw())
        await bench.reach("stored")
        async with asyncio.timeout(5):
            await forwarder.drain()
        assert forwarder.status()["outbox"]["depth"] == 1
    bench.again()
    async with bench.running():
        await bench.reach("announced")
