"""A bounded queue between the task that reads a transport and whoever iterates."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Mailbox(Generic[ItemT]):
    """Holds what was read until it is asked for; the reader waits while it is full.

    Parameters
    ----------
    size
        How many items it holds.
    """

    def __init__(self, size: int) -> None:
        self._items: asyncio.Queue[ItemT | None] = asyncio.Queue(size)
        self._closed = False

    async def put(self, item: ItemT) -> None:
        """Add an item; waits for room."""
        await self._items.put(item)

    async def get(self) -> ItemT:
        """Return the next item.

        Raises
        ------
        StopAsyncIteration
            Closed.
        """
        if not self._closed:
            item = await self._items.get()
            if item is not None and not self._closed:
                return item
            self._wake()
        raise StopAsyncIteration

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._items.empty():
            self._items.put_nowait(None)
