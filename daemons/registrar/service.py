"""The registrar: `image.stored` in, Butler datasets and `image.registered` out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from daemons.bus import Delivery, EventStream
from daemons.events import (
    Event,
    EventData,
    ImageRegistered,
    ImageRegistrationFailed,
    ImageStored,
    InvalidEventError,
    new_event,
)
from daemons.events.catalogue import ImageFact
from daemons.registrar.batch import Batch, Batcher
from daemons.registrar.errors import ButlerUnavailableError, RegistrarError, RegistrationRaceError
from daemons.registrar.journal import Reason, RegistrarJournal
from daemons.registrar.opening import open_repository
from daemons.registrar.register import RAW, Outcome, refuse_batch, register_batch
from daemons.registrar.sequences import SequenceWatch
from daemons.registrar.settings import RegistrarSettings
from daemons.registrar.sidecars import with_observation
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from daemons.runtime.health import HealthBoard
from daemons.runtime.retry import Backoff, retry_forever
from daemons.storage import ObjectStore

if TYPE_CHECKING:
    from daemons.registrar.repository import Repository

_BUTLER = "butler"
"""Name of the repository on the health board."""

_ANNOUNCING = "event_stream.publish"
"""Name of the event stream on the health board."""

_PENDING_MAX = 2000
"""Images that may wait in memory; beyond it the event stream waits."""

_LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 60, 120, 300, 600)

ResultT = TypeVar("ResultT")

_log = structlog.get_logger(__name__)


class Registrar:
    """Registers stored images in a Butler repository.

    Parameters
    ----------
    settings
        The registrar's section.
    host
        Name of this host, for the source of its events.
    stores
        Destinations by name, to read a sidecar where an event lacks the
        translated header.
    stream
        The event stream.
    health
        Where the repository's state is reported.
    registry
        Where the metrics are kept.
    clock
        The time.
    """

    name = "registrar"

    def __init__(
        self,
        settings: RegistrarSettings,
        *,
        host: str,
        stores: Mapping[str, ObjectStore],
        stream: EventStream,
        health: HealthBoard,
        registry: CollectorRegistry,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._source = f"/arriero/registrar/{host}"
        self._stores = stores
        self._stream = stream
        self._health = health
        self._clock = clock
        self._batcher: Batcher[Delivery[Event]] = Batcher(
            linger_s=settings.linger_s,
            max_wait_s=settings.max_wait_s,
            batch_max=settings.batch_max,
        )
        self._arrived = asyncio.Event()
        self._room = asyncio.Semaphore(_PENDING_MAX)
        self._draining = False
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._repository: Repository | None = None
        self._journal: RegistrarJournal | None = None
        self._executor: BlockingExecutor | None = None
        self._counts: Tally[str] = Tally()
        self._last_refusal: str | None = None
        self._images = Counter(
            "arriero_registrar_images",
            "Images that the registrar decided about.",
            ["outcome"],
            registry=registry,
        )
        self._latency = Histogram(
            "arriero_registrar_latency_seconds",
            "From stored to registered.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._sequences: SequenceWatch | None = None
        if settings.watch_gaps:
            self._sequences = SequenceWatch(
                stream,
                group=f"{settings.group}-gaps",
                source=self._source,
                memory=self,
                patience_s=settings.gap_patience_s,
                clock=clock,
                registry=registry,
            )
        health.expect(_BUTLER)

    # Life cycle, as daemons.runtime.service says.

    async def open(self) -> None:
        """Open the journal."""
        self._executor = BlockingExecutor("registrar", workers=1)
        self._journal = await self._in_thread(lambda: RegistrarJournal(self._settings.journal))

    async def close(self) -> None:
        """Close the repository and the journal."""
        if self._executor is None:
            return
        for closing in (self._repository, self._journal):
            if closing is not None:
                await self._in_thread(closing.close)
        self._repository = self._journal = None
        self._executor.close()
        self._executor = None

    async def work(self) -> None:
        """Consume and register until cancelled."""
        self._forget_in_hand()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consume(), name="registrar-consume")
            group.create_task(self._register_due(), name="registrar-register")
            if self._sequences is not None:
                group.create_task(self._sequences.run(), name="registrar-gaps")

    async def drain(self) -> None:
        """Register what has been received; take no more."""
        self._draining = True
        self._arrived.set()
        await self._idle.wait()

    def status(self) -> Mapping[str, Any]:
        """Return the counts since the start and what waits."""
        return {
            "repository": self._settings.repository,
            "registered": self._counts["registered"],
            "already_known": self._counts["already_known"],
            "refused": self._counts["refused"],
            "held": self._counts["held"],
            "in_hand": self._in_hand,
            "last_refusal": self._last_refusal,
            "events_missing": [] if self._sequences is None else self._sequences.status(),
        }

    def reload(self, settings: Any) -> tuple[str, ...]:
        """Take over the batching times."""
        new: RegistrarSettings = settings
        self._batcher.linger_s = new.linger_s
        self._batcher.max_wait_s = new.max_wait_s
        self._batcher.batch_max = new.batch_max
        changed = {"linger_s", "max_wait_s", "batch_max"}
        return tuple(
            name
            for name in RegistrarSettings.model_fields
            if name not in changed and getattr(new, name) != getattr(self._settings, name)
        )

    # What the watch of sequence numbers knows, over a restart.

    async def load(self) -> dict[str, Any]:
        """Return what is known of the senders' numbers."""
        return await self._in_thread(lambda: self._open_journal().sequences())

    async def save(self, state: dict[str, Any]) -> None:
        """Keep it."""
        await self._in_thread(lambda: self._open_journal().keep_sequences(state))

    def _forget_in_hand(self) -> None:
        """Begin anew: what was not acknowledged is delivered again."""
        self._draining = False
        self._batcher.take_all()
        self._room = asyncio.Semaphore(_PENDING_MAX)
        self._in_hand = 0
        self._idle.set()

    # What waits for a person.

    async def waiting(self) -> list[dict[str, Any]]:
        """Return the images that were refused or are held, with the reason of each."""
        found = await self._in_thread(
            lambda: [each for reason in Reason for each in self._open_journal().waiting(reason)]
        )
        return [
            {
                "file": each.image.file_name,
                "file_id": str(each.image.file_id),
                "obs_id": each.image.obs_id,
                "reason": each.reason,
                "code": each.code,
                "sentence": each.sentence,
                "since": each.since.isoformat(),
                "attempts": each.attempts,
            }
            for each in found
        ]

    async def retry(self) -> int:
        """Try the refused and held images again; return how many there were."""
        found = await self._in_thread(
            lambda: [each for reason in Reason for each in self._open_journal().waiting(reason)]
        )
        for each in sorted(found, key=lambda waiting: waiting.image.dataset_type != RAW):
            await self._announce(await self._decided([each.image]))
        return len(found)

    # The two tasks.

    async def _consume(self) -> None:
        types = [ImageStored.event_type]
        async with self._stream.subscribe(self._settings.group, types=types) as subscription:
            async for delivery in subscription:
                if self._draining:
                    continue  # not acknowledged: it comes again
                try:
                    image = delivery.message.read(ImageStored)
                except InvalidEventError as error:
                    _log.warning("event_ignored", event_id=delivery.message.id, reason=str(error))
                    await delivery.ack()
                    continue
                await self._room.acquire()
                self._in_hand += 1
                self._idle.clear()
                self._batcher.add(image, delivery, self._clock.monotonic())
                self._arrived.set()

    async def _register_due(self) -> None:
        await self._open_when_possible()
        while True:
            await self._wait_until_due()
            now = self._clock.monotonic()
            batches = self._batcher.take_all() if self._draining else self._batcher.take_due(now)
            for batch in batches:
                await self._handle(batch)

    async def _wait_until_due(self) -> None:
        self._arrived.clear()
        due = self._batcher.next_due()
        if due is not None and self._draining:
            return
        delay = None if due is None else max(0.0, due - self._clock.monotonic())
        try:
            async with asyncio.timeout(delay):
                await self._arrived.wait()
        except TimeoutError:
            return

    async def _handle(self, batch: Batch[Delivery[Event]]) -> None:
        """Register, announce, then acknowledge: in this order nothing is lost."""
        images = [await with_observation(image, self._stores) for image, _delivery in batch.items]
        for images_once in _rounds(images):
            await self._announce(await self._decided(images_once))
        for _image, delivery in batch.items:
            await delivery.ack()
            self._room.release()
            self._in_hand -= 1
        if not self._in_hand:
            self._idle.set()

    async def _decided(self, images: list[ImageStored]) -> Outcome:
        """Return the outcome, however long the database is away."""
        return await self._until_there(lambda: self._attempt(images))

    async def _attempt(self, images: list[ImageStored]) -> Outcome:
        if self._repository is None:
            self._repository = await self._in_thread(self._opened)
        repository, journal = self._repository, self._open_journal()
        for _attempt in range(self._settings.attempts):
            with contextlib.suppress(RegistrationRaceError):
                return await self._in_thread(lambda: register_batch(repository, journal, images))
        return await self._in_thread(lambda: refuse_batch(journal, images))

    async def _open_when_possible(self) -> None:
        if self._repository is None:
            self._repository = await self._until_there(lambda: self._in_thread(self._opened))

    async def _until_there(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await retry_forever(
            attempt,
            dependency=_BUTLER,
            health=self._health,
            backoff=Backoff(cap_s=10.0),
            retry_on=lambda error: isinstance(error, ButlerUnavailableError),
        )

    def _opened(self) -> Repository:
        repository = open_repository(self._settings)
        for instrument in self._settings.instruments:
            repository.register_instrument(instrument)
        return repository

    # Telling.

    async def _announce(self, outcome: Outcome) -> None:
        now = datetime.now(tz=UTC)
        for each in outcome.registered:
            image = each.image
            label = "already_known" if each.already_known else "registered"
            self._count(label)
            if not each.already_known:
                self._latency.observe(max(0.0, (now - image.stored_at).total_seconds()))
            await self._publish(
                ImageRegistered(
                    **_fact(image),
                    uri=image.uri,
                    sha256=image.sha256,
                    butler=self._settings.repository,
                    registered_at=now,
                    already_known=each.already_known,
                ),
                key=f"{image.file_id}:{image.sha256}",
            )
        for refusal in outcome.refused:
            image = refusal.image
            self._count("refused")
            self._last_refusal = refusal.sentence
            _log.error(
                "image_refused", file=image.file_name, code=refusal.code, reason=refusal.sentence
            )
            await self._publish(
                ImageRegistrationFailed(
                    **_fact(image),
                    uri=image.uri,
                    sha256=image.sha256,
                    code=refusal.code,
                    reason=refusal.sentence,
                ),
                key=f"{image.file_id}:{image.sha256}:{refusal.code}",
            )
        for image in outcome.held:
            self._count("held")
            _log.info("guider_held", file=image.file_name, waits_for=image.obs_id)

    async def _publish(self, fact: EventData, *, key: str) -> None:
        event = new_event(fact, source=self._source, key=key)
        await retry_forever(
            lambda: self._stream.publish(event),
            dependency=_ANNOUNCING,
            health=self._health,
            backoff=Backoff(cap_s=10.0),
        )

    def _count(self, outcome: str) -> None:
        self._counts[outcome] += 1
        self._images.labels(outcome).inc()

    # The one thread that Butler and journal belong to.

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        if self._executor is None:
            raise RegistrarError("the registrar is not open")
        return await self._executor.run(work)

    def _open_journal(self) -> RegistrarJournal:
        if self._journal is None:
            raise RegistrarError("the registrar is not open")
        return self._journal


def _fact(image: ImageStored) -> dict[str, Any]:
    """Return the fields that every fact about an image shares."""
    return {name: getattr(image, name) for name in _SHARED}


_SHARED = tuple(ImageFact.model_fields)


def _rounds(images: Iterable[ImageStored]) -> list[list[ImageStored]]:
    """Split images so that each detector stands once in a round.

    The same fact delivered twice stays once; two different facts about one
    detector go one after the other, and the second is recognised as a conflict.
    """
    rounds: list[dict[Any, ImageStored]] = []
    seen: set[tuple[Any, str]] = set()
    for image in images:
        if (image.file_id, image.uri) in seen:
            continue
        seen.add((image.file_id, image.uri))
        for each in rounds:
            if image.file_id not in each:
                each[image.file_id] = image
                break
        else:
            rounds.append({image.file_id: image})
    return [list(each.values()) for each in rounds]
