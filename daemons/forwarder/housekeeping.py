"""Forgetting what the journal need not remember any more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial

import structlog

from daemons.forwarder import oblivion
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.oblivion import Place
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor

_PERIOD_S = 3600.0
_DAY_S = 86_400.0
_BATCH = 500

_log = structlog.get_logger(__name__)


class Housekeeper:
    """Removes old entries of files that have left, and events that nobody needs again.

    Parameters
    ----------
    journal
        What is cleaned.
    live
        The settings.
    files
        Threads for looking at files.
    clock
        The time.
    """

    def __init__(
        self, journal: Journal, *, live: LiveSettings, files: BlockingExecutor, clock: Clock
    ) -> None:
        self._journal = journal
        self._live = live
        self._files = files
        self._clock = clock

    async def run(self) -> None:
        """Clean once an hour until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.clean()

    async def clean(self) -> int:
        """Clean once; return how many entries were forgotten."""
        settings = self._live.settings
        keep_s = settings.journal_keep_days * _DAY_S
        awaited = settings.reannounce_after_s is not None
        forgotten, after = 0, Place()
        before = self._clock.utc() - keep_s
        while batch := await self._journal.read(
            "forgettable",
            partial(
                oblivion.forgettable, before=before, after=after, limit=_BATCH, awaited=awaited
            ),
        ):
            gone = await self._files.run(_gone, batch)
            await self._journal.write("forget", partial(oblivion.forget, file_ids=gone))
            forgotten += len(gone)
            after = batch[-1][0]
        events = 0
        while some := await self._journal.write(
            "forget_events", partial(oblivion.forget_events, before=before)
        ):
            events += some
        if forgotten or events:
            _log.info("journal_cleaned", files=forgotten, events=events)
        return forgotten


def _gone(batch: Sequence[tuple[Place, bytes]]) -> list[int]:
    return [place.file_id for place, location in batch if not os.path.lexists(location)]
