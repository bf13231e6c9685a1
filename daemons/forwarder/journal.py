"""The forwarder's memory: every file, what is to be announced, what operators decided.

One SQLite file with one writer (`daemons.forwarder.database`). A change of state
and the event that tells of it are one transaction. A disk that is full or fails
is waited for: the health board says so, and the change is written when it can be.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar, cast

from daemons.events import Event
from daemons.forwarder import copy_ledger, lanes, ledger, lookup, sightings
from daemons.forwarder.database import CommitObserver, Database, Job
from daemons.forwarder.errors import JournalUnavailableError
from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.ledger import CompleteEvent, PendingEvent, Registered
from daemons.forwarder.migrations import shipped_schema
from daemons.forwarder.model import FileIdentity, FileState, JournalEntry, Reason
from daemons.forwarder.patience import Patience
from daemons.forwarder.records import (
    Decision,
    Inspected,
    Summary,
    record_decision,
    summarise,
)
from daemons.forwarder.rows import change, fetch, findings_json, image_columns
from daemons.forwarder.schedule import Slots
from daemons.forwarder.sightings import Seen, Sighted
from daemons.runtime.clock import Clock
from translators.findings import Finding

ResultT = TypeVar("ResultT")

_SLOW_S = 10.0
_SLOW = f"the disk of the journal has not answered for {_SLOW_S:g} s; look at the disk"


class Journal:
    """The journal of one host.

    Parameters
    ----------
    path
        The SQLite file.
    clock
        The time.
    patience
        How a disk that cannot be written is waited for.
    observer
        Told of commits.
    schema
        Folder of the migrations; those of this version by default.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        patience: Patience,
        observer: CommitObserver | None = None,
        schema: Traversable | None = None,
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._database = Database(
            path, schema=schema or shipped_schema(), observer=observer, digest=summarise
        )

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._database.path

    @property
    def summary(self) -> Summary:
        """The journal at its last commit."""
        return cast("Summary", self._database.latest or Summary())

    async def open(self) -> None:
        """Check, migrate and open; see `Database.open` for what it raises."""
        await self._database.open()
        self._patience.succeeded("sound, open")

    async def verify(self) -> None:
        """Check a large file beside the work; see `Database.verify`."""
        await self._database.verify()

    async def close(self) -> None:
        """Finish what is queued and close. Idempotent."""
        await self._database.close()

    # Files that are seen

    async def sight(self, seen: Sequence[Seen]) -> list[Sighted]:
        """Take files into the journal, or find that it has them; one transaction."""
        now = self._clock.utc()
        return await self.write(
            "sight", lambda base: [sightings.record(base, one, now=now) for one in seen]
        )

    async def known(self, paths: Sequence[bytes]) -> dict[bytes, FileIdentity]:
        """Return the identities of the newest entries of paths that need nothing."""

        def look(base: sqlite3.Connection) -> dict[bytes, FileIdentity]:
            found = {}
            for path in paths:
                row = base.execute(
                    "SELECT device, inode, size_bytes, ctime_ns, state, reason FROM files "
                    "WHERE path = ? ORDER BY id DESC LIMIT 1",
                    (path,),
                ).fetchone()
                if row is not None and row["reason"] != Reason.GONE:
                    found[path] = FileIdentity(*row[:4])
            return found

        return await self.read("known", look)

    async def waiting(self, limit: int, exclude: Collection[int] = ()) -> list[JournalEntry]:
        """Return files that wait, in the order in which they go."""
        return await self.read("waiting", lambda base: lanes.waiting(base, limit, exclude))

    async def choose(
        self, slots: Slots, *, live_since: float, exclude: Collection[int], backlog: bool
    ) -> list[JournalEntry]:
        """Return the files that begin now; see `lanes`."""
        return await self.read(
            "choose",
            lambda base: lanes.choose(
                base, slots, live_since=live_since, exclude=exclude, backlog=backlog
            ),
        )

    async def entry(self, file_id: int) -> JournalEntry:
        """Return an entry or raise `UnknownFileError`."""
        return await self.read("entry", lambda base: fetch(base, file_id))

    async def aside(
        self, states: Collection[FileState], limit: int, before: int | None = None
    ) -> list[JournalEntry]:
        """Return files in some states, newest first; see `lookup`."""
        return await self.read(
            "aside", lambda base: lookup.in_states(base, states, limit, before=before)
        )

    # Steps of a file's way

    async def inspected(self, entry: JournalEntry, result: Inspected) -> JournalEntry:
        """Note what a file is and where it will be stored."""
        now = self._clock.utc()

        def job(base: sqlite3.Connection) -> JournalEntry:
            if result.image is not None:
                ledger.know_exposure(base, result.image, seen_at=entry.seen_at)
                ledger.hold(base, result.image, result.holds)
            anew = result.sha256 != entry.sha256
            copy_ledger.plan(base, entry, result.copies, now, anew=anew)
            return change(
                base,
                entry,
                FileState.INSPECTED,
                now=now,
                sha256=result.sha256,
                crc64nvme=result.crc64nvme,
                object_key=result.object_key,
                findings=findings_json(result.findings),
                reason=None,
                detail=None,
                **image_columns(result.image),
            )

        return await self.write("inspected", job)

    async def begin_again(self, entry: JournalEntry, identity: FileIdentity) -> JournalEntry:
        """Send a file that changed under our hands back to the start."""
        now = self._clock.utc()
        return await self.write(
            "begin_again",
            lambda base: sightings.begin_again(
                base, entry, identity, now=now, witnessed=entry.witnessed
            ),
        )

    async def earlier(self, entry: JournalEntry) -> JournalEntry | None:
        """Return the version of the same path before this one."""
        return await self.read("earlier", lambda base: sightings.earlier(base, entry))

    async def fold_into(
        self, entry: JournalEntry, former: JournalEntry, identity: FileIdentity
    ) -> None:
        """Take an entry back whose content the journal has already as `former`."""
        await self.write(
            "fold_into",
            lambda base: sightings.fold_into(base, entry, former.id, identity),
        )

    async def stored(
        self, entry: JournalEntry, event: Event | None, complete: CompleteEvent
    ) -> JournalEntry:
        """Note that a file is stored and verified, and put its event into the outbox.

        Where it was the last of its exposure that this host is to send,
        `exposure.complete` goes into the outbox too.
        """
        now = self._clock.utc()

        def job(base: sqlite3.Connection) -> JournalEntry:
            sequence = None if event is None else ledger.enqueue(base, event, now=now)
            after = change(
                base,
                entry,
                FileState.STORED,
                now=now,
                stored_at=now,
                outbox_sequence=sequence,
                reason=None,
                detail=None,
            )
            if after.image is not None:
                ledger.complete_if_all_stored(
                    base, after.image.instrument, after.image.obs_id, complete, now=now
                )
            return after

        return await self.write("stored", job)

    async def note(self, entry: JournalEntry, reason: str | None, detail: str | None) -> None:
        """Note why a file waits; its state stays."""
        now = self._clock.utc()
        await self.write(
            "note",
            lambda base: change(base, entry, entry.state, now=now, reason=reason, detail=detail),
        )

    async def conflicted(
        self, entry: JournalEntry, detail: str, event: Event | None
    ) -> JournalEntry:
        """Note that the key holds other content."""
        return await self._end(
            "conflicted", entry, FileState.CONFLICTED, Reason.CONFLICT, detail, event=event
        )

    async def failed(self, entry: JournalEntry, reason: str, detail: str) -> JournalEntry:
        """Note that a file is not on its way any more."""
        return await self._end("failed", entry, FileState.FAILED, reason, detail, event=None)

    async def quarantining(
        self,
        entry: JournalEntry,
        target: bytes,
        findings: tuple[Finding, ...],
        *,
        sha256: str | None,
    ) -> JournalEntry:
        """Note where a file is about to be set aside."""
        now = self._clock.utc()
        return await self.write(
            "quarantining",
            lambda base: change(
                base,
                entry,
                FileState.DISCOVERED,
                now=now,
                quarantine_path=target,
                sha256=sha256,
                findings=findings_json(findings),
            ),
        )

    async def quarantined(
        self, entry: JournalEntry, reason: str, detail: str, event: Event
    ) -> JournalEntry:
        """Note that a file is set aside at its quarantine path."""
        return await self._end(
            "quarantined",
            entry,
            FileState.QUARANTINED,
            reason,
            detail,
            event=event,
            location=entry.quarantine_path,
        )

    async def _end(
        self,
        label: str,
        entry: JournalEntry,
        state: FileState,
        reason: str,
        detail: str,
        *,
        event: Event | None,
        **columns: object,
    ) -> JournalEntry:
        now = self._clock.utc()

        def job(base: sqlite3.Connection) -> JournalEntry:
            if event is not None:
                ledger.enqueue(base, event, now=now)
            return change(base, entry, state, now=now, reason=str(reason), detail=detail, **columns)

        return await self.write(label, job)

    # Operators

    async def release(
        self,
        entry: JournalEntry,
        decision: Decision,
        identity: FileIdentity,
        *,
        what: str = "release",
    ) -> JournalEntry:
        """Return a file to processing by an operator's decision: `release` or `requeue`."""
        now = self._clock.utc()
        waived = tuple(sorted({*entry.waived, *decision.waived}))

        def job(base: sqlite3.Connection) -> JournalEntry:
            record_decision(base, entry, what, decision, now)
            after = sightings.begin_again(base, entry, identity, now=now, witnessed=True)
            return change(base, after, FileState.DISCOVERED, now=now, waived=json.dumps(waived))

        return await self.write("release", job)

    async def reject(self, entry: JournalEntry, decision: Decision) -> JournalEntry:
        """Give a file up by an operator's decision; it stays where it is."""
        now = self._clock.utc()

        def job(base: sqlite3.Connection) -> JournalEntry:
            record_decision(base, entry, "reject", decision, now)
            return change(
                base,
                entry,
                FileState.FAILED,
                now=now,
                reason=str(Reason.REJECTED),
                detail=f"rejected by {decision.who}: {decision.why}",
            )

        return await self.write("reject", job)

    # Outbox

    async def pending(self, limit: int) -> list[PendingEvent]:
        """Return the events to publish, in sequence."""
        return await self.read("pending", lambda base: ledger.pending(base, limit))

    async def published(self, sequences: Sequence[int]) -> None:
        """Note that events are on the stream."""
        now = self._clock.utc()
        await self.write("published", lambda base: ledger.published(base, sequences, now=now))

    async def refused(self, sequence: int, why: str) -> None:
        """Note that the event stream refuses an event for good."""
        await self.write("refused", lambda base: ledger.refuse(base, sequence, why))

    async def registered(self, dataset_id: str, sha256: str) -> list[Registered]:
        """Note that the Butler has an image; empty where it is not one of ours."""
        now = self._clock.utc()
        return await self.write(
            "registered", lambda base: ledger.registered(base, dataset_id, sha256, now=now)
        )

    async def registration_failed(self, dataset_id: str, sha256: str, why: str) -> int:
        """Note why the Butler refuses an image; return how many of ours it concerns."""
        return await self.write(
            "registration_failed",
            lambda base: ledger.registration_failed(base, dataset_id, sha256, why),
        )

    async def announce_again(self, after_s: float, *, before: float | None = None) -> int:
        """Put announced images that nobody registered back into the outbox; see `ledger`."""
        now = self._clock.utc()
        return await self.write(
            "announce_again",
            lambda base: ledger.announce_again(base, now=now, after_s=after_s, before=before),
        )

    # Exposures

    async def exposure(self, obs_id: str) -> ExposureShare | None:
        """Return the roll-up of an exposure that images of this host belong to."""
        return await self.read("exposure", lambda base: ledger.exposure_named(base, obs_id))

    async def image_key(self, share: ExposureShare) -> str | None:
        """Return the object key of an image of an exposure."""
        return await self.read(
            "image_key", lambda base: ledger.image_key(base, share.instrument, share.obs_id)
        )

    async def exposures(self, limit: int) -> list[ExposureShare]:
        """Return the roll-ups of the latest exposures, newest first."""
        return await self.read("exposures", lambda base: ledger.recent_shares(base, limit))

    async def expect(
        self, share: ExposureShare, detectors: Collection[str], complete: CompleteEvent
    ) -> None:
        """Note which detectors of an exposure this host is to send."""
        now = self._clock.utc()
        at = (share.instrument, share.obs_id)

        def job(base: sqlite3.Connection) -> None:
            ledger.expect(base, *at, detectors)
            ledger.complete_if_all_stored(base, *at, complete, now=now)

        await self.write("expect", job)

    async def read(self, label: str, job: Job[ResultT]) -> ResultT:
        """Run a job that only reads, and wait for the disk as long as it takes."""
        return await self._run(lambda: self._database.read(label, job))

    async def write(self, label: str, job: Job[ResultT]) -> ResultT:
        """Run a job inside a transaction of its own, and wait for the disk as long as it takes.

        The statements of a room beside the files' way (deadlines, controls, copies) are
        jobs of its own module.
        """
        return await self._run(lambda: self._database.write(label, job))

    async def _run(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        loop = asyncio.get_running_loop()
        while True:
            slow = loop.call_later(_SLOW_S, self._patience.slow, _SLOW)
            try:
                result = await attempt()
            except JournalUnavailableError as error:
                await self._patience.failed(error)
            else:
                self._patience.succeeded("sound, open")
                return result
            finally:
                slow.cancel()
