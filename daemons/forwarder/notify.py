"""From the outbox to a second topic: the same facts as S3 notifications, at least once."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import structlog

from daemons.bus.stream.raw import RawTopic
from daemons.events import Event, ImageStored, decode
from daemons.forwarder.journal import Journal
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.notification import notifications
from daemons.forwarder.outlet import Outlet
from daemons.forwarder.patience import Patience
from daemons.forwarder.settings_notifications import NotificationSettings
from daemons.runtime.errors import ArrieroError

CURSOR = "notifications"
"""Name of our place in the outbox."""
_WINDOW = 64

_log = structlog.get_logger(__name__)


class Notifier(Outlet):
    """Sends what the outbox holds to consumers of S3 notifications.

    It keeps a place of its own in the outbox, so that neither topic waits for the
    other.

    Parameters
    ----------
    topic
        Where to.
    settings
        What the records say.
    journal
        The outbox.
    patience
        How a broker that is away is waited for.
    metrics
        Measures.
    """

    def __init__(
        self,
        topic: RawTopic,
        *,
        settings: NotificationSettings,
        journal: Journal,
        patience: Patience,
        metrics: ForwarderMetrics,
    ) -> None:
        super().__init__()
        self._topic = topic
        self._settings = settings
        self._journal = journal
        self._patience = patience
        self._metrics = metrics

    async def _take_out(self) -> bool:
        events, through = await self._journal.read("notifications", _next)
        if through is None:
            return False
        await self._send(events)
        await self._journal.write("notified", partial(_advance, sequence=through))
        return True

    async def _send(self, events: list[Event]) -> None:
        """Send records in order, as long as it takes."""
        for event in events:
            for key, message in notifications(event, self._settings):
                await self._send_one(key, message)
                self._metrics.notified.inc()

    async def _send_one(self, key: str, message: bytes) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.publish_timeout_s * 2):
                    await self._topic.publish(key.rpartition("/")[0], message)
            except (ArrieroError, TimeoutError) as error:
                self._metrics.failure("notify", getattr(error, "code", "timeout"))
                await self._patience.failed(error)
            else:
                self._patience.succeeded("reached")
                return


def _next(base: sqlite3.Connection) -> tuple[list[Event], int | None]:
    """Return the next image events behind our place, and the place behind them."""
    row = base.execute("SELECT sequence FROM cursors WHERE name = ?", (CURSOR,)).fetchone()
    place = 0 if row is None else int(row["sequence"])
    rows = base.execute(
        "SELECT sequence, event_type, event FROM outbox WHERE sequence > ? ORDER BY sequence "
        "LIMIT ?",
        (place, _WINDOW),
    ).fetchall()
    events = [
        decode(row["event"]).model_copy(update={"sequence": f"{row['sequence']:020d}"})
        for row in rows
        if row["event_type"] == ImageStored.event_type
    ]
    return events, int(rows[-1]["sequence"]) if rows else None


def _advance(base: sqlite3.Connection, sequence: int) -> None:
    base.execute(
        "INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?, ?)", (CURSOR, sequence)
    )


def begin_at_end(base: sqlite3.Connection) -> None:
    """Take the end of the outbox as our place where we have none: old facts are not sent."""
    base.execute(
        "INSERT OR IGNORE INTO cursors (name, sequence) "
        "SELECT ?, coalesce(max(sequence), 0) FROM outbox",
        (CURSOR,),
    )
