"""What operators do with a forwarder, over HTTP as they do it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from daemons.forwarder.operations import add_routes
from tests.unit.forwarder.harness import (
    Bench,
    detectors,
    expected_sensors,
    obs_id,
    raw_key,
    raw_name,
    small_raw,
    until,
)

ANN = {"who": "ann", "why": "a known fault of this camera"}


@asynccontextmanager
async def client(bench: Bench) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    add_routes(app, bench.forwarder)
    async with TestClient(TestServer(app)) as http:
        yield http


@asynccontextmanager
async def operated(bench: Bench) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async with bench.running(), client(bench) as http:
        yield http


async def ask(
    http: TestClient[web.Request, web.Application], path: str, body: Any = None, status: int = 200
) -> Any:
    if body is None:
        response = await http.get(path)
    else:
        response = await http.post(path, json=body)
    answer = await response.json()
    assert response.status == status, answer
    return answer


def damaged() -> bytes:
    content = bytearray(small_raw())
    content[-2880] ^= 1
    return bytes(content)


async def test_a_file_with_wrong_checksums_can_be_released_and_is_stored_as_it_is(
    bench: Bench,
) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), damaged())
        await bench.reach("quarantined")
        (file,) = (await ask(http, "/forwarder/quarantine"))["files"]
        assert file["reason"] == "checksum.wrong"
        answer = await ask(http, f"/forwarder/quarantine/{file['id']}/release", ANN)
        assert answer["waived"] == ["checksum.wrong"]
        await bench.reach("announced")
        assert (await ask(http, "/forwarder/quarantine"))["files"] == []
        assert (await ask(http, f"/forwarder/files/{file['id']}"))["key"] == raw_key()
    info = await bench.store.head(raw_key())
    assert info is not None
    assert info.metadata["waived"] == "checksum.wrong"
    assert (bench.bucket / raw_key()).read_bytes() == damaged()
    (note,) = bench.quarantine.rglob("*.reason.json")
    (decision,) = json.loads(note.read_bytes())["decisions"]
    assert (decision["decision"], decision["who"]) == ("released", "ann")
    assert decision["waived"] == ["checksum.wrong"]
    assert bench.images("quarantined") == 0


async def test_what_is_found_besides_the_waived_sets_the_file_aside_again(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), damaged())
        await bench.reach("quarantined")
        body = {**ANN, "waive": ["structure.truncated"]}
        await ask(http, "/forwarder/quarantine/1/release", body)
        await until(lambda: len(bench.events("image.quarantined")) == 2, "again", bench)
        assert bench.images("quarantined") == 1
    assert not (bench.bucket / raw_key()).exists()


async def test_a_file_whose_identity_nobody_can_tell_cannot_be_released(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put("notes.fits", b"this is no image\n" * 400)
        await bench.reach("quarantined")
        answer = await ask(http, "/forwarder/quarantine/1/release", ANN, status=409)
        assert answer["code"] == "decision.refused"
        assert "cannot be stored whatever is waived" in answer["message"]
        assert bench.images("quarantined") == 1
        await ask(http, "/forwarder/quarantine/1/reject", ANN)
        assert bench.images("failed") == 1
        answer = await ask(http, "/forwarder/quarantine/1/reject", ANN, status=409)
        assert "given up already" in answer["message"]
    (kept,) = bench.quarantine.rglob("notes.fits")
    assert kept.read_bytes().startswith(b"this is no image")


async def test_a_released_file_is_worked_on_after_a_restart(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), damaged())
        await bench.reach("quarantined")
        bench.store.down = True
        await ask(http, "/forwarder/quarantine/1/release", ANN)
        await bench.reach("inspected")
    bench.store.down = False
    bench.again()
    async with bench.running():
        await bench.reach("announced")


async def test_a_conflict_can_be_tried_again_after_somebody_cleared_the_key(
    bench: Bench,
) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw(variant=1), folder="a")
        await bench.reach("announced")
        bench.put(raw_name(), small_raw(variant=2), folder="b")
        await bench.reach("conflicted")
        (file,) = (await ask(http, "/forwarder/quarantine?state=conflicted"))["files"]
        await bench.store.delete(raw_key())
        await bench.store.delete(raw_key().replace(".fits", ".json"))
        await ask(http, f"/forwarder/quarantine/{file['id']}/release", ANN)
        await bench.reach("announced", 2)
    assert (bench.bucket / raw_key()).read_bytes() == small_raw(variant=2)


async def test_a_file_that_is_on_its_way_cannot_be_decided_about(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        for decision in ("release", "reject"):
            path = f"/forwarder/quarantine/1/{decision}"
            assert "is announced" in (await ask(http, path, ANN, status=409))["message"]
        assert (await ask(http, "/forwarder/files/99", status=404))["code"] == "file.unknown"
        answer = await ask(http, "/forwarder/quarantine/1/release", {"who": ""}, status=400)
        assert answer["code"] == "request.invalid"


async def test_a_file_is_handed_over_and_the_answer_waits_until_it_is_stored(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    bench = make_bench(send_roots=(outbox,))
    path = outbox / raw_name()
    path.write_bytes(small_raw())
    async with operated(bench) as http:
        answer = await ask(http, "/forwarder/send", {"path": str(path), "wait_s": 20})
        assert answer["state"] in {"stored", "announced"}
        assert answer["sighting"] == "new"
        again = await ask(http, "/forwarder/send", {"path": str(path), "wait_s": 20})
        assert again["id"] == answer["id"]
        assert again["sighting"] == "known"
    assert path.exists()
    assert (bench.bucket / raw_key()).read_bytes() == small_raw()


async def test_a_file_in_the_drop_directory_can_be_handed_over_without_waiting_for_quiet(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(quiet_time_s=1000.0, unseen_quiet_time_s=1000.0)
    async with operated(bench) as http:
        path = bench.drop / raw_name()
        path.write_bytes(small_raw())
        answer = await ask(http, "/forwarder/send", {"path": str(path), "wait_s": 20})
        assert answer["state"] in {"stored", "announced"}


async def test_paths_that_must_not_be_sent_are_refused(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    outbox, secret = tmp_path / "outbox", tmp_path / "secret"
    outbox.mkdir()
    secret.mkdir()
    (secret / raw_name()).write_bytes(small_raw())
    (outbox / raw_name()).symlink_to(secret / raw_name())
    (outbox / "way").symlink_to(secret)
    (outbox / "notes.txt").write_bytes(b"x")
    bench = make_bench(send_roots=(outbox,))
    async with operated(bench) as http:
        for path, sentence in {
            str(secret / raw_name()): "neither in the drop directory",
            str(outbox / ".." / "secret" / raw_name()): "neither in the drop directory",
            str(outbox / "way" / raw_name()): "neither in the drop directory",
            str(outbox / raw_name()): "symbolic link",
            str(outbox / "none.fits"): "there is no file",
            str(outbox / "notes.txt"): "file_patterns",
            raw_name(): "no absolute path",
        }.items():
            answer = await ask(http, "/forwarder/send", {"path": path}, status=403)
            assert sentence in answer["message"], path
        assert (await ask(http, "/forwarder/queue"))["files"] == []


async def test_the_queue_says_what_waits_and_why(bench: Bench) -> None:
    bench.store.down = True
    bench.broker.stop()
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw())
        bench.put(raw_name(2), small_raw(2)[:-3000])
        await bench.reach("inspected")
        await until(lambda: bench.images("discovered") == 1, "discovered", bench)
        while True:
            queue = await ask(http, "/forwarder/queue")
            if {file["reason"] for file in queue["files"]} == {None, "structure.truncated"}:
                break
            await asyncio.sleep(0.02)
        (exposure,) = queue["exposures"]
        assert (exposure["obs_id"], exposure["stored"]) == (obs_id(), 0)
        bench.store.down = False
        await bench.reach("stored")
        queue = await ask(http, "/forwarder/queue")
        assert "image.stored" in {event["type"] for event in queue["events"]}
        bench.broker.start()


async def test_while_the_service_is_not_open_the_answer_says_so(bench: Bench) -> None:
    async with client(bench) as http:
        answer = await ask(http, "/forwarder/queue", status=503)
        assert "STANDBY" in answer["message"]


async def test_an_exposure_is_complete_when_the_share_of_this_host_is_stored(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(share=("R01_*",), attachment_patience_s=1000.0)
    ours = detectors(3)
    names = [f"{raft}_{sensor}" for raft, sensor in ours]
    listed = expected_sensors(1, [*names, "R22_S11", "R43_S22"])
    async with operated(bench) as http:
        bench.put(f"{obs_id()}_expectedSensors.json", listed)
        for raft, sensor in ours[:2]:
            bench.put(raw_name(1, raft, sensor), small_raw(1, raft, sensor))
        await bench.reach("announced", 2)
        await until(
            lambda: bench.forwarder.status()["attachments"].keys() == {"stored"}, "stored", bench
        )
        (exposure,) = (await ask(http, "/forwarder/queue"))["exposures"]
        assert (exposure["expected"], exposure["stored"]) == (3, 2)
        assert exposure["missing"] == ["R01_S02"]
        bench.put(raw_name(1, *ours[2]), small_raw(1, *ours[2]))
        await until(lambda: bool(bench.events("exposure.complete")), "complete", bench)
    (event,) = bench.events("exposure.complete")
    assert event.data["scope"] == "host"
    assert (event.data["expected"], event.data["stored"]) == (3, 3)
    assert event.data["seconds"] > 0
    assert bench.bucket.joinpath(_list_key()).read_bytes() == listed
    assert bench.forwarder.status() is not None


def _list_key() -> str:
    return f"{os.path.dirname(raw_key())}/{obs_id()}_expectedSensors.json"  # noqa: PTH120 - a key


async def test_a_list_that_comes_first_waits_for_its_exposure_and_is_woken_by_it(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(attachment_patience_s=1000.0)
    async with bench.running():
        bench.put(f"{obs_id()}_expectedSensors.json", expected_sensors(1, ["R22_S11"]))
        await until(lambda: "attachments" in bench.forwarder.status(), "seen", bench)
        await asyncio.sleep(0.2)
        bench.put(raw_name(), small_raw())
        await until(lambda: bool(bench.events("exposure.complete")), "complete", bench)
        assert bench.forwarder.status()["attachments"] == {
            "stored": {"files": 1, "bytes": len(expected_sensors(1, ["R22_S11"]))}
        }


async def test_a_list_without_exposure_and_a_broken_one_are_quarantined_in_the_end(
    bench: Bench,
) -> None:
    async with bench.running():
        bench.put(f"{obs_id()}_expectedSensors.json", expected_sensors(1, ["R22_S11"]))
        bench.put(f"{obs_id(2)}_expectedSensors.json", b'{"obsId": "')
        bench.put(f"{obs_id(3)}_expectedSensors.json", b"[]")
        await until(lambda: len(bench.events("image.quarantined")) == 3, "aside", bench)
    codes = sorted(code for event in bench.events() for code in event.data["codes"])
    assert codes == ["attachment.invalid", "attachment.invalid", "attachment.no_exposure"]
