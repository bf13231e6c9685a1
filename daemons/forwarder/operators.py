"""What operators do with a forwarder: look at it, hand files over, decide about files set aside."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import structlog

from daemons.forwarder import ledger
from daemons.forwarder.errors import DecisionRefusedError, FileRefusedError
from daemons.forwarder.facts import sentences
from daemons.forwarder.journal import Journal
from daemons.forwarder.model import (
    ASIDE,
    WAITING,
    FileIdentity,
    FileKind,
    FileState,
    JournalEntry,
    blocking,
    shown,
)
from daemons.forwarder.pipeline import Pipeline
from daemons.forwarder.reading import identity_now, read_image
from daemons.forwarder.records import Decision
from daemons.forwarder.roles import role_of
from daemons.forwarder.scan import Found, look
from daemons.forwarder.sightings import saw
from daemons.forwarder.trip import Tools
from daemons.forwarder.views import exposure_view, file_view, iso

_RECENT_EXPOSURES = 10

_log = structlog.get_logger(__name__)

JsonObject = dict[str, Any]


class Operations:
    """Operators' view of one forwarder; works while the service is DISABLED too.

    Parameters
    ----------
    tools
        The service's own.
    pipeline
        Told what is to be worked on.
    """

    def __init__(self, tools: Tools, pipeline: Pipeline) -> None:
        self._tools = tools
        self._pipeline = pipeline

    @property
    def _journal(self) -> Journal:
        return self._tools.journal

    async def queue(self, limit: int = 100) -> JsonObject:
        """Return what waits, why and since when, and the latest exposures."""
        in_hand = {entry.id for entry in self._pipeline.in_hand}
        waiting = await self._journal.waiting(limit, ())
        exposures = await self._journal.exposures(_RECENT_EXPOSURES)
        held = await self._journal.read("held", lambda base: ledger.held_shares(base, limit))
        pending = await self._journal.pending(limit)
        return {
            "files": [{**file_view(entry), "in_hand": entry.id in in_hand} for entry in waiting],
            "events": [
                {
                    "sequence": event.sequence,
                    "type": event.event.type,
                    "subject": event.event.subject,
                    "since": iso(event.created_at),
                }
                for event in pending
            ],
            "exposures": [exposure_view(share) for share in exposures],
            "held": [exposure_view(share) for share in held],
        }

    async def file(self, file_id: int) -> JsonObject:
        """Return what is known of a file, or raise `UnknownFileError`."""
        return file_view(await self._journal.entry(file_id))

    async def aside(
        self,
        states: Collection[FileState] = (FileState.QUARANTINED,),
        *,
        limit: int = 100,
        before: int | None = None,
    ) -> list[JsonObject]:
        """Return files that are set aside, newest first."""
        entries = await self._journal.aside(states, limit, before)
        return [file_view(entry) for entry in entries]

    async def send(self, path: str, *, wait_s: float = 0.0) -> JsonObject:
        """Take a file that is handed over, from the drop directory or one of `send_roots`.

        Parameters
        ----------
        path
            Absolute path.
        wait_s
            How long to wait until the file has got somewhere.

        Returns
        -------
        dict
            The file as the journal has it, with what the journal made of it as `sighting`.

        Raises
        ------
        FileRefusedError
            The path is not allowed, or is nothing that can be sent.
        """
        found = await self._tools.files.run(self._allowed, os.fsencode(path))
        kind = found.role.kind
        if kind is None:
            raise FileRefusedError(
                f"{path} has the name of {_article(found.role)} file; names of images are "
                f"{', '.join(self._tools.live.settings.file_patterns)} (file_patterns)"
            )
        now = self._tools.clock.utc()
        priorities = self._tools.live.settings.priorities
        seen = saw(found.path, found.identity, kind, now, witnessed=True, priorities=priorities)
        (sighted,) = await self._journal.sight([seen])
        self._pipeline.wake([sighted.file_id])
        if sighted.due:
            self._tools.metrics.discovered(0.0)
        entry = await self._settled(sighted.file_id, wait_s)
        return {**file_view(entry), "sighting": sighted.sighting.value}

    async def release(
        self, file_id: int, *, who: str, why: str, waive: Collection[str] | None = None
    ) -> JsonObject:
        """Return a file that was set aside to processing, in spite of what was found.

        Parameters
        ----------
        file_id
            Its number in the journal.
        who, why
            For the record.
        waive
            Codes of findings to live with; None: all that it was set aside for. What
            is found besides sets the file aside again.

        Raises
        ------
        UnknownFileError
            There is no such file.
        DecisionRefusedError
            It is not set aside, gone, or cannot be stored whatever is waived.
        """
        entry = await self._set_aside(file_id)
        against = [finding.code for finding in blocking(entry.findings, ())]
        decision = Decision(who, why, tuple(sorted(against if waive is None else waive)))
        identity = await self._tools.files.run(identity_now, entry)
        await self._check_sendable(entry, identity)
        after = await self._journal.release(entry, decision, identity)
        if entry.state is FileState.QUARANTINED:
            await self._annotate(after, "released", decision)
        self._pipeline.wake([file_id])
        _log.warning(
            "file_released", path=shown(entry.path), file=file_id, who=who, waived=decision.waived
        )
        return file_view(after)

    async def reject(self, file_id: int, *, who: str, why: str) -> JsonObject:
        """Give up a file that was set aside; it stays where it is.

        Raises
        ------
        UnknownFileError
            There is no such file.
        DecisionRefusedError
            It is not set aside.
        """
        entry = await self._set_aside(file_id)
        if entry.state is FileState.FAILED:
            raise DecisionRefusedError(f"file number {file_id} is given up already: {entry.detail}")
        decision = Decision(who, why)
        after = await self._journal.reject(entry, decision)
        if entry.state is FileState.QUARANTINED:
            await self._annotate(after, "rejected", decision)
        self._tools.metrics.moved(FileState.FAILED)
        _log.warning("file_rejected", path=shown(entry.path), file=file_id, who=who, why=why)
        return file_view(after)

    async def _set_aside(self, file_id: int) -> JournalEntry:
        entry = await self._journal.entry(file_id)
        if entry.state not in ASIDE:
            raise DecisionRefusedError(
                f"file number {file_id} ({shown(entry.path)}) is {entry.state}; only files that "
                "are quarantined, conflicted or failed can be decided about"
            )
        return entry

    async def _check_sendable(self, entry: JournalEntry, identity: FileIdentity) -> None:
        """Refuse what no waiver can make storable: nobody could say which image it is."""
        if entry.kind is not FileKind.IMAGE:
            return
        now = replace(entry, identity=identity)
        reading = await self._tools.readers.run(read_image, now, self._tools.live.settings)
        if reading.translation is not None and reading.object_key is not None:
            return
        reasons = sentences(blocking(reading.findings, ()))
        raise DecisionRefusedError(
            f"{shown(entry.location)} cannot be stored whatever is waived, for it does not tell "
            f"which image it is or where it belongs: {reasons} Mend the file and hand the mended "
            "one over, or reject this one"
        )

    async def _annotate(self, entry: JournalEntry, what: str, decision: Decision) -> None:
        at = iso(self._tools.clock.utc())
        note: Mapping[str, Any] = {
            "decision": what,
            "at": at,
            "who": decision.who,
            "why": decision.why,
            "waived": list(decision.waived),
        }
        await self._tools.files.run(self._tools.quarantine.annotate, entry, note)

    async def _settled(self, file_id: int, wait_s: float) -> JournalEntry:
        """Return a file once it has got somewhere, or as it is when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while (await self._journal.entry(file_id)).state in WAITING:
                    await self._pipeline.next_end(file_id)
        return await self._journal.entry(file_id)

    def _allowed(self, path: bytes) -> Found:
        """Return the file at a path that may be handed over. Blocks."""
        settings = self._tools.live.settings
        if not path.startswith(b"/"):
            raise FileRefusedError(f"{shown(path)} is no absolute path")
        path = os.path.normpath(path)
        given, _, name = path.rpartition(b"/")
        folder = os.path.realpath(given)
        roots = [self._tools.root, *(os.fsencode(root) for root in settings.send_roots)]
        if not any(_below(folder, os.path.realpath(root)) for root in roots):
            raise FileRefusedError(
                f"{shown(path)} is neither in the drop directory nor in one of send_roots "
                f"({', '.join(map(str, settings.send_roots)) or 'there are none'})"
            )
        found = look(path, role_of(os.fsdecode(name), settings))
        if found is None:
            raise FileRefusedError(f"there is no file {shown(path)}")
        if not isinstance(found, Found):
            raise FileRefusedError(found.sentence)
        return found


def _below(folder: bytes, root: bytes) -> bool:
    return folder == root or folder.startswith(root.rstrip(b"/") + b"/")


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
