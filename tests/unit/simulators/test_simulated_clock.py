from __future__ import annotations

import time

from daemons.runtime.clock import TaiSeconds, tai_to_utc
from daemons.simulators.clock import Pace, SimulatedClock

BEGINS = TaiSeconds(1_793_754_000.0)


async def test_the_fast_clock_stands_still_until_it_is_moved() -> None:
    clock = SimulatedClock(BEGINS, Pace.FAST)
    clock.start()
    assert clock.tai() == BEGINS
    before = time.monotonic()
    await clock.until(TaiSeconds(BEGINS + 3600.0))
    assert time.monotonic() - before < 60.0
    assert clock.tai() == BEGINS + 3600.0
    assert clock.utc() == tai_to_utc(TaiSeconds(BEGINS + 3600.0))


async def test_the_real_clock_runs_from_its_start_on() -> None:
    clock = SimulatedClock(BEGINS, Pace.REAL)
    assert clock.tai() == BEGINS
    clock.start()
    await clock.until(TaiSeconds(BEGINS + 0.05))
    assert clock.tai() >= BEGINS + 0.05
    clock.start()
    assert clock.tai() >= BEGINS + 0.05


async def test_no_clock_goes_back() -> None:
    for pace in Pace:
        clock = SimulatedClock(BEGINS, pace)
        clock.start()
        clock.skip_to(TaiSeconds(BEGINS + 100.0))
        clock.skip_to(BEGINS)
        await clock.until(BEGINS)
        assert clock.tai() >= BEGINS + 100.0


async def test_the_real_clock_goes_on_running_after_a_skip() -> None:
    clock = SimulatedClock(BEGINS, Pace.REAL)
    clock.start()
    clock.skip_to(TaiSeconds(BEGINS + 100.0))
    await clock.until(TaiSeconds(BEGINS + 100.02))
    assert clock.tai() >= BEGINS + 100.02
