"""What becomes of announced images: registered, refused, or announced again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from sqlite3 import Connection

import structlog

from daemons.bus import BusUnavailableError, EventStream
from daemons.events import (
    Event,
    EventsMissed,
    ImageRegistered,
    ImageRegistrationFailed,
    InvalidEventError,
)
from daemons.forwarder import ledger
from daemons.forwarder.facts import Facts
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.model import FileState
from daemons.forwarder.patience import Patience
from daemons.runtime.clock import Clock

_IDLE_S = 60.0
"""How often the settings are looked at while nothing is to be announced again."""
_MISSED_MAX = 10_000
"""Events that one request gets again; a reader that missed more asks again."""
_LOOKS = 4
"""Looks for overdue images within the time after which one is overdue."""

_log = structlog.get_logger(__name__)


class Confirmer:
    """Listens for what the registrar makes of our images.

    Parameters
    ----------
    stream
        The event stream.
    group
        Consumer group of this host.
    journal, metrics
        Where it is noted.
    facts
        Makes our events.
    announce
        Told that the outbox has something.
    patience
        How a stream that is away is waited for.
    clock
        The time.
    """

    def __init__(
        self,
        stream: EventStream,
        *,
        group: str,
        journal: Journal,
        facts: Facts,
        announce: Callable[[], None],
        patience: Patience,
        metrics: ForwarderMetrics,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._facts = facts
        self._announce = announce
        self._stream = stream
        self._group = group
        self._journal = journal
        self._patience = patience
        self._metrics = metrics

    async def run(self) -> None:
        """Listen until cancelled."""
        types = {
            ImageRegistered.event_type,
            ImageRegistrationFailed.event_type,
            EventsMissed.event_type,
        }
        while True:
            try:
                async with self._stream.subscribe(self._group, types=types) as subscription:
                    await subscription.ready()
                    self._patience.succeeded("subscribed")
                    async for delivery in subscription:
                        await self._take(delivery.message)
                        await delivery.ack()
            except BusUnavailableError as error:
                await self._patience.failed(error)
            else:
                await self._patience.failed(
                    BusUnavailableError("the event stream closed the subscription")
                )

    async def _take(self, event: Event) -> None:
        try:
            if event.type == ImageRegistered.event_type:
                await self._registered(event.read(ImageRegistered))
            elif event.type == ImageRegistrationFailed.event_type:
                await self._refused(event.read(ImageRegistrationFailed))
            elif event.type == EventsMissed.event_type:
                await self._missed(event.read(EventsMissed))
        except InvalidEventError as error:
            self._metrics.failure("confirm", error.code)
            _log.warning("event_unreadable", id=event.id, type=event.type, error=str(error))

    async def _registered(self, fact: ImageRegistered) -> None:
        for file in await self._journal.registered(str(fact.file_id), fact.sha256):
            self._metrics.moved(FileState.REGISTERED)
            self._metrics.stage.labels("register").observe(self._metrics.age(file.stored_at))
            _log.info("file_registered", file=file.file_id, image=fact.subject, butler=fact.butler)

    async def _refused(self, fact: ImageRegistrationFailed) -> None:
        why = f"{fact.code}: {fact.reason}"
        if await self._journal.registration_failed(str(fact.file_id), fact.sha256, why):
            self._metrics.failure("register", fact.code)
            _log.error("file_not_registered", image=fact.subject, uri=fact.uri, why=why)

    async def _missed(self, fact: EventsMissed) -> None:
        """Announce events of ours again that a reader missed; say which are not known."""
        if fact.of_source != self._facts.source or fact.last < fact.first:
            return
        last = min(fact.last, fact.first + _MISSED_MAX - 1)
        now = self._clock.utc()

        def job(base: Connection) -> list[range]:
            absent = ledger.announce_range(base, fact.first, last)
            for numbers in absent:
                ledger.enqueue(base, self._facts.events_forgotten(numbers), now=now)
            return absent

        absent = await self._journal.write("missed", job)
        self._metrics.failure("announce", "events.missed")
        _log.warning(
            "events_announced_again",
            reader=fact.reader,
            first=fact.first,
            last=last,
            forgotten=sum(len(numbers) for numbers in absent),
        )
        self._announce()


class Reannouncer:
    """Announces again what nobody registered in time.

    Parameters
    ----------
    journal
        What is announced.
    live
        The settings.
    clock
        The time.
    wake
        Told that the outbox has something.
    """

    def __init__(
        self, journal: Journal, *, live: LiveSettings, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._live = live
        self._clock = clock
        self._wake = wake

    async def run(self) -> None:
        """Look for overdue images until cancelled; at first all from before are overdue.

        What was announced to a stream that forgot it (in memory, with the process)
        is so made good after a start.
        """
        before: float | None = self._clock.utc()
        await asyncio.sleep(self._live.settings.reannounce_grace_s)
        while True:
            after_s = self._live.settings.reannounce_after_s
            if after_s is not None:
                again = await self._journal.announce_again(after_s, before=before)
                before = None
                if again:
                    _log.info("images_announced_again", images=again)
                    self._wake()
            await asyncio.sleep(_IDLE_S if after_s is None else max(0.05, after_s / _LOOKS))
