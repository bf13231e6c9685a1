"""What is put around any store: repetition, measurement, dry run."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from daemons.runtime.errors import ArrieroError
from daemons.storage.bodies import opened, size_of
from daemons.storage.interface import (
    Body,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
)
from daemons.storage.keys import check_key, check_metadata
from daemons.storage.settings import RetrySettings

ResultT = TypeVar("ResultT")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets from a put to the next room to one over a bad night's link, seconds."""

_log = structlog.get_logger(__name__)


class StoreDecorator:
    """A store that hands every call on to another one.

    Parameters
    ----------
    inner
        The store that does the work.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """Name of this destination in the configuration."""
        return self.inner.name

    def uri(self, key: str) -> str:
        """Return the URI of an object."""
        return self.inner.uri(key)

    async def check(self) -> None:
        """Return when the store is within reach and lets us in, else raise."""
        await self.inner.check()

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes or a file under a key; see `ObjectStore.put`."""
        return await self.inner.put(
            key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
        )

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        return await self.inner.head(key)

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        return await self.inner.get(key)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        async for info in self.inner.list(prefix):
            yield info

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        await self.inner.delete(key)

    async def close(self) -> None:
        """Give back connections and threads."""
        await self.inner.close()


class RetryingStore(StoreDecorator):
    """Repeats calls whose error says that it may pass, after random waits that grow.

    The wait before attempt n + 1 is uniform between nothing and
    `first_wait_s * 2**(n - 1)`, at most `longest_wait_s` ("full jitter"), so that many
    hosts that lost a store at one instant do not come back at one instant.

    A conditional put whose answer was lost finds its own object when it is
    repeated. Where the object has the size and the `sha256` of what was to be put,
    that is success.

    Parameters
    ----------
    inner
        The store that does the work.
    settings
        How often and how long.
    rng
        Where the waits come from.
    """

    def __init__(
        self, inner: ObjectStore, settings: RetrySettings, *, rng: random.Random | None = None
    ) -> None:
        super().__init__(inner)
        self._settings = settings
        self._rng = rng or random.SystemRandom()

    async def check(self) -> None:
        """Return when the store is within reach and lets us in, else raise."""
        await self._repeat("check", self.inner.check)

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes or a file under a key; see `ObjectStore.put`."""
        attempts = count(1)

        async def attempt() -> ObjectInfo:
            again = next(attempts) > 1
            try:
                return await self.inner.put(
                    key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
                )
            except ObjectExistsError:
                own = await find_own(self.inner, key, body, metadata or {}) if again else None
                if own is None:
                    raise
                return own

        return await self._repeat("put", attempt)

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        return await self._repeat("head", lambda: self.inner.head(key))

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        return await self._repeat("get", lambda: self.inner.get(key))

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order.

        After an error the listing goes on behind the last key that was yielded.
        """
        last = ""
        listing = self.inner.list(prefix)

        async def following() -> ObjectInfo | None:
            nonlocal listing
            try:
                async for info in listing:
                    if not last or info.key > last:
                        return info
            except ArrieroError:
                listing = self.inner.list(prefix)
                raise
            return None

        while (info := await self._repeat("list", following)) is not None:
            last = info.key
            yield info

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        await self._repeat("delete", lambda: self.inner.delete(key))

    async def _repeat(self, operation: str, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.budget_s
        for attempt in count(1):
            try:
                return await call()
            except ArrieroError as error:
                wait_s = self._wait_s(attempt)
                spent = attempt >= self._settings.attempts or clock() + wait_s > deadline
                if not error.retryable or spent:
                    raise
                _log.warning(
                    "store_call_repeated",
                    store=self.name,
                    operation=operation,
                    attempt=attempt,
                    wait_s=round(wait_s, 3),
                    error=str(error),
                )
            await asyncio.sleep(wait_s)
        raise AssertionError("count() does not end")

    def _wait_s(self, attempt: int) -> float:
        bound = self._settings.first_wait_s * 2.0 ** min(attempt - 1, 64)
        return self._rng.uniform(0.0, min(bound, self._settings.longest_wait_s))


async def find_own(
    store: ObjectStore, key: str, body: Body, metadata: Mapping[str, str]
) -> ObjectInfo | None:
    """Return the object under a key where it has the size and `sha256` of what was to be put."""
    sha256 = metadata.get("sha256")
    if sha256 is None:
        return None
    found = await store.head(key)
    size = await asyncio.to_thread(size_of, body)
    same = found is not None and found.size_bytes == size
    return found if found and same and found.metadata.get("sha256") == sha256 else None


class StoreMetrics:
    """Metrics of all stores of a process; see `metrics_of`.

    Parameters
    ----------
    registry
        Where they are exposed.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "arriero_store_operation_seconds",
            "Duration of calls to an object store, each attempt by itself.",
            ["store", "operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.bytes = Counter(
            "arriero_store_bytes",
            "Bytes of objects that were stored (sent) or read (received).",
            ["store", "direction"],
            registry=registry,
        )
        self.errors = Counter(
            "arriero_store_errors",
            "Calls to an object store that failed, by the error's code.",
            ["store", "operation", "code"],
            registry=registry,
        )
        self.second_attempts = Counter(
            "arriero_store_second_attempts",
            "Slow uploads that were begun a second time, by which of the two arrived first.",
            ["store", "first_to_arrive"],
            registry=registry,
        )


_known_metrics: weakref.WeakKeyDictionary[CollectorRegistry, StoreMetrics]
_known_metrics = weakref.WeakKeyDictionary()


def metrics_of(registry: CollectorRegistry) -> StoreMetrics:
    """Return the metrics of a registry, made at the first use: its stores share them."""
    metrics = _known_metrics.get(registry)
    if metrics is None:
        metrics = _known_metrics[registry] = StoreMetrics(registry)
    return metrics


class MeteredStore(StoreDecorator):
    """Measures each call: duration, bytes, errors by operation.

    Parameters
    ----------
    inner
        The store that does the work.
    metrics
        Where the measurements go.
    """

    def __init__(self, inner: ObjectStore, metrics: StoreMetrics) -> None:
        super().__init__(inner)
        self._metrics = metrics

    async def check(self) -> None:
        """Return when the store is within reach and lets us in, else raise."""
        with self._measured("check"):
            await self.inner.check()

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes or a file under a key; see `ObjectStore.put`."""
        with self._measured("put"):
            info = await self.inner.put(
                key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
            )
        self._metrics.bytes.labels(self.name, "sent").inc(info.size_bytes)
        return info

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        with self._measured("head"):
            return await self.inner.head(key)

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        with self._measured("get"):
            content = await self.inner.get(key)
        self._metrics.bytes.labels(self.name, "received").inc(len(content))
        return content

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order.

        What is measured is each wait for the next object.
        """
        listing = aiter(self.inner.list(prefix))
        while True:
            with self._measured("list"):
                info = await anext(listing, None)
            if info is None:
                return
            yield info

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        with self._measured("delete"):
            await self.inner.delete(key)

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        try:
            with self._metrics.seconds.labels(self.name, operation).time():
                yield
        except ArrieroError as error:
            self._metrics.errors.labels(self.name, operation, error.code).inc()
            raise
        except asyncio.CancelledError:
            self._metrics.errors.labels(self.name, operation, "cancelled").inc()
            raise


class DryRunStore(StoreDecorator):
    """Reads for real, and only pretends to write.

    What was to be put is seen by `head`, `get` and `list` of this very object, so
    that whoever verifies after a put finds what it expects; what was to be deleted
    is not seen any more. Each pretended call is logged.
    """

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self._put: dict[str, tuple[ObjectInfo, Body]] = {}
        self._deleted: set[str] = set()

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Say what would be stored; refuses what the store would refuse."""
        kept = check_metadata(metadata)
        if if_absent and await self.head(key) is not None:
            raise ObjectExistsError(f"{key} is in {self.name} already")
        size = await asyncio.to_thread(size_of, body)
        info = ObjectInfo(check_key(key), size, "", datetime.now(tz=UTC), kept)
        self._put[key] = info, body
        self._deleted.discard(key)
        _log.info("store_put_pretended", uri=self.uri(key), size_bytes=size, type=content_type)
        return info

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what would be known of an object."""
        if key in self._deleted:
            return None
        pretended = self._put.get(key)
        return pretended[0] if pretended else await self.inner.head(key)

    async def get(self, key: str) -> bytes:
        """Return what an object's bytes would be."""
        if key in self._deleted:
            raise ObjectNotFoundError(f"no object {key} in {self.name} after its deletion")
        pretended = self._put.get(key)
        if pretended is None:
            return await self.inner.get(key)
        body = pretended[1]
        return await asyncio.to_thread(_content, body)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects that would be there, in key order."""
        added = sorted(key for key in self._put if key.startswith(prefix))
        async for info in self.inner.list(prefix):
            while added and added[0] < info.key:
                yield self._listed(added.pop(0))
            if added and added[0] == info.key:
                yield self._listed(added.pop(0))
            elif info.key not in self._deleted:
                yield info
        for key in added:
            yield self._listed(key)

    async def delete(self, key: str) -> None:
        """Say what would be removed."""
        self._put.pop(check_key(key), None)
        self._deleted.add(key)
        _log.info("store_delete_pretended", uri=self.uri(key))

    def _listed(self, key: str) -> ObjectInfo:
        info = self._put[key][0]
        return ObjectInfo(info.key, info.size_bytes, info.etag, info.modified, {})


def _content(body: Body) -> bytes:
    with opened(body, "a body") as payload:
        return bytes(payload.read_into(memoryview(bytearray(payload.size)), 0))
