"""From a hint or a scan to a journal entry: look, wait until the file is quiet, take it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from daemons.forwarder.model import shown
from daemons.forwarder.notice import Ended, Hint
from daemons.forwarder.roles import Role, role_below
from daemons.forwarder.scan import Found, ScanBatch, look
from daemons.forwarder.settling import Settling
from daemons.forwarder.sightings import Seen, saw
from daemons.forwarder.trip import Tools
from translators.findings import Finding

_HINTS_MAX = 500
"""Hints that are dealt with together."""
_NAMES_MAX = 1000
"""Paths that are remembered so as to be reported once."""

_log = structlog.get_logger(__name__)

Wake = Callable[[Iterable[int]], None]
"""Told of journal entries that are to be worked on."""


@dataclass(slots=True)
class LeftAlone:
    """What lies in the drop directory and is not taken: reported once, counted."""

    unknown: int = 0
    """Files with names that mean nothing, at the last complete scan."""
    refused: dict[bytes, Finding] = field(default_factory=dict)
    """Links and the like, at the last complete scan."""
    _reported: dict[bytes, None] = field(default_factory=dict)

    def report_unknown(self, path: bytes) -> None:
        """Log a file with a name that means nothing, once."""
        if self._first_time(path):
            hint = "change file_patterns or ignore_patterns if it should be sent or is meant"
            _log.warning("unknown_file_left_alone", path=shown(path), hint=hint)

    def report_refused(self, path: bytes, finding: Finding) -> None:
        """Log something that is not taken, once."""
        if self._first_time(path):
            _log.warning("file_refused", path=shown(path), code=finding.code, why=finding.sentence)

    def _first_time(self, path: bytes) -> bool:
        if path in self._reported:
            return False
        if len(self._reported) >= _NAMES_MAX:
            del self._reported[next(iter(self._reported))]
        self._reported[path] = None
        return True


class Intake:
    """Takes files into the journal.

    Parameters
    ----------
    root
        The drop directory.
    tools
        Settings, journal, threads, measures and time.
    wake
        Told of entries that are to be worked on.
    """

    def __init__(self, root: bytes, *, tools: Tools, wake: Wake) -> None:
        self.left_alone = LeftAlone()
        self._root = root
        self._live = tools.live
        self._journal = tools.journal
        self._files = tools.files
        self._metrics = tools.metrics
        self._clock = tools.clock
        self._wake = wake
        self._on_overflow: Callable[[], None] = _nothing
        self._closed: Callable[[], bool] = _never
        self._settling = Settling()
        self._hints: deque[Hint] = deque()
        self._changed = asyncio.Event()

    @property
    def settling(self) -> int:
        """How many files are watched until they are quiet."""
        return len(self._settling)

    def on_overflow(self, call: Callable[[], None]) -> None:
        """Call something when more hints come than may wait: a scan is needed."""
        self._on_overflow = call

    def closed_while(self, closed: Callable[[], bool]) -> None:
        """Take no file while something is so; a scan after it finds what came meanwhile."""
        self._closed = closed

    def hint(self, hint: Hint) -> None:
        """Take a hint; call it in the event loop."""
        if len(self._hints) >= self._live.settings.queue_limit:
            self._on_overflow()
            return
        self._hints.append(hint)
        self._changed.set()

    async def run(self) -> None:
        """Deal with hints, and with files that become quiet, until cancelled."""
        while True:
            hints = await self._next_hints()
            if hints:
                await self._take_hints(hints)
            await self._take_quiet()

    async def take_scanned(self, batch: ScanBatch) -> None:
        """Take what a scan found and the journal does not know."""
        for path in batch.unknown:
            self.left_alone.report_unknown(path)
        for path, finding in batch.refused:
            self.left_alone.report_refused(path, finding)
        known = await self._journal.known([found.path for found in batch.files])
        fresh = [
            found
            for found in batch.files
            if known.get(found.path) != found.identity and found.path not in self._settling
        ]
        settings = self._live.settings
        now = self._clock.utc()
        settled = []
        for found in fresh:
            quiet_s = settings.quiet_time_s if found.placed else settings.unseen_quiet_time_s
            changed_at = found.identity.ctime_ns / 1e9
            if now - changed_at >= quiet_s:
                settled.append(self._seen(found, witnessed=False, seen_at=changed_at))
            else:
                self._watch(found, quiet_s=quiet_s, witnessed=False, seen_at=min(now, changed_at))
        await self._sight(settled)

    async def _next_hints(self) -> list[Hint]:
        """Wait for a hint, or until a file is to be looked at again."""
        self._changed.clear()
        due = self._settling.next_due
        if not self._hints and (due is None or due > self._clock.monotonic()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until(due)):
                    await self._changed.wait()
        return [self._hints.popleft() for _ in range(min(_HINTS_MAX, len(self._hints)))]

    def _until(self, due: float | None) -> float | None:
        return None if due is None else max(0.0, due - self._clock.monotonic())

    async def _take_hints(self, hints: Sequence[Hint]) -> None:
        seen_at = self._clock.utc()
        ended = _strongest(hints)
        roles = {path: role_below(path, self._root, self._live.settings) for path in ended}
        wanted = [path for path, role in roles.items() if role.kind is not None]
        settled = []
        for found in await self._look(wanted, roles):
            how = ended[found.path]
            complete = how is Ended.MOVED or (how is Ended.CREATED and found.links > 1)
            quiet_s = self._live.settings.quiet_time_s
            if how is Ended.CREATED and not complete:
                if found.path not in self._settling:
                    quiet_s = self._live.settings.unseen_quiet_time_s
                    self._watch(found, quiet_s=quiet_s, witnessed=False, seen_at=seen_at)
            elif complete or quiet_s == 0:
                before = self._settling.forget(found.path)
                first = seen_at if before is None else before.seen_at
                settled.append(self._seen(found, witnessed=True, seen_at=first))
            else:
                self._watch(found, quiet_s=quiet_s, witnessed=True, seen_at=seen_at)
        await self._sight(settled)

    async def _take_quiet(self) -> None:
        due = {file.found.path: file for file in self._settling.take_due(self._clock.monotonic())}
        if not due:
            return
        roles = {path: file.found.role for path, file in due.items()}
        settled = []
        for found in await self._look(list(due), roles):
            quiet = self._settling.look_again(due[found.path], found, self._clock.monotonic())
            if quiet is not None:
                settled.append(self._seen(found, witnessed=quiet.witnessed, seen_at=quiet.seen_at))
        await self._sight(settled)

    async def _look(self, paths: Sequence[bytes], roles: Mapping[bytes, Role]) -> list[Found]:
        """Look at files in a thread; what is gone or refused is left out."""
        if not paths:
            return []
        looked = await self._files.run(lambda: [(path, look(path, roles[path])) for path in paths])
        found = []
        for path, what in looked:
            if isinstance(what, Found):
                found.append(what)
            elif isinstance(what, Finding):
                self.left_alone.report_refused(path, what)
        return found

    def _watch(self, found: Found, *, quiet_s: float, witnessed: bool, seen_at: float) -> None:
        now = self._clock.monotonic()
        self._settling.watch(found, quiet_s=quiet_s, witnessed=witnessed, seen_at=seen_at, now=now)
        self._changed.set()

    def _seen(self, found: Found, *, witnessed: bool, seen_at: float) -> Seen:
        kind = found.role.kind
        if kind is None:
            raise ValueError(f"{shown(found.path)} is nothing that the journal takes")
        priorities = self._live.settings.priorities
        return saw(
            found.path, found.identity, kind, seen_at, witnessed=witnessed, priorities=priorities
        )

    async def _sight(self, seen: Sequence[Seen]) -> None:
        if not seen or self._closed():
            return
        now = self._clock.utc()
        due = []
        for one, sighted in zip(seen, await self._journal.sight(seen), strict=True):
            if sighted.due:
                due.append(sighted.file_id)
                self._metrics.discovered(max(0.0, now - one.seen_at))
                _log.info(
                    "file_seen",
                    path=shown(one.path),
                    file=sighted.file_id,
                    sighting=sighted.sighting.value,
                    size_bytes=one.identity.size_bytes,
                )
        self._wake(due)


def _strongest(hints: Iterable[Hint]) -> dict[bytes, Ended]:
    """Return one hint per path; that it was made says less than that it was finished."""
    ended: dict[bytes, Ended] = {}
    for hint in hints:
        if hint.path not in ended or hint.ended is not Ended.CREATED:
            ended[hint.path] = hint.ended
    return ended


def _nothing() -> None:
    """Do nothing."""


def _never() -> bool:
    """Return that it is never so."""
    return False
