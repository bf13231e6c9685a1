"""Whoever takes what is in the outbox to somewhere else: woken, until it is empty."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from daemons.forwarder.errors import DrainingError


class Outlet(ABC):
    """One way out of the outbox."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something in the outbox."""
        self._flushed.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Return when all is out, or cannot get out because the service ends."""
        await self._flushed.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        self._flushed.clear()
        while True:
            self._wake.clear()
            try:
                if await self._take_out():
                    continue
            except DrainingError:
                pass
            self._flushed.set()
            await self._wake.wait()

    @abstractmethod
    async def _take_out(self) -> bool:
        """Take out what is next; return whether there was anything."""
