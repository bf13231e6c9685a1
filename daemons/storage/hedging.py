"""A second attempt for the slowest few uploads.

Over a long path a few uploads in a hundred are slow for no reason of ours: a lost
segment at the wrong instant, a server that pauses, a connection into which a middlebox
lets nothing pass any more. An exposure is as late as its slowest file. A second attempt on
another connection, begun when an upload takes longer than nearly all before it did,
usually overtakes it.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

import structlog

from daemons.runtime.errors import ArrieroError
from daemons.storage.bodies import size_of
from daemons.storage.decorators import StoreDecorator, StoreMetrics, find_own
from daemons.storage.interface import Body, ObjectExistsError, ObjectInfo, ObjectStore

_REMEMBERED = 200
"""So many uploads of about one size tell what is slow."""
_ENOUGH = 20
"""With fewer nothing is known yet."""
_UNKNOWN_FACTOR = 4.0
"""Until enough is known the second attempt waits for so many times the least delay."""
_MOST_SAVED = 3.0
"""Attempts that were not needed are saved up, but not for a storm."""

_log = structlog.get_logger(__name__)


class Pace:
    """How long uploads take, and how many may be begun a second time.

    Parameters
    ----------
    percent
        Of uploads that may be begun a second time.
    after_s
        Least delay, seconds.
    """

    def __init__(self, percent: float, after_s: float) -> None:
        self._share = percent / 100
        self._after_s = after_s
        self._saved = 1.0
        self._taken: defaultdict[int, deque[float]]
        self._taken = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def delay_s(self, size_bytes: int) -> float:
        """Return after how long an upload is slow: the rest of 100 % of the last ones were not."""
        known = sorted(self._taken[size_bytes.bit_length()])
        if len(known) < _ENOUGH:
            return self._after_s * _UNKNOWN_FACTOR
        rank = math.ceil(len(known) * (1 - self._share)) - 1
        return max(known[rank], self._after_s)

    def began(self) -> None:
        """Count an upload."""
        self._saved = min(self._saved + self._share, _MOST_SAVED)

    def finished(self, size_bytes: int, seconds: float) -> None:
        """Take note of how long one took."""
        self._taken[size_bytes.bit_length()].append(seconds)

    def allows_second(self) -> bool:
        """Return whether one more may be begun a second time, and count it."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


class HedgingStore(StoreDecorator):
    """Begins slow conditional uploads a second time; the first to arrive counts.

    Both are conditional, so that the store keeps one object; the loser is cancelled. Where
    one is refused because the other has arrived already, the object is looked at.

    Parameters
    ----------
    inner
        The store that does the work.
    percent, after_s
        See `Pace`.
    is_safe
        Whether the store is known to refuse what exists.
    metrics
        Counts second attempts, or None.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        percent: float,
        after_s: float,
        is_safe: Callable[[], bool],
        metrics: StoreMetrics | None = None,
    ) -> None:
        super().__init__(inner)
        self._pace = Pace(percent, after_s)
        self._is_safe = is_safe
        self._metrics = metrics

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

        def begin() -> asyncio.Task[ObjectInfo]:
            return asyncio.create_task(
                self.inner.put(
                    key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
                ),
                name=f"store-{self.name}-put",
            )

        if not (if_absent and (metadata or {}).get("sha256") and self._is_safe()):
            return await self.inner.put(
                key, body, metadata=metadata, content_type=content_type, if_absent=if_absent
            )
        clock = asyncio.get_running_loop().time
        size, began = await asyncio.to_thread(size_of, body), clock()
        self._pace.began()
        attempts = [begin()]
        try:
            await asyncio.wait(attempts, timeout=self._pace.delay_s(size))
            if not attempts[0].done() and self._pace.allows_second():
                _log.info("store_put_begun_again", store=self.name, key=key)
                attempts.append(begin())
            info = await self._first(attempts, key, body, metadata or {})
        finally:
            await _end(attempts)
        self._pace.finished(size, clock() - began)
        return info

    async def _first(
        self,
        attempts: list[asyncio.Task[ObjectInfo]],
        key: str,
        body: Body,
        metadata: Mapping[str, str],
    ) -> ObjectInfo:
        """Return what the first attempt to arrive says; raise only when none does."""
        waiting = set(attempts)
        failed: list[ArrieroError] = []
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                try:
                    info = attempt.result()
                except ObjectExistsError:
                    if len(attempts) == 1:
                        raise
                    own = await find_own(self.inner, key, body, metadata)
                    if own is None:
                        raise
                    return own
                except ArrieroError as error:
                    failed.append(error)
                else:
                    self._count(attempts, attempt)
                    return info
        raise failed[0]

    def _count(
        self, attempts: list[asyncio.Task[ObjectInfo]], first: asyncio.Task[ObjectInfo]
    ) -> None:
        if len(attempts) > 1 and self._metrics is not None:
            which = "first" if first is attempts[0] else "second"
            self._metrics.second_attempts.labels(self.name, which).inc()


async def _end(attempts: list[asyncio.Task[ObjectInfo]]) -> None:
    """Cancel what has not arrived, and take note of what it says."""
    for attempt in attempts:
        attempt.cancel()
    await asyncio.wait(attempts)
    for attempt in attempts:
        if not attempt.cancelled():
            attempt.exception()  # the answer was given by another one, or is raised already
