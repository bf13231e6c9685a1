from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from daemons.runtime.errors import SettingsError
from daemons.storage.decorators import (
    DryRunStore,
    MeteredStore,
    RetryingStore,
    StoreDecorator,
    metrics_of,
)
from daemons.storage.directory import DirectoryStore
from daemons.storage.factory import keep_warm, open_store
from daemons.storage.interface import (
    AccessRefusedError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.s3 import S3Store
from daemons.storage.settings import RetrySettings, StoreSettings
from daemons.storage.verify import verify

QUICK = RetrySettings(attempts=4, first_wait_s=0.001, longest_wait_s=0.002)


class FailingStore(StoreDecorator):
    """Fails as told before each call, or after the work is done."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.before: list[StoreError] = []
        self.after: list[StoreError] = []
        self.calls = 0

    def _fail(self, errors: list[StoreError]) -> None:
        if errors:
            raise errors.pop(0)

    async def put(
        self,
        key: str,
        body: bytes | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        self.calls += 1
        self._fail(self.before)
        info = await super().put(
            key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
        )
        self._fail(self.after)
        return info

    async def head(self, key: str) -> ObjectInfo | None:
        self.calls += 1
        self._fail(self.before)
        return await super().head(key)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        self.calls += 1
        async for info in super().list(prefix):
            yield info
            self._fail(self.before)


@pytest.fixture
async def failing(tmp_path: Path) -> AsyncIterator[FailingStore]:
    store = FailingStore(DirectoryStore("here", tmp_path / "objects"))
    yield store
    await store.close()


def away() -> StoreUnavailableError:
    return StoreUnavailableError("away")


async def test_an_error_that_may_pass_is_repeated_until_it_has(failing: FailingStore) -> None:
    failing.before = [away(), away(), away()]
    info = await RetryingStore(failing, QUICK).put("image", b"x")
    assert (info.key, failing.calls) == ("image", 4)


async def test_the_last_error_is_passed_on_when_attempts_are_spent(failing: FailingStore) -> None:
    failing.before = [StoreUnavailableError(f"attempt {number}") for number in range(1, 9)]
    with pytest.raises(StoreUnavailableError, match="attempt 4"):
        await RetryingStore(failing, QUICK).head("image")
    assert failing.calls == 4


async def test_no_attempt_begins_behind_the_budget(failing: FailingStore) -> None:
    failing.before = [away() for _ in range(1000)]
    settings = RetrySettings(attempts=100, budget_s=0.05, first_wait_s=0.02, longest_wait_s=0.02)
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailableError):
            await RetryingStore(failing, settings).head("image")
    assert 2 <= failing.calls < 100


@pytest.mark.parametrize("error", [AccessRefusedError("no"), StoreError("no")])
async def test_an_error_that_does_not_pass_is_not_repeated(
    failing: FailingStore, error: StoreError
) -> None:
    failing.before = [error]
    with pytest.raises(type(error)):
        await RetryingStore(failing, QUICK).put("image", b"x")
    assert failing.calls == 1


async def test_a_cancelled_wait_ends_the_repetition(failing: FailingStore) -> None:
    failing.before = [away() for _ in range(100)]
    settings = RetrySettings(attempts=50, budget_s=600, first_wait_s=60, longest_wait_s=60)
    task = asyncio.create_task(RetryingStore(failing, settings, rng=random.Random(1)).head("x"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert failing.calls == 1


@given(attempt=st.integers(1, 200), seed=st.integers())
def test_waits_grow_to_their_bound_and_never_beyond(attempt: int, seed: int) -> None:
    settings = RetrySettings(first_wait_s=0.1, longest_wait_s=3.0)
    store = RetryingStore(DirectoryStore("x", Path("/nowhere")), settings, rng=random.Random(seed))
    assert 0.0 <= store._wait_s(attempt) <= min(0.1 * 2 ** (attempt - 1), 3.0)


async def test_ones_own_object_after_a_lost_answer_is_success(failing: FailingStore) -> None:
    metadata = {"sha256": hashlib.sha256(b"pixels").hexdigest()}
    store = RetryingStore(failing, QUICK)
    failing.after = [away()]
    info = await store.put("image", b"pixels", metadata=metadata, if_absent=True)
    assert info.metadata == metadata
    assert failing.calls == 3  # put whose answer is lost, put that is refused, head


async def test_another_object_after_a_lost_answer_is_a_conflict(failing: FailingStore) -> None:
    store = RetryingStore(failing, QUICK)
    await store.put("image", b"others", metadata={"sha256": "0" * 64})
    failing.before = [away()]
    with pytest.raises(ObjectExistsError):
        await store.put("image", b"pixels", metadata={"sha256": "1" * 64}, if_absent=True)
    failing.before = [away()]
    with pytest.raises(ObjectExistsError):
        await store.put("image", b"others", if_absent=True)


async def test_an_object_that_was_there_at_the_first_attempt_is_a_conflict(
    failing: FailingStore,
) -> None:
    store = RetryingStore(failing, QUICK)
    metadata = {"sha256": hashlib.sha256(b"pixels").hexdigest()}
    await store.put("image", b"pixels", metadata=metadata)
    with pytest.raises(ObjectExistsError):
        await store.put("image", b"pixels", metadata=metadata, if_absent=True)


async def test_a_listing_goes_on_where_it_broke(failing: FailingStore) -> None:
    store = RetryingStore(failing, QUICK)
    keys = [f"key-{number}" for number in range(5)]
    for key in keys:
        await store.put(key, b"x")
    failing.before = [away(), away(), away()]
    assert [info.key async for info in store.list()] == keys


async def test_calls_bytes_and_errors_are_counted_per_operation(failing: FailingStore) -> None:
    registry = CollectorRegistry()
    store = MeteredStore(failing, metrics_of(registry))
    await store.put("image", b"12345")
    await store.get("image")
    failing.before = [away()]
    with pytest.raises(StoreUnavailableError):
        await store.head("image")
    with pytest.raises(ObjectNotFoundError):
        await store.get("absent")
    assert [info.key async for info in store.list()] == ["image"]

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"arriero_store_{name}", {"store": "here", **labels})

    assert value("bytes_total", direction="sent") == 5
    assert value("bytes_total", direction="received") == 5
    assert value("operation_seconds_count", operation="put") == 1
    assert value("operation_seconds_count", operation="get") == 2
    assert value("errors_total", operation="head", code="store.unavailable") == 1
    assert value("errors_total", operation="get", code="store.object_not_found") == 1
    assert value("errors_total", operation="put", code="store.unavailable") is None


async def test_a_cancelled_call_is_counted(tmp_path: Path) -> None:
    class Slow(StoreDecorator):
        async def check(self) -> None:
            await asyncio.sleep(3600)

    registry = CollectorRegistry()
    store = MeteredStore(Slow(DirectoryStore("here", tmp_path)), metrics_of(registry))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.check()
    labels = {"store": "here", "operation": "check", "code": "cancelled"}
    assert registry.get_sample_value("arriero_store_errors_total", labels) == 1


async def test_stores_of_one_registry_share_its_metrics(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    settings = StoreSettings(url=f"file://{tmp_path}/objects")
    stores = [open_store(name, settings, registry=registry) for name in ("one", "two")]
    for store in stores:
        await store.put(store.name, b"x")
        labels = {"store": store.name, "direction": "sent"}
        assert registry.get_sample_value("arriero_store_bytes_total", labels) == 1
        await store.close()


async def test_a_dry_run_writes_nothing_and_sees_what_it_pretends(
    tmp_path: Path, failing: FailingStore
) -> None:
    await failing.put("b", b"real")
    await failing.put("d", b"real too")
    dry = DryRunStore(failing)
    digest = hashlib.sha256(b"pixels").hexdigest()
    image = tmp_path / "image"
    image.write_bytes(b"pixels")
    await dry.put("c", image, metadata={"sha256": digest}, if_absent=True)
    await dry.put("a", b"bytes")
    await dry.put("e", b"bytes")
    await dry.put("d", b"replaced")
    await dry.delete("b")
    assert [(info.key, info.size_bytes) async for info in dry.list()] == [
        ("a", 5),
        ("c", 6),
        ("d", 8),
        ("e", 5),
    ]
    await verify(dry, "c", size_bytes=6, sha256=digest, read_back=True)
    assert await dry.head("b") is None
    with pytest.raises(ObjectNotFoundError):
        await dry.get("b")
    with pytest.raises(ObjectExistsError):
        await dry.put("c", b"again", if_absent=True)
    with pytest.raises(ValueError, match="key"):
        await dry.put("../c", b"x")
    await dry.put("b", b"new", if_absent=True)
    assert await dry.get("b") == b"new"
    assert await dry.get("d") == b"replaced"
    assert [info.key async for info in failing.list()] == ["b", "d"]
    assert await failing.get("b") == b"real"


async def test_a_store_is_opened_as_its_settings_say(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/objects"
    plain = open_store("here", StoreSettings(url=url, retry=RetrySettings(attempts=1)))
    assert isinstance(plain, DirectoryStore)
    dry = open_store("here", StoreSettings(url=url, dry_run=True), registry=CollectorRegistry())
    assert isinstance(dry, DryRunStore)
    assert isinstance(dry.inner, RetryingStore)
    assert isinstance(dry.inner.inner, MeteredStore)
    assert dry.name == "here"
    await dry.put("image", b"x")
    assert not (tmp_path / "objects").exists()
    for store in (plain, dry):
        await keep_warm(store)
        await store.close()


@pytest.fixture
def s3_settings(tmp_path: Path) -> StoreSettings:
    for name in ("key", "secret"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(name)
    return StoreSettings(
        url="s3://raw/summit",
        endpoint_url="https://store.example.org",
        access_key={"file": tmp_path / "key"},
        secret_key={"file": tmp_path / "secret"},
    )


async def test_uris_may_carry_a_profile_of_the_butler(s3_settings: StoreSettings) -> None:
    store = S3Store("facility", s3_settings)
    assert store.uri("night/a b.fits") == "s3://raw/summit/night/a%20b.fits"
    await store.close()
    profiled = s3_settings.model_copy(update={"butler_profile": "embargo"})
    store = S3Store("facility", profiled)
    assert store.uri("night/image.fits") == "s3://embargo@raw/summit/night/image.fits"
    await store.close()


def test_a_secret_that_cannot_be_read_is_told_when_the_store_is_opened(
    s3_settings: StoreSettings, tmp_path: Path
) -> None:
    (tmp_path / "secret").unlink()
    with pytest.raises(SettingsError, match=r"cannot read the secret in .*/secret"):
        open_store("facility", s3_settings)
