"""Pause, resume, drain, limits and trying again, over HTTP as operators do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemons.events import ExposureHeld
from daemons.forwarder.settings import ForwarderSettings
from tests.unit.forwarder.harness import (
    Bench,
    expected_sensors,
    obs_id,
    raw_key,
    raw_name,
    small_raw,
    until,
)
from tests.unit.forwarder.test_forwarder_operations import ANN, ask, damaged, operated

MakeBench = Callable[..., Bench]


async def test_a_paused_forwarder_notes_files_and_sends_none_until_resumed(bench: Bench) -> None:
    async with operated(bench) as http:
        answer = await ask(http, "/forwarder/pause", {**ANN, "wait_s": 5})
        assert (answer["mode"], answer["in_hand"]) == ("paused", 0)
        bench.put(raw_name(), small_raw())
        await bench.reach("discovered")
        assert bench.store.puts == []
        control = (await ask(http, "/forwarder/limits"))["set_by_operators"]["mode"]
        assert (control["value"], control["who"], control["why"]) == (
            *("paused", "ann"),
            ANN["why"],
        )
        answer = await ask(http, "/forwarder/resume", ANN)
        assert answer["mode"] == "running"
        await bench.reach("announced")


async def test_a_pause_outlasts_a_restart(bench: Bench) -> None:
    async with operated(bench) as http:
        await ask(http, "/forwarder/pause", ANN)
    bench.again()
    bench.put(raw_name(), small_raw())
    async with operated(bench) as http:
        await bench.reach("discovered")
        assert (await ask(http, "/forwarder/limits"))["mode"] == "paused"
        assert bench.store.puts == []
        await ask(http, "/forwarder/resume", ANN)
        await bench.reach("announced")


async def test_a_paused_backlog_stands_while_new_exposures_are_sent(make_bench: MakeBench) -> None:
    bench = make_bench(backlog_after_s=0.3)
    async with operated(bench) as http:
        await ask(http, "/forwarder/pause", ANN)
        bench.put(raw_name(1), small_raw(1))
        await bench.reach("discovered")
        await asyncio.sleep(0.4)  # it becomes backlog
        answer = await ask(http, "/forwarder/pause", {**ANN, "backlog_only": True})
        assert answer["mode"] == "backlog_paused"
        bench.put(raw_name(2), small_raw(2))
        await bench.reach("announced")
        assert raw_key(1) not in bench.store.puts
        assert raw_key(2) in bench.store.puts
        await ask(http, "/forwarder/resume", ANN)
        await bench.reach("announced", 2)


async def test_draining_sends_what_waits_and_takes_nothing_in(bench: Bench) -> None:
    bench.store.down = True
    async with operated(bench) as http:
        bench.put(raw_name(1), small_raw(1))
        await bench.reach("inspected")
        answer = await ask(http, "/forwarder/drain", ANN)
        assert (answer["mode"], answer["drained"], answer["waiting"]) == ("draining", False, 1)
        bench.put(raw_name(2), small_raw(2))
        bench.store.down = False
        answer = await ask(http, "/forwarder/drain", {**ANN, "wait_s": 30})
        assert answer["drained"] is True
        assert bench.images("announced") == 1
        assert [event.subject for event in bench.events("image.stored")] == [f"{obs_id(1)}/R22_S11"]
        await ask(http, "/forwarder/resume", ANN)
        await bench.reach("announced", 2)


async def test_concurrency_changes_at_once_and_goes_back(make_bench: MakeBench) -> None:
    bench = make_bench(concurrency=4, backlog_share=0.0)
    bench.store.gate.clear()
    async with operated(bench) as http:
        answer = await ask(http, "/forwarder/limits", {**ANN, "concurrency": 2})
        assert answer["concurrency"] == 2
        for number in range(6):
            bench.put(raw_name(number), small_raw(number))
        await bench.reach("inspected", 2)
        status = bench.forwarder.status()
        assert status["in_hand"]["files"] == 2
        assert status["controls"]["concurrency"] == 2
        answer = await ask(http, "/forwarder/limits", {**ANN, "reset": True})
        assert answer["concurrency"] == 4
        await bench.reach("inspected", 4)
        bench.store.gate.set()
        await bench.reach("announced", 6)


async def test_a_reload_changes_ceilings_where_no_operator_set_any(bench: Bench) -> None:
    async with operated(bench) as http:
        changed = bench.settings.model_copy(update={"concurrency": 3, "bandwidth_bytes_per_s": 7})
        assert isinstance(changed, ForwarderSettings)
        assert bench.forwarder.reload(changed) == ()
        answer = await ask(http, "/forwarder/limits")
        assert (answer["concurrency"], answer["bandwidth_bytes_per_s"]) == (3, 7)
        answer = await ask(http, "/forwarder/limits", {**ANN, "bandwidth_bytes_per_s": 0})
        assert answer["bandwidth_bytes_per_s"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"concurrency": 0},
        {"concurrency": "many"},
        {"bandwidth_bytes_per_s": -1},
        {"speed": 1},
    ],
)
async def test_limits_that_make_no_sense_are_refused(bench: Bench, body: dict[str, Any]) -> None:
    async with operated(bench) as http:
        answer = await ask(http, "/forwarder/limits", {**ANN, **body}, status=400)
        assert answer["code"] == "request.invalid"
        assert (await ask(http, "/forwarder/limits"))["set_by_operators"] == {}


async def test_files_set_aside_are_tried_again_without_a_waiver(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), damaged())
        await bench.reach("quarantined")
        answer = await ask(http, "/forwarder/requeue", {**ANN, "state": "quarantined"})
        assert (answer["files"], answer["again"], answer["refused"]) == (1, 1, [])
        await until(lambda: len(bench.events("image.quarantined")) == 2, "again", bench)
        (file,) = (await ask(http, "/forwarder/quarantine"))["files"]
        assert file["waived"] == []
        (place,) = bench.quarantine.rglob("*.fits")
        place.write_bytes(small_raw())
        answer = await ask(http, "/forwarder/requeue", {**ANN, "files": [file["id"]]})
        assert answer["again"] == 1
        await bench.reach("announced")


async def test_stored_images_are_announced_again_when_that_is_asked(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        answer = await ask(http, "/forwarder/requeue", {**ANN, "obs_id": obs_id()})
        assert (answer["files"], answer["left_alone"]) == (1, 1)
        body = {**ANN, "obs_id": obs_id(), "announce": True}
        assert (await ask(http, "/forwarder/requeue", body))["announced"] == 1
        await until(lambda: len(bench.events("image.stored")) == 2, "announced again", bench)
    first, second = bench.events("image.stored")
    assert (first.id, first.sequence) == (second.id, second.sequence), "the same fact"


async def test_a_file_that_is_gone_cannot_be_tried_again(bench: Bench) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), damaged())
        await bench.reach("quarantined")
        for place in bench.quarantine.rglob("*.fits"):
            place.unlink()
        answer = await ask(http, "/forwarder/requeue", {**ANN, "state": "quarantined"})
        assert answer["again"] == 0
        assert "no longer there" in answer["refused"][0]["why"]


async def test_nobody_can_try_nothing_in_particular_again(bench: Bench) -> None:
    async with operated(bench) as http:
        answer = await ask(http, "/forwarder/requeue", ANN, status=400)
        assert "say which files" in answer["message"]
        await ask(http, "/forwarder/requeue", {**ANN, "files": [99]}, status=404)


LOST_HEADER = dict.fromkeys(("RA", "DEC", "ROTPA", "HASTART", "AMSTART", "ELSTART", "AZSTART"))


async def test_an_exposure_with_a_lost_header_is_held_back_until_a_person_decides(
    bench: Bench,
) -> None:
    async with operated(bench) as http:
        bench.put(raw_name(), small_raw(**LOST_HEADER))
        bench.put(f"{obs_id()}_expectedSensors.json", expected_sensors(1, ["R22_S11"]))
        await until(lambda: len(bench.events("exposure.held")) == 1, "held", bench)
        assert "header.null_block" in bench.events("exposure.held")[0].read(ExposureHeld).codes
        await bench.reach("announced")  # the image itself is not held
        assert bench.events("exposure.complete") == []
        (held,) = (await ask(http, "/forwarder/queue"))["held"]
        assert (held["obs_id"], held["held"]) == (obs_id(), ["header.null_block"])
        route = f"/forwarder/exposures/{obs_id()}/release"
        answer = await ask(http, route, ANN)
        assert (answer["complete"], answer["waived"]) == (True, ["header.null_block"])
        await until(lambda: len(bench.events("exposure.complete")) == 1, "complete", bench)
        await ask(http, route, ANN, status=409)
        assert (await ask(http, "/forwarder/queue"))["held"] == []


async def test_a_policy_of_the_site_says_what_sets_a_file_aside(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    policy = tmp_path / "checks.yaml"
    policy.write_text("version: 1\nquarantine: [header.null_block]\n")
    bench = make_bench(checks=policy)
    async with bench.running():
        bench.put(raw_name(), small_raw(**LOST_HEADER))
        await until(lambda: len(bench.events("image.quarantined")) == 1, "told", bench)
    (event,) = bench.events("image.quarantined")
    assert "header.null_block" in event.data["codes"]


def test_a_wrong_policy_is_refused_with_file_and_line(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    policy = tmp_path / "checks.yaml"
    policy.write_text("version: 1\nhold: [header.null_block]\nquarantine: [no.such.code]\n")
    with pytest.raises(ValidationError, match=r"checks\.yaml:3"):
        make_bench(checks=policy)
