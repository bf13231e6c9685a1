"""Further destinations: each has a state of its own for every file, and waits for nobody.

A file is read once: while it goes to the first destination, what was read is
offered here, and goes to the others too. What cannot go at once (the destination
is away, the process was killed) is read again later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

import structlog

from daemons.forwarder import copy_ledger, ledger
from daemons.forwarder.copy_ledger import CopyState, Due
from daemons.forwarder.delivery import Delivery
from daemons.forwarder.errors import (
    ConflictError,
    DeliveryError,
    DrainingError,
    FileChangedError,
    JournalDamagedError,
)
from daemons.forwarder.facts import Facts
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.model import FileKind, FileState, JournalEntry, Reason, shown
from daemons.forwarder.parcels import Load, attachment_load, image_load
from daemons.forwarder.reading import Fit, check_unchanged, judge, read_image, read_sensor_list
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from translators.findings import Finding

_OFFERED = 512
"""Files whose content description is kept in memory until their copies are made."""
_AGAIN_S = 5.0
_MOST_S = 300.0
_FAILURES_MAX = 5

_log = structlog.get_logger(__name__)


class Copier:
    """Copies files into one further destination.

    Parameters
    ----------
    delivery
        The destination.
    journal, facts, live, metrics, clock
        The service's own.
    readers, files
        Threads that read, and that look at files.
    announce
        Told that the outbox has something.
    draining
        Set when no copy is to begin.
    """

    def __init__(  # noqa: PLR0913 - it is wired in one place
        self,
        delivery: Delivery,
        *,
        journal: Journal,
        facts: Facts,
        live: LiveSettings,
        metrics: ForwarderMetrics,
        clock: Clock,
        readers: BlockingExecutor,
        files: BlockingExecutor,
        announce: Callable[[], None],
        draining: asyncio.Event,
    ) -> None:
        self.store = delivery.store.name
        self.waiting = 0
        """Files that wait, up to ten thousand."""
        self._delivery = delivery
        self._journal = journal
        self._facts = facts
        self._live = live
        self._metrics = metrics
        self._clock = clock
        self._readers = readers
        self._files = files
        self._announce = announce
        self._draining = draining
        self._offered: dict[int, Load] = {}
        self._in_hand: set[int] = set()
        self._put_off: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._on_end: Callable[[], None] = _nothing

    def on_end(self, call: Callable[[], None]) -> None:
        """Call something whenever an attempt has ended, or another number of files waits."""
        self._on_end = call

    def offer(self, file_id: int, load: Load) -> None:
        """Say that a file was read and is to be copied."""
        while len(self._offered) >= _OFFERED:
            del self._offered[next(iter(self._offered))]
        self._offered[file_id] = load
        self._put_off.pop(file_id, None)
        self._wake.set()

    def wake(self) -> None:
        """Say that there may be something to do, or nothing more."""
        self._put_off.clear()
        self._wake.set()

    async def idle(self) -> None:
        """Return when no copy is under way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Copy until cancelled."""
        self._in_hand.clear()
        self._idle.set()
        async with asyncio.TaskGroup() as copies:
            while True:
                self._wake.clear()
                if not self._draining.is_set():
                    await self._begin(copies)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._next_due_s):
                        await self._wake.wait()

    @property
    def _next_due_s(self) -> float | None:
        first = min(self._put_off.values(), default=None)
        return None if first is None else max(0.0, first - self._clock.monotonic())

    async def _begin(self, copies: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        self._put_off = {number: at for number, at in self._put_off.items() if at > now}
        room = self._live.settings.copy_concurrency - len(self._in_hand)
        if room <= 0:
            return
        left_alone = self._in_hand | self._put_off.keys()
        due: Due = await self._journal.read(
            "copies",
            partial(copy_ledger.due, store=self.store, limit=room, exclude=left_alone),
        )
        if self.waiting != due.waiting:
            self.waiting = due.waiting
            self._on_end()
        if self._draining.is_set():
            return
        for entry in due.entries:
            self._in_hand.add(entry.id)
            self._idle.clear()
            copies.create_task(self._one(entry), name=f"forwarder-copy-{self.store}-{entry.id}")

    async def _one(self, entry: JournalEntry) -> None:
        try:
            await self._attempt(entry)
            self._failures.pop(entry.id, None)
        except DrainingError:
            pass
        except JournalDamagedError:
            raise
        except Exception as error:  # noqa: BLE001 - the task of one copy ends here, logged below
            await self._failed(entry, error)
        finally:
            self._in_hand.discard(entry.id)
            if not self._in_hand:
                self._idle.set()
            self._wake.set()
            self._on_end()

    async def _failed(self, entry: JournalEntry, error: Exception) -> None:
        failures = self._failures[entry.id] = self._failures.get(entry.id, 0) + 1
        self._metrics.failure("copy", getattr(error, "code", type(error).__name__))
        _log.warning(
            "copy_failed",
            store=self.store,
            path=shown(entry.path),
            attempts=failures,
            error=str(error) or type(error).__name__,
        )
        unforeseen = not isinstance(error, OSError) and failures >= _FAILURES_MAX
        if unforeseen:
            await self._settle(entry, CopyState.FAILED, Reason.INTERNAL, repr(error))
        else:
            wait_s = min(_MOST_S, _AGAIN_S * 2.0 ** (failures - 1))
            self._put_off[entry.id] = self._clock.monotonic() + wait_s

    async def _attempt(self, entry: JournalEntry) -> None:
        offered = self._offered.pop(entry.id, None)
        try:
            load = offered or await self._read(entry)
            if load is None:
                await self._settle(entry, CopyState.FAILED, Reason.GONE, "its content changed")
                return
            await self._store(entry, load, look_first=offered is None)
        except FileChangedError as error:
            now = await self._journal.entry(entry.id)
            if now.identity == entry.identity and now.state is not FileState.DISCOVERED:
                detail = f"{error}; it was to be copied to {self.store}"
                await self._settle(entry, CopyState.FAILED, Reason.GONE, detail)
        except ConflictError as error:
            await self._settle(entry, CopyState.CONFLICTED, Reason.CONFLICT, str(error), error)
        except DeliveryError as error:
            await self._settle(entry, CopyState.FAILED, Reason.REFUSED, str(error))

    async def _read(self, entry: JournalEntry) -> Load | None:
        """Read a file again; None where it is not what was stored."""
        if entry.kind is FileKind.ATTACHMENT:
            sensors = await self._files.run(read_sensor_list, entry)
            if isinstance(sensors, Finding) or entry.object_key is None:
                return None
            return attachment_load(entry.object_key, sensors.content, {"host": self._facts.host})
        reading = await self._readers.run(read_image, entry, self._live.settings)
        fit = judge(reading, waived=entry.waived, witnessed=True)
        if not isinstance(fit, Fit) or fit.inspection.sha256 != entry.sha256:
            return None
        return image_load(entry, fit, host=self._facts.host)

    async def _store(self, entry: JournalEntry, load: Load, *, look_first: bool) -> None:
        async def check() -> None:
            await self._files.run(check_unchanged, entry)

        deliver = partial(self._delivery.deliver, check=check, look_first=look_first)
        if load.sidecar is not None:
            with contextlib.suppress(ConflictError):  # the image tells whether that is one
                await deliver(load.sidecar)
        delivered = await deliver(load.main)
        try:
            await check()
        except FileChangedError:
            if delivered.fresh:
                await self._delivery.withdraw(load.main.key)
            raise
        event = self._facts.image_copied(entry, delivered.info, self._delivery.store)
        now = self._clock.utc()

        def job(base: Connection) -> bool:
            done = copy_ledger.settle(base, entry.id, self.store, CopyState.STORED, now=now)
            if done and event is not None:
                ledger.enqueue(base, event, now=now)
            return done

        if await self._journal.write("copied", job):
            self._metrics.copies.labels(self.store, CopyState.STORED.value).inc()
            self._announce()
            _log.info("file_copied", store=self.store, path=shown(entry.path), key=load.main.key)

    async def _settle(
        self,
        entry: JournalEntry,
        state: CopyState,
        reason: Reason,
        detail: str,
        conflict: ConflictError | None = None,
    ) -> None:
        event = None
        if conflict is not None:
            uri = self._delivery.store.uri(conflict.key)
            event = self._facts.image_conflicted(entry, uri, conflict.stored_sha256, detail)
        now = self._clock.utc()

        def job(base: Connection) -> None:
            done = copy_ledger.settle(
                base, entry.id, self.store, state, now=now, reason=str(reason), detail=detail
            )
            if done and event is not None:
                ledger.enqueue(base, event, now=now)

        await self._journal.write("copy_ended", job)
        self._metrics.copies.labels(self.store, state.value).inc()
        self._announce()
        _log.error("file_not_copied", store=self.store, path=shown(entry.path), why=detail)


def _nothing() -> None:
    """Do nothing."""
