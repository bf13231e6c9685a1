"""How operators steer a forwarder: pause, resume, drain, limits, try again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

import structlog

from daemons.forwarder import copy_ledger, ledger, lookup
from daemons.forwarder.announce import Announcer
from daemons.forwarder.controls import BANDWIDTH, CONCURRENCY, MODE, Controls, Mode
from daemons.forwarder.errors import DecisionRefusedError, EntryChangedError
from daemons.forwarder.model import ASIDE, WAITING, FileState, JournalEntry, shown
from daemons.forwarder.pipeline import Pipeline
from daemons.forwarder.reading import identity_now
from daemons.forwarder.reconcile import Reconciler
from daemons.forwarder.records import Decision, record_decision
from daemons.forwarder.trip import Tools
from daemons.forwarder.views import iso

_AT_ONCE = 1000
"""Files that one request tries again at most."""

_log = structlog.get_logger(__name__)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files are meant."""

    files: Sequence[int] = ()
    """Numbers in the journal."""
    obs_id: str | None = None
    """All files of an exposure."""
    state: FileState | None = None
    """All files in a state."""


class Steering:
    """Operators' hand on one forwarder; works while the service is DISABLED too.

    Parameters
    ----------
    tools, controls, pipeline, reconciler, announcer
        The service's own.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        controls: Controls,
        pipeline: Pipeline,
        reconciler: Reconciler,
        announcer: Announcer,
    ) -> None:
        self._tools = tools
        self._journal = tools.journal
        self._controls = controls
        self._pipeline = pipeline
        self._reconciler = reconciler
        self._announcer = announcer

    def view(self) -> JsonObject:
        """Return what is in force, and who set it."""
        controls = self._controls
        return {
            "mode": controls.mode.value,
            "concurrency": controls.concurrency,
            "bandwidth_bytes_per_s": controls.bandwidth_bytes_per_s,
            "set_by_operators": {
                name: {
                    "value": control.value,
                    "who": control.who,
                    "why": control.why,
                    "since": iso(control.at),
                }
                for name, control in controls.in_force.items()
            },
        }

    async def pause(
        self, decision: Decision, *, backlog_only: bool = False, wait_s: float = 0.0
    ) -> JsonObject:
        """Begin no more files, or none of the backlog; those in hand are finished.

        Parameters
        ----------
        decision
            Who, and why.
        backlog_only
            New exposures are still sent.
        wait_s
            How long to wait until nothing is in hand.
        """
        mode = Mode.BACKLOG_PAUSED if backlog_only else Mode.PAUSED
        await self._controls.change({MODE: mode.value}, decision)
        if not backlog_only:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._pipeline.idle()
        return self._progress()

    async def resume(self, decision: Decision) -> JsonObject:
        """Take a pause or a draining back; what came meanwhile is found by a scan."""
        await self._controls.change({MODE: None}, decision)
        self._reconciler.scan_soon()
        return self._progress()

    async def drain(self, decision: Decision, *, wait_s: float = 0.0) -> JsonObject:
        """Take in no new file, send what waits, and empty the outbox.

        Parameters
        ----------
        decision
            Who, and why.
        wait_s
            How long to wait until that is done; `drained` says whether it is.
        """
        await self._controls.change({MODE: Mode.DRAINING.value}, decision)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while True:
                    await self._pipeline.idle()
                    for copier in self._tools.copiers:
                        await copier.idle()
                    await self._announcer.flushed()
                    if self._waiting == 0 or self._controls.mode is not Mode.DRAINING:
                        break
                    await self._pipeline.next_end()
        return self._progress()

    async def limit(
        self,
        decision: Decision,
        *,
        concurrency: int | None = None,
        bandwidth_bytes_per_s: int | None = None,
        reset: bool = False,
    ) -> JsonObject:
        """Set ceilings at once; they outlast a restart.

        Parameters
        ----------
        decision
            Who, and why.
        concurrency
            Files that are worked on at the same time; None leaves it.
        bandwidth_bytes_per_s
            Ceiling on what is sent, 0 for none; None leaves it.
        reset
            Go back to the settings first.
        """
        values: dict[str, str | None] = {CONCURRENCY: None, BANDWIDTH: None} if reset else {}
        if concurrency is not None:
            values[CONCURRENCY] = str(concurrency)
        if bandwidth_bytes_per_s is not None:
            values[BANDWIDTH] = str(bandwidth_bytes_per_s)
        await self._controls.change(values, decision)
        return self.view()

    async def requeue(
        self, selection: Selection, decision: Decision, *, announce: bool = False
    ) -> JsonObject:
        """Try files again that were set aside or wait; announce stored ones again.

        Parameters
        ----------
        selection
            Which files.
        decision
            Who, and why. Nothing is waived: what was wrong and still is sets a file aside
            again.
        announce
            Publish the events of images that are stored once more.

        Raises
        ------
        UnknownFileError
            A number that the journal does not know.
        """
        entries = await self._selected(selection)
        outcomes: Counter[str] = Counter()
        refused: list[JsonObject] = []
        for entry in entries:
            try:
                outcomes[await self._again(entry, decision, announce=announce)] += 1
            except (DecisionRefusedError, EntryChangedError) as error:
                refused.append({"id": entry.id, "path": shown(entry.path), "why": str(error)})
        if outcomes["announced"]:
            self._tools.announce()
        self._pipeline.wake()
        _log.warning("files_requeued", **outcomes, who=decision.who, why=decision.why)
        return {
            "files": len(entries),
            "again": outcomes["again"],
            "hurried": outcomes["hurried"],
            "announced": outcomes["announced"],
            "left_alone": outcomes["left_alone"],
            "refused": refused,
            "more": len(entries) == _AT_ONCE,
        }

    async def let_go(self, obs_id: str, decision: Decision) -> JsonObject:
        """Hold an exposure back no longer.

        Raises
        ------
        DecisionRefusedError
            It is not held back, or unknown here.
        """
        share = await self._journal.exposure(obs_id)
        if share is None or not share.held:
            raise DecisionRefusedError(f"the exposure {obs_id} is not held back here")
        files = await self._journal.read("let_go", lambda base: lookup.of_exposure(base, obs_id, 1))
        now = self._tools.clock.utc()
        on_record = Decision(decision.who, decision.why, tuple(sorted(share.held)))

        def job(base: Connection) -> bool:
            for entry in files:
                record_decision(base, entry, "release", on_record, now)
            return ledger.let_go(base, share, self._tools.complete, now=now)

        complete = await self._journal.write("let_go", job)
        self._tools.announce()
        _log.warning("exposure_let_go", obs_id=obs_id, codes=on_record.waived, who=decision.who)
        return {"obs_id": obs_id, "waived": list(on_record.waived), "complete": complete}

    async def _selected(self, selection: Selection) -> list[JournalEntry]:
        entries = [await self._journal.entry(number) for number in selection.files]
        if selection.obs_id is not None:
            obs_id = selection.obs_id
            entries += await self._journal.read(
                "requeue", lambda base: lookup.of_exposure(base, obs_id, _AT_ONCE)
            )
        if selection.state is not None:
            entries += await self._journal.aside((selection.state,), _AT_ONCE)
        return list({entry.id: entry for entry in entries}.values())[:_AT_ONCE]

    async def _again(self, entry: JournalEntry, decision: Decision, *, announce: bool) -> str:
        if await self._copies_again(entry):
            return "again"
        if entry.state in WAITING:
            self._pipeline.wake([entry.id])
            return "hurried"
        if entry.state in ASIDE:
            identity = await self._tools.files.run(identity_now, entry)
            await self._journal.release(entry, decision, identity, what="requeue")
            self._pipeline.wake([entry.id])
            return "again"
        if not announce:
            return "left_alone"
        now = self._tools.clock.utc()
        done = await self._journal.write(
            "announce", lambda base: ledger.announce_file(base, entry.id)
        )
        if done:
            await self._journal.write(
                "decision", lambda base: record_decision(base, entry, "announce", decision, now)
            )
        return "announced" if done else "left_alone"

    async def _copies_again(self, entry: JournalEntry) -> bool:
        """Make the copies of a file again that went wrong."""
        now = self._tools.clock.utc()
        again = await self._journal.write(
            "copies", lambda base: copy_ledger.again(base, entry.id, now)
        )
        for copier in self._tools.copiers if again else ():
            copier.wake()
        return bool(again)

    @property
    def _waiting(self) -> int:
        tallies = self._journal.summary.tallies
        copies = sum(copier.waiting for copier in self._tools.copiers)
        files = sum(tally.files for (_, state), tally in tallies.items() if state in WAITING)
        return files + copies

    def _progress(self) -> JsonObject:
        outbox = self._journal.summary.outbox_depth
        in_hand = len(self._pipeline.in_hand)
        return {
            **self.view(),
            "waiting": self._waiting,
            "in_hand": in_hand,
            "outbox": outbox,
            "drained": not (self._waiting or in_hand or outbox),
        }
