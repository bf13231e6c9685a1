"""Hands waiting files of the journal to as many trips as may run at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from daemons.forwarder.attachments import AttachmentTrip
from daemons.forwarder.controls import Controls, Mode
from daemons.forwarder.errors import DrainingError, EntryChangedError, JournalDamagedError
from daemons.forwarder.images import ImageTrip
from daemons.forwarder.model import FileKind, FileState, JournalEntry, Reason, shown
from daemons.forwarder.schedule import Slots
from daemons.forwarder.trip import Tools, Trip
from daemons.forwarder.waiting import Later
from daemons.runtime.errors import ArrieroError

_FAILURES_MAX = 5
"""How often a file may fail in a way that nobody foresaw before it is given up."""

_log = structlog.get_logger(__name__)


class LastErrors:
    """The latest things that went wrong, for `/status`."""

    def __init__(self, limit: int = 10) -> None:
        self._limit = limit
        self._errors: list[dict[str, object]] = []

    def add(self, entry: JournalEntry, error: BaseException, at: float) -> None:
        """Remember an error."""
        what = {"path": shown(entry.path), "file": entry.id, "error": str(error), "at": at}
        self._errors = [*self._errors[1 - self._limit :], what]

    def as_json(self) -> list[dict[str, object]]:
        """Return them, oldest first."""
        return list(self._errors)


class Pipeline:
    """Works on the files that wait.

    Parameters
    ----------
    tools
        What trips need.
    controls
        What operators set: how many trips at the same time, and which.
    draining
        Set when no new trips are to begin.
    """

    def __init__(self, tools: Tools, *, controls: Controls, draining: asyncio.Event) -> None:
        self.last_errors = LastErrors()
        self._tools = tools
        self._journal = tools.journal
        self._waiting = tools.waiting
        self._metrics = tools.metrics
        self._live = tools.live
        self._clock = tools.clock
        self._controls = controls
        self._draining = draining
        self._in_hand: dict[int, JournalEntry] = {}
        self._backlog: set[int] = set()
        """Those in hand that were backlog when they began."""
        self._hurried: set[int] = set()
        self._watchers: dict[int | None, list[asyncio.Future[None]]] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_hand(self) -> tuple[JournalEntry, ...]:
        """The files that are worked on now."""
        return tuple(self._in_hand.values())

    def wake(self, file_ids: Iterable[int] = ()) -> None:
        """Say that there is something to do, with these files in particular."""
        file_ids = tuple(file_ids)
        self._waiting.hurry(file_ids)
        self._hurried.update(file_id for file_id in file_ids if file_id in self._in_hand)
        self._wake.set()

    async def next_end(self, file_id: int | None = None) -> None:
        """Return when the next attempt at a file, or at any, has ended."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(file_id, [])
        watchers.append(waiter)
        try:
            await waiter
        finally:
            if waiter in watchers:
                watchers.remove(waiter)
            if not watchers:
                self._watchers.pop(file_id, None)

    def stir(self) -> None:
        """Say that something else ended that those may wait for who wait for any end."""
        self._tell(None)

    async def idle(self) -> None:
        """Return when no trip is under way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        self._in_hand.clear()
        self._backlog.clear()
        self._idle.set()
        async with asyncio.TaskGroup() as trips:
            while True:
                self._wake.clear()
                going = self._going
                if going:
                    await self._begin(trips)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._waiting.next_due_s if going else None):
                        await self._wake.wait()

    @property
    def _going(self) -> bool:
        return not self._draining.is_set() and self._controls.mode is not Mode.PAUSED

    async def _begin(self, trips: asyncio.TaskGroup) -> None:
        """Begin trips with files that wait, as many as there is room for."""
        settings = self._live.settings
        slots = Slots(
            limit=self._controls.concurrency,
            backlog_share=settings.backlog_share,
            live=len(self._in_hand) - len(self._backlog),
            backlog=len(self._backlog),
        )
        if not (slots.for_live(backlog_waits=False) or slots.for_backlog or slots.spare):
            return
        live_since = self._clock.utc() - settings.backlog_after_s
        entries = await self._journal.choose(
            slots,
            live_since=live_since,
            exclude=self._waiting.put_off_now() | self._in_hand.keys(),
            backlog=self._controls.mode is not Mode.BACKLOG_PAUSED,
        )
        if not self._going:
            return  # that changed meanwhile, and `idle` may have been told already
        for entry in entries:
            self._in_hand[entry.id] = entry
            if entry.exposure_at < live_since:
                self._backlog.add(entry.id)
            self._idle.clear()
            trips.create_task(self._trip(entry), name=f"forwarder-file-{entry.id}")

    async def _trip(self, entry: JournalEntry) -> None:
        try:
            later = await self._attempt(entry)
        except DrainingError:
            later = Later(0.0)
        finally:
            self._ended(entry.id)
        hurried = entry.id in self._hurried
        self._hurried.discard(entry.id)
        if later is None:
            self._waiting.forget(entry.id)
        elif not hurried:
            self._waiting.put_off(entry.id, later)

    def _ended(self, file_id: int) -> None:
        del self._in_hand[file_id]
        self._backlog.discard(file_id)
        if not self._in_hand:
            self._idle.set()
        self._wake.set()
        self._tell(file_id)
        self._tell(None)

    def _tell(self, file_id: int | None) -> None:
        for waiter in self._watchers.pop(file_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def _attempt(self, entry: JournalEntry) -> Later | None:
        """Make one attempt; whatever goes wrong with one file concerns no other."""
        trip: Trip
        if entry.kind is FileKind.ATTACHMENT:
            trip = AttachmentTrip(entry, self._tools)
        else:
            trip = ImageTrip(entry, self._tools)
        try:
            return await trip.run()
        except EntryChangedError:
            return Later(0.0)
        except (DrainingError, JournalDamagedError):
            raise
        except Exception as error:  # noqa: BLE001 - the task of one file ends here, logged below
            self._metrics.failure("trip", getattr(error, "code", type(error).__name__))
            self.last_errors.add(entry, error, self._tools.clock.utc())
            _log.exception("file_trip_failed", path=shown(entry.path), file=entry.id)
            later = Later(self._waiting.next_try_s(entry.id))
            foreseen = isinstance(error, ArrieroError) and error.retryable
            if not foreseen and self._waiting.failures(entry.id) >= _FAILURES_MAX:
                return await self._give_up(entry, error, later)
            return later

    async def _give_up(self, entry: JournalEntry, error: Exception, later: Later) -> Later | None:
        """Record a file that fails again and again, for a person to look at."""
        detail = (
            f"{_FAILURES_MAX} attempts failed in a way that nobody foresaw ({error!r}); report it "
            f"with the log, then `arriero quarantine release {entry.id}` tries again"
        )
        now = await self._journal.entry(entry.id)
        try:
            await self._journal.failed(now, Reason.INTERNAL, detail)
        except EntryChangedError:
            return later
        self._metrics.moved(FileState.FAILED)
        return None
