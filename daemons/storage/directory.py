"""An object store in a directory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from pathlib import Path

from daemons.storage.bodies import held
from daemons.storage.folder import ObjectFolder, Put
from daemons.storage.interface import Body, ObjectInfo
from daemons.storage.keys import check_metadata
from daemons.storage.workers import Workers

_LIST_BATCH = 500
"""How many objects are listed per trip to a thread."""


class DirectoryStore:
    """Objects as plain files below a root, under their keys.

    Anybody may read the files with ordinary tools. A file that somebody else put
    there is an object too, without metadata. Writers may be many, also in several
    processes on one file system: of two conditional puts one wins. A key cannot at
    once be the folder of other keys (`StoreError`), which S3 would allow.

    Parameters
    ----------
    name
        Name of this destination in the configuration.
    root
        The directory.
    create
        Make the directory when it is not there at the first use. False for a
        mount point: a missing mount is then `StoreUnavailableError` from the start.
    workers
        How many calls run at once.
    """

    def __init__(self, name: str, root: Path, *, create: bool = True, workers: int = 8) -> None:
        self._name = name
        self._folder = ObjectFolder(root.absolute(), create=create)
        self._workers = Workers(name, workers)

    @property
    def name(self) -> str:
        """Name of this destination in the configuration."""
        return self._name

    def uri(self, key: str) -> str:
        """Return the `file:///` URI of an object."""
        return self._folder.path(key).as_uri()

    async def check(self) -> None:
        """Return when the directory is there and can be written, else raise."""
        await self._workers.run(self._folder.check)

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes or a file under a key; see `ObjectStore.put`."""
        self._folder.path(key)
        given_up = threading.Event()
        put = Put(key, held(body), check_metadata(metadata), content_type, if_absent, given_up)
        try:
            return await self._workers.run(self._folder.put, put)
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        return await self._workers.run(self._folder.head, key)

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        return await self._workers.run(self._folder.get, key)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        found = self._folder.walk(prefix)
        while batch := await self._workers.run(lambda: tuple(islice(found, _LIST_BATCH))):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        await self._workers.run(self._folder.delete, key)

    async def close(self) -> None:
        """Wait for running calls and give back the threads."""
        await self._workers.close()
