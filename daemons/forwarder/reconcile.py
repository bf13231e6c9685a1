"""The drop directory against the journal: at the start, after lost notices, and on a period."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from daemons.forwarder.intake import Intake
from daemons.forwarder.notice import Hint, Notices
from daemons.forwarder.scan import ScanBatch, scan
from daemons.forwarder.trip import Tools
from daemons.runtime.health import HealthBoard
from translators.findings import Finding

DROP_DIRECTORY = "drop_directory"
"""Name of the drop directory on the health board."""
_ABSENT_S = 1.0
"""How often to look for a drop directory that is not there."""
_ANSWER_S = 60.0
"""How long the file system may take to answer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LastScan:
    """The last complete scan."""

    at: float
    """UTC seconds."""
    seconds: float
    files: int
    """Images and attachments."""


class Reconciler:
    """Watches the drop directory and scans it.

    Parameters
    ----------
    root
        The drop directory.
    intake
        Takes what is found.
    tools
        Settings, threads, measures and time.
    health
        Where the drop directory's state is reported.
    """

    def __init__(self, root: bytes, *, intake: Intake, tools: Tools, health: HealthBoard) -> None:
        self.last_scan: LastScan | None = None
        self.intake = intake
        self._root = root
        self._live = tools.live
        self._files = tools.files
        self._health = health
        self._metrics = tools.metrics
        self._clock = tools.clock
        self._watched: tuple[int, int] | None = None
        self._trouble: str | None = None
        self._scan_now = asyncio.Event()
        intake.on_overflow(self.notices_lost)

    def scan_soon(self) -> None:
        """Ask for a scan before its time."""
        self._scan_now.set()

    async def run(self) -> None:
        """Watch and scan until cancelled."""
        loop = asyncio.get_running_loop()
        notices = Notices(
            on_hint=lambda hint: _call(loop, self._hinted, hint),
            on_overflow=lambda: _call(loop, self.notices_lost),
        )
        try:
            while True:
                self._scan_now.clear()
                there = await self._watch(notices) and await self._scan()
                await self._pause(self._live.settings.scan_period_s if there else _ABSENT_S)
        finally:
            self._watched = None
            await asyncio.shield(asyncio.to_thread(notices.stop))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._scan_now.wait()

    def _hinted(self, hint: Hint) -> None:
        self.intake.hint(hint)

    def notices_lost(self) -> None:
        """Say that a file may have come unnoticed: a scan finds it."""
        if not self._scan_now.is_set():
            self._metrics.overflows.inc()
            _log.warning("notices_lost", hint="the drop directory is scanned")
        self._scan_now.set()

    async def _watch(self, notices: Notices) -> bool:
        """See that the directory which is there now is watched; False where there is none."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await self._files.run(os.stat, self._root)
        except OSError as error:
            if self._watched is not None:
                await asyncio.to_thread(notices.stop)
                self._watched = None
            self._absent(error)
            return False
        now = (status.st_dev, status.st_ino)
        if self._watched != now or not notices.watching:
            await self._start(notices)
            self._watched = now if notices.watching else None
        return True

    async def _start(self, notices: Notices) -> None:
        try:
            await asyncio.to_thread(notices.start, self._root)
        except OSError as error:
            period_s = self._live.settings.scan_period_s
            self._trouble = f"no notices of new files ({error}); it is scanned every {period_s:g} s"
            _log.warning(
                "no_notices",
                error=str(error),
                hint="raise fs.inotify.max_user_watches and max_user_instances",
            )
        else:
            self._trouble = None

    async def _next(self, batches: Iterator[ScanBatch]) -> ScanBatch | None:
        async with asyncio.timeout(_ANSWER_S):
            return await self._files.run(lambda: next(batches, None))

    def _absent(self, error: OSError) -> None:
        where = os.fsdecode(self._root)
        why = error.strerror or f"no answer within {_ANSWER_S:g} s"
        reason = f"{where} cannot be read: {why}; mount or make it, files wait meanwhile"
        before = self._health.dependencies.get(DROP_DIRECTORY)
        if before is None or before.ok or before.reason != reason:
            _log.warning("drop_directory_away", path=where, error=why)
        self._health.report(DROP_DIRECTORY, ok=False, reason=reason)

    async def _scan(self) -> bool:
        """Read the whole directory; False where it cannot be read."""
        start = self._clock.monotonic()
        batches = scan(self._root, self._live.settings)
        files = unknown = 0
        refused: dict[bytes, Finding] = {}
        try:
            while (batch := await self._next(batches)) is not None:
                files += len(batch.files)
                unknown += len(batch.unknown)
                refused.update(batch.refused)
                await self.intake.take_scanned(batch)
        except OSError as error:
            self._absent(error)
            return False
        left_alone = self.intake.left_alone
        left_alone.unknown, left_alone.refused = unknown, refused
        seconds = self._clock.monotonic() - start
        self._metrics.scans.observe(seconds)
        self.last_scan = LastScan(self._clock.utc(), seconds, files)
        self._health.report(DROP_DIRECTORY, ok=True, reason=self._trouble or "watched and scanned")
        return True


def _call(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    """Call something in the event loop from another thread; a loop that ended hears nothing."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)
