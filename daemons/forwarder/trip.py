"""One file's way from `discovered` to its end: what images and attachments have in common.

A trip is one attempt, to be repeated until the file has ended somewhere. Each step
is recorded before the next one begins, and each may be repeated, so an attempt can
be cut off anywhere.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from daemons.forwarder.copier import Copier
from daemons.forwarder.deadlines import DeadlineKeeper
from daemons.forwarder.delivery import Delivered, Delivery, Parcel
from daemons.forwarder.errors import (
    ConflictError,
    DeliveryError,
    FileChangedError,
    FileGoneError,
    ForwarderError,
)
from daemons.forwarder.facts import Facts, sentences
from daemons.forwarder.journal import Journal
from daemons.forwarder.ledger import CompleteEvent
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.model import FileIdentity, FileState, JournalEntry, Reason, shown
from daemons.forwarder.quarantine import Quarantine
from daemons.forwarder.reading import check_unchanged
from daemons.forwarder.sightings import saw
from daemons.forwarder.waiting import Later, WaitingRoom
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from translators.findings import Finding

_ROOT_AWAY_S = 1.0
"""How long a file waits whose drop directory is away."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every trip needs: one of each per service."""

    root: bytes
    """The drop directory."""
    live: LiveSettings
    journal: Journal
    delivery: Delivery
    facts: Facts
    quarantine: Quarantine
    waiting: WaitingRoom
    readers: BlockingExecutor
    """Threads that read and hash."""
    files: BlockingExecutor
    """Threads that look at files and move them."""
    metrics: ForwarderMetrics
    clock: Clock
    copiers: tuple[Copier, ...]
    """One for each further destination."""
    deadlines: DeadlineKeeper
    complete: CompleteEvent
    """Makes the event of an exposure that is complete."""
    announce: Callable[[], None]
    """Told that there is something to announce."""

    @property
    def copy_stores(self) -> tuple[str, ...]:
        """Names of the further destinations."""
        return tuple(copier.store for copier in self.copiers)


class Trip(ABC):
    """One attempt at one file.

    Parameters
    ----------
    entry
        The file.
    tools
        What the trip needs.
    """

    def __init__(self, entry: JournalEntry, tools: Tools) -> None:
        self._entry = entry
        self._tools = tools
        self._fresh: list[str] = []
        """Keys that this very attempt put there."""

    async def run(self) -> Later | None:
        """Take the file as far as it goes; return when to try again, None where it has ended.

        Raises
        ------
        EntryChangedError
            Somebody else changed the journal entry; try again at once.
        DrainingError
            The service ends.
        """
        later = None
        try:
            if self._entry.quarantine_path is None:
                later = await self._go()
            else:
                await self._finish_quarantine(self._entry.findings)
        except FileGoneError as error:
            await self._take_back()
            later = await self._gone(error)
        except FileChangedError:
            await self._take_back()
            later = await self._changed()
        except ConflictError as error:
            await self._take_back()
            await self._conflict(error)
        except DeliveryError as error:
            await self._fail(Reason.REFUSED, str(error))
        except OSError as error:
            later = await self._disk_trouble(error)
        return later

    @abstractmethod
    async def _go(self) -> Later | None:
        """Take the file from where the journal has it."""

    # Storing

    async def _deliver(self, parcel: Parcel, *, look_first: bool) -> Delivered:
        delivered = await self._tools.delivery.deliver(
            parcel, check=self._check, look_first=look_first
        )
        if delivered.fresh:
            self._fresh.append(parcel.key)
        return delivered

    async def _check(self) -> None:
        """Raise `FileChangedError` where the file is not the one that the journal knows."""
        await self._tools.files.run(check_unchanged, self._entry)

    async def _take_back(self) -> None:
        """Remove what this attempt stored of a file that is not sent: it was never announced."""
        for key in self._fresh:
            _log.warning("upload_withdrawn", key=key, file=self._entry.id)
            await self._tools.delivery.withdraw(key)
        self._fresh.clear()

    def _ended_well(self, size_bytes: int) -> None:
        metrics = self._tools.metrics
        metrics.moved(FileState.STORED)
        metrics.stored_bytes.inc(size_bytes)
        seconds = metrics.age(self._entry.seen_at)
        metrics.stage.labels("stored").observe(seconds)
        _log.info(
            "file_stored",
            path=shown(self._entry.path),
            file=self._entry.id,
            key=self._entry.object_key,
            size_bytes=self._entry.identity.size_bytes,
            seconds=round(seconds, 3),
        )

    # What else can become of a file

    async def _wait(
        self,
        findings: tuple[Finding, ...],
        patience_s: float,
        *,
        sha256: str | None,
        tag: str | None = None,
    ) -> Later | None:
        """Give time to mend it; quarantine it when that is over."""
        waited_s = self._tools.waiting.waited(self._entry)
        if waited_s >= patience_s:
            await self._quarantine(findings, sha256=sha256)
            return None
        await self._note_once(findings[0].code, sentences(findings))
        return Later(patience_s - waited_s, tag)

    async def _quarantine(self, findings: tuple[Finding, ...], *, sha256: str | None) -> None:
        tools = self._tools
        target = await tools.files.run(tools.quarantine.choose, self._entry, tools.clock.utc())
        self._entry = await tools.journal.quarantining(self._entry, target, findings, sha256=sha256)
        await self._finish_quarantine(findings)

    async def _finish_quarantine(self, findings: tuple[Finding, ...]) -> None:
        tools, entry = self._tools, self._entry
        await tools.files.run(
            tools.quarantine.set_aside, entry, findings, sha256=entry.sha256, at=tools.clock.utc()
        )
        event = tools.facts.image_quarantined(entry, findings, sha256=entry.sha256)
        await tools.journal.quarantined(entry, findings[0].code, sentences(findings), event)
        tools.metrics.moved(FileState.QUARANTINED)
        tools.announce()
        _log.error(
            "file_quarantined",
            path=shown(entry.path),
            file=entry.id,
            place=shown(entry.quarantine_path or b""),
            codes=sorted({finding.code for finding in findings}),
            why=sentences(findings),
        )

    async def _conflict(self, error: ConflictError) -> None:
        tools = self._tools
        uri = tools.delivery.store.uri(error.key)
        event = tools.facts.image_conflicted(self._entry, uri, error.stored_sha256, str(error))
        await tools.journal.conflicted(self._entry, str(error), event)
        tools.metrics.moved(FileState.CONFLICTED)
        tools.announce()
        _log.error("file_conflicted", path=shown(self._entry.path), key=error.key, why=str(error))

    async def _gone(self, error: ForwarderError) -> Later | None:
        if not await self._tools.files.run(os.path.isdir, self._tools.root):
            return Later(_ROOT_AWAY_S)
        await self._fail(Reason.GONE, f"{error}; whoever removed it knows why")
        return None

    async def _changed(self) -> Later | None:
        """Begin anew with what the path stands for now."""
        entry, tools = self._entry, self._tools
        try:
            status = await tools.files.run(os.lstat, entry.location)
        except FileNotFoundError:
            return await self._gone(FileGoneError(f"{shown(entry.location)} is no longer there"))
        identity = FileIdentity.from_stat(status)
        _log.info("file_changed_meanwhile", path=shown(entry.path), file=entry.id)
        if entry.location == entry.path and identity != entry.identity:
            now = tools.clock.utc()
            priorities = tools.live.settings.priorities
            seen = saw(
                entry.path, identity, entry.kind, now, witnessed=False, priorities=priorities
            )
            await tools.journal.sight([seen])
        else:
            await tools.journal.begin_again(entry, identity)
        return Later(tools.live.settings.quiet_time_s)

    async def _fail(self, reason: Reason, detail: str) -> None:
        await self._tools.journal.failed(self._entry, reason, detail)
        self._tools.metrics.moved(FileState.FAILED)
        _log.error("file_failed", path=shown(self._entry.path), code=str(reason), why=detail)

    async def _disk_trouble(self, error: OSError) -> Later:
        what = str(error) or "the disk gave no answer in time"
        sentence = f"{what}; mend the disk or the folder, it is tried again"
        self._tools.metrics.failure("disk", type(error).__name__)
        _log.warning("file_trouble", path=shown(self._entry.path), error=what)
        await self._note_once(Reason.DISK, sentence)
        return Later(self._tools.waiting.next_try_s(self._entry.id))

    async def _note_once(self, reason: str, detail: str) -> None:
        """Note why the file waits, where that is not noted already."""
        if self._entry.reason != reason:
            await self._tools.journal.note(self._entry, str(reason), detail)
            _log.info("file_waits", path=shown(self._entry.path), code=str(reason), why=detail)
