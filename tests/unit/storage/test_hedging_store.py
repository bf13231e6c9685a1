from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.storage.decorators import StoreDecorator
from daemons.storage.directory import DirectoryStore
from daemons.storage.hedging import HedgingStore, Pace
from daemons.storage.interface import (
    ObjectExistsError,
    ObjectInfo,
    ObjectStore,
    StoreUnavailableError,
)
from tests.support.waiting import until

METADATA = {"sha256": hashlib.sha256(b"pixels").hexdigest()}


class StickyStore(StoreDecorator):
    """Some of its puts do not come back: before the work, or after it."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.stuck_before: set[int] = set()
        self.stuck_after: set[int] = set()
        self.failing: set[int] = set()
        self.puts = 0
        self.cancelled = 0

    async def put(self, *args: Any, **options: Any) -> ObjectInfo:
        self.puts += 1
        number = self.puts
        try:
            if number in self.stuck_before:
                await asyncio.sleep(3600)
            if number in self.failing:
                raise StoreUnavailableError(f"put {number}")
            info = await super().put(*args, **options)
            if number in self.stuck_after:
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return info


@pytest.fixture
async def sticky(tmp_path: Path) -> AsyncIterator[StickyStore]:
    store = StickyStore(DirectoryStore("here", tmp_path / "objects"))
    yield store
    await store.close()


def hedging(sticky: StickyStore, *, is_safe: bool = True) -> HedgingStore:
    return HedgingStore(sticky, percent=5, after_s=0.005, is_safe=lambda: is_safe)


async def put(store: ObjectStore, key: str = "image", *, if_absent: bool = True) -> ObjectInfo:
    async with asyncio.timeout(30):
        return await store.put(key, b"pixels", metadata=METADATA, if_absent=if_absent)


async def test_a_put_that_is_stuck_is_overtaken_and_cancelled(sticky: StickyStore) -> None:
    sticky.stuck_before = {1}
    assert (await put(hedging(sticky))).size_bytes == 6
    assert (sticky.puts, sticky.cancelled) == (2, 1)


async def test_an_object_that_arrived_while_its_answer_did_not_is_ones_own(
    sticky: StickyStore,
) -> None:
    sticky.stuck_after = {1}
    info = await put(hedging(sticky))
    assert (info.key, info.metadata) == ("image", METADATA)
    assert (sticky.puts, sticky.cancelled) == (2, 1)


async def test_somebody_elses_object_is_a_conflict_all_the_same(sticky: StickyStore) -> None:
    await sticky.inner.put("image", b"others", metadata={"sha256": "0" * 64})
    with pytest.raises(ObjectExistsError):
        await put(hedging(sticky))
    sticky.stuck_before = {2}
    with pytest.raises(ObjectExistsError):
        await put(hedging(sticky))
    assert await sticky.get("image") == b"others"


async def test_when_both_fail_the_first_reason_is_told(sticky: StickyStore) -> None:
    sticky.failing = {1}
    with pytest.raises(StoreUnavailableError, match="put 1"):
        await put(hedging(sticky))
    assert sticky.puts == 1  # what fails at once is not slow: repeating is another's work


@pytest.mark.parametrize(("is_safe", "if_absent"), [(False, True), (True, False)])
async def test_only_conditional_puts_to_a_store_that_honours_them_are_begun_twice(
    sticky: StickyStore,
    is_safe: bool,  # noqa: FBT001 - a parameter of the test
    if_absent: bool,  # noqa: FBT001 - as above
) -> None:
    sticky.stuck_before = {1}
    store = hedging(sticky, is_safe=is_safe)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store.put("image", b"pixels", metadata=METADATA, if_absent=if_absent)
    assert (sticky.puts, sticky.cancelled) == (1, 1)


async def test_a_caller_who_is_cancelled_ends_both(sticky: StickyStore) -> None:
    sticky.stuck_before = {1, 2}
    task = asyncio.create_task(put(hedging(sticky)))
    await until(lambda: sticky.puts == 2)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert sticky.cancelled == 2


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_second_attempts_stay_a_small_share(wishes: list[bool]) -> None:
    pace = Pace(5, 1.0)
    granted = 0
    for wish in wishes:
        pace.began()
        granted += wish and pace.allows_second()
    assert granted <= 1 + len(wishes) * 0.05 + 1e-6


def test_the_delay_is_what_nearly_all_uploads_of_that_size_took_less_than() -> None:
    pace = Pace(5, 0.1)
    assert pace.delay_s(20_000_000) == pytest.approx(0.4)
    for number in range(100):
        pace.finished(20_000_000, 1.0 + number / 100)
        pace.finished(500, 0.2)
    assert pace.delay_s(20_000_000) == pytest.approx(1.94)
    assert pace.delay_s(500) == pytest.approx(0.2)
