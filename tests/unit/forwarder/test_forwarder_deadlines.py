"""Exposures against the clock, through the whole forwarder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from daemons.events import ExposureComplete, ExposureIncomplete, ExposureLate
from daemons.forwarder.lateness import Deadlines, Lateness
from daemons.storage import StoreUnavailableError
from tests.unit.forwarder.harness import (
    Bench,
    expected_sensors,
    obs_id,
    raw_name,
    small_raw,
    until,
)

MakeBench = Callable[..., Bench]
FAST = {"warn_after_s": 0.2, "late_after_s": 0.4, "incomplete_after_s": 0.6}


@given(st.floats(0, 100), st.sampled_from(Lateness))
def test_deadlines_are_passed_in_order(age_s: float, before: Lateness) -> None:
    deadlines = Deadlines(5.0, 7.0, 10.0)
    reached = deadlines.reached(age_s)
    assert (reached is Lateness.IN_TIME) == (age_s < 5.0)
    assert (reached is Lateness.INCOMPLETE) == (age_s >= 10.0)
    assert deadlines.next_after(before) >= deadlines.of(before)


async def test_an_exposure_that_stays_incomplete_is_late_and_then_incomplete(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(**FAST)
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        bench.put(f"{obs_id(1)}_expectedSensors.json", expected_sensors(1, ["R22_S11", "R22_S12"]))
        await until(lambda: len(bench.events("exposure.incomplete")) == 1, "incomplete", bench)
        late = [event.read(ExposureLate) for event in bench.events("exposure.late")]
        (incomplete,) = (
            event.read(ExposureIncomplete) for event in bench.events("exposure.incomplete")
        )
        assert incomplete.missing == ("R22_S12",)
        assert (incomplete.expected, incomplete.stored, incomplete.scope) == (2, 1, "host")
        assert incomplete.deadline_s == 0.6
        # A machine that was busy may pass two deadlines in one look; it says the last one.
        assert len(late) <= 1
        assert all(fact.missing == ("R22_S12",) for fact in late)
        await until(
            lambda: bench.metric("arriero_exposures_late_total", deadline="incomplete") == 1,
            "counted",
        )
        bench.put(raw_name(1, sensor="S12"), small_raw(1, sensor="S12"))
        await until(lambda: len(bench.events("exposure.complete")) == 1, "complete", bench)
    assert len(bench.events("exposure.incomplete")) == 1
    assert len(bench.events("exposure.late")) == len(late)


async def test_a_complete_exposure_is_never_late(make_bench: MakeBench) -> None:
    bench = make_bench(**FAST)
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        bench.put(f"{obs_id(1)}_expectedSensors.json", expected_sensors(1, ["R22_S11"]))
        await until(lambda: len(bench.events("exposure.complete")) == 1, "complete", bench)
        bench.put(raw_name(2), small_raw(2))  # of which nobody says what is expected
        await bench.reach("announced", 2)
        await until(lambda: not open_exposures(bench), "no deadline runs", bench)
        await asyncio.sleep(0)
    assert bench.events("exposure.incomplete") == []
    (complete,) = bench.events("exposure.complete")
    assert complete.read(ExposureComplete).seconds is not None
    assert bench.metric("arriero_exposure_seconds_count") == 1


async def test_what_is_known_and_not_stored_is_missing_where_nobody_said_what_is_expected(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(**FAST)

    def refuse_one(key: str) -> None:
        if key.endswith("R22_S12.fits"):
            raise StoreUnavailableError("not this one")

    bench.store.before_put = refuse_one
    async with bench.running():
        for sensor in ("S11", "S12"):
            bench.put(raw_name(1, sensor=sensor), small_raw(1, sensor=sensor))
        await until(lambda: len(bench.events("exposure.incomplete")) == 1, "incomplete", bench)
    (event,) = bench.events("exposure.incomplete")
    fact = event.read(ExposureIncomplete)
    assert fact.missing == ("R22_S12",)
    assert fact.expected == 2


async def test_a_share_of_named_detectors_says_what_is_expected(make_bench: MakeBench) -> None:
    bench = make_bench(**FAST, share=("R22_S11", "R22_S22"))
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        await until(lambda: len(bench.events("exposure.incomplete")) == 1, "incomplete", bench)
    assert bench.events("exposure.incomplete")[0].read(ExposureIncomplete).missing == ("R22_S22",)


async def test_a_deadline_that_passed_while_the_service_was_away_is_told_once(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    sensors = expected_sensors(1, ["R22_S11", "R22_S12"])
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        bench.put(f"{obs_id(1)}_expectedSensors.json", sensors)
        await until(lambda: status_of(bench, "attachments").get("stored") is not None, "list")
    for _ in range(2):
        bench.settings = bench.settings.model_copy(update=dict.fromkeys(FAST, 0.01))
        bench.again()
        async with bench.running():
            await until(lambda: not open_exposures(bench), "no deadline runs", bench)
            await until(lambda: bench.forwarder.status()["outbox"]["depth"] == 0, "told", bench)
            told = bench.events("exposure.incomplete")
        assert bench.events("exposure.late") == []
        if _ == 0:
            assert len(told) == 1
        else:
            assert told == []


def status_of(bench: Bench, kind: str) -> dict[str, object]:
    found: dict[str, object] = bench.forwarder.status().get(kind, {})
    return found


def open_exposures(bench: Bench) -> int:
    """Count the exposures whose deadlines run, in the journal's file."""
    import sqlite3  # noqa: PLC0415 - a look from outside, nowhere else needed

    path = bench.settings.state_directory / "journal.sqlite3"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        query = "SELECT count(*) FROM exposures WHERE completed_at IS NULL AND lateness < 3"
        count = int(base.execute(query).fetchone()[0])
    base.close()
    return count
