"""The latest header of each exposure, for those who fetch it and for those who wait for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from headerservice.exposure import Status
from headerservice.journal_records import StoredHeader
from headerservice.sensors import Hdu

_KEPT = 16
"""Exposures whose headers are in memory; older ones are in the journal."""


Shown = tuple[StoredHeader, tuple[Hdu, ...]]
"""A header and its content."""


class Board:
    """Holds the last headers, and wakes those who wait for one."""

    def __init__(self) -> None:
        self._headers: OrderedDict[str, dict[Status, Shown]] = OrderedDict()
        self._changed: dict[str, asyncio.Event] = {}
        self._waiters: dict[str, int] = {}

    def post(self, header: StoredHeader, hdus: tuple[Hdu, ...]) -> None:
        """Show a new header."""
        of_exposure = self._headers.setdefault(header.obs_id, {})
        kind = Status.EARLY if header.status is Status.EARLY else Status.COMPLETE
        of_exposure[kind] = (header, hdus)
        self._headers.move_to_end(header.obs_id)
        while len(self._headers) > _KEPT:
            self._headers.popitem(last=False)
        changed = self._changed.get(header.obs_id)
        if changed is not None:
            changed.set()

    def latest(self, obs_id: str) -> Shown | None:
        """Return the latest header of an exposure, as far as it is in memory."""
        of_exposure = self._headers.get(obs_id, {})
        return of_exposure.get(Status.COMPLETE) or of_exposure.get(Status.EARLY)

    async def changed(self, obs_id: str) -> None:
        """Return when the next header of an exposure is shown."""
        event = self._changed.setdefault(obs_id, asyncio.Event())
        self._waiters[obs_id] = self._waiters.get(obs_id, 0) + 1
        try:
            await event.wait()
        finally:
            self._waiters[obs_id] -= 1
            if event.is_set() and self._changed.get(obs_id) is event:
                del self._changed[obs_id]
            if not self._waiters[obs_id]:
                del self._waiters[obs_id]
                self._changed.pop(obs_id, None)

    @property
    def waiting(self) -> int:
        """Requests that wait for a header."""
        return sum(self._waiters.values())
