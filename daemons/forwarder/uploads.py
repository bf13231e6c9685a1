"""Uploads in parts that were begun, in the journal: a restart goes on with them."""

from __future__ import annotations

import sqlite3

from daemons.forwarder.journal import Journal
from daemons.storage.multipart import UnfinishedUpload


class JournalUploads:
    """An `UploadRecord` of the stores.

    Parameters
    ----------
    journal
        Where it is kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def find(self, store: str, key: str) -> UnfinishedUpload | None:
        """Return the upload that was begun for a key of a store and not ended."""

        def look(base: sqlite3.Connection) -> UnfinishedUpload | None:
            row = base.execute(
                "SELECT upload_id, part_bytes, size_bytes, sha256 FROM uploads "
                "WHERE store = ? AND key = ?",
                (store, key),
            ).fetchone()
            return None if row is None else UnfinishedUpload(*row)

        return await self._journal.read("upload", look)

    async def begun(self, store: str, key: str, upload: UnfinishedUpload) -> None:
        """Remember an upload; it takes the place of another one of the same key."""
        row = (
            *(store, key, upload.upload_id),
            *(upload.part_bytes, upload.size_bytes, upload.sha256),
        )
        await self._journal.write(
            "upload_begun",
            lambda base: base.execute(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?)", row
            ),
        )

    async def ended(self, store: str, key: str) -> None:
        """Forget the upload of a key: it was completed or aborted. Idempotent."""
        await self._journal.write(
            "upload_ended",
            lambda base: base.execute(
                "DELETE FROM uploads WHERE store = ? AND key = ?", (store, key)
            ),
        )
