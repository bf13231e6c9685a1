"""The forwarder: drop directory → object store → event, through a journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from daemons.bus import EventStream
from daemons.forwarder.assembly import Further, Parts, Surroundings, assemble, store_name
from daemons.forwarder.database import CommitObserver
from daemons.forwarder.errors import DrainingError, ForwarderError, JournalError
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import CommitTimer, ForwarderMetrics
from daemons.forwarder.notify import begin_at_end
from daemons.forwarder.operators import Operations
from daemons.forwarder.reconcile import DROP_DIRECTORY
from daemons.forwarder.records import Summary
from daemons.forwarder.settings import ForwarderSettings
from daemons.forwarder.steering import Steering
from daemons.forwarder.views import iso, network_view, tallies_view
from daemons.runtime.clock import Clock
from daemons.runtime.health import HealthBoard
from daemons.runtime.lock import InstanceLock
from daemons.runtime.service import JsonObject
from daemons.storage import AccessRefusedError, ObjectStore, StoreUnavailableError
from daemons.storage.factory import keep_swept, keep_warm
from translators.ready import prepare

JOURNAL_NAME = "journal.sqlite3"
"""Name of the journal in the state directory."""
_LOCK_NAME = "forwarder.lock"
_JOURNAL = "journal"
"""Name of the journal on the health board."""
_SHOWN_IN_HAND = 20


class Forwarder:
    """Brings files from a drop directory into an object store and announces them.

    Parameters
    ----------
    settings
        The forwarder's section.
    host
        Name of this host: in the source of its events and in its consumer group.
    store
        Where the images go.
    further
        Where they go, and are told of, besides.
    stream
        Where they are announced.
    health
        Where the state of drop directory, journal, store and stream is reported.
    registry
        Where the metrics are kept.
    clock
        The time.
    """

    name = "forwarder"

    def __init__(
        self,
        settings: ForwarderSettings,
        *,
        host: str,
        store: ObjectStore,
        further: Further | None = None,
        stream: EventStream,
        health: HealthBoard,
        registry: CollectorRegistry,
        clock: Clock,
    ) -> None:
        self._live = LiveSettings(settings)
        self._health = health
        self._metrics = ForwarderMetrics(registry, clock=clock, summary=self._summary)
        self._around = Surroundings(
            host=host,
            live=self._live,
            store=store,
            further=further or Further(),
            stream=stream,
            health=health,
            metrics=self._metrics,
            clock=clock,
            draining=asyncio.Event(),
        )
        self._lock: InstanceLock | None = None
        self._parts: Parts | None = None

    @property
    def operations(self) -> Operations:
        """What operators can do; between `open` and `close`."""
        return self._open_parts.operations

    @property
    def steering(self) -> Steering:
        """How operators pause it and set its limits; between `open` and `close`."""
        return self._open_parts.steering

    async def open(self) -> None:
        """Take the lock, make the folders, check and open the journal.

        Raises
        ------
        AlreadyRunningError
            Another forwarder has the journal; the message names its pid.
        JournalDamagedError, JournalVersionError
            A person must look at the journal; the message says how.
        """
        settings = self._live.settings
        for dependency in (DROP_DIRECTORY, _JOURNAL, store_name(self._around.store)):
            self._health.expect(dependency)
        for folder in (settings.state_directory, settings.quarantine_directory):
            await asyncio.to_thread(_make_folder, folder)
        path = settings.state_directory / JOURNAL_NAME
        lock = InstanceLock(settings.state_directory / _LOCK_NAME, purpose=f"the journal {path}")
        lock.acquire()
        self._lock = lock
        journal = Journal(
            path,
            clock=self._around.clock,
            patience=self._around.patience(_JOURNAL, drains=False),
            observer=self._observer(),
        )
        await journal.open()
        parts = assemble(self._around, journal)
        await parts.controls.load()
        parts.controls.changed()
        if parts.notifier is not None:
            await journal.write("notifications", begin_at_end)
        self._parts = parts

    async def work(self) -> None:
        """Forward until cancelled.

        Raises
        ------
        JournalDamagedError
            The journal was found damaged; a person must look.
        """
        parts = self._open_parts
        self._around.draining.clear()
        jobs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "pipeline": parts.pipeline.run,
            "intake": parts.reconciler.intake.run,
            "reconciler": parts.reconciler.run,
            "deadlines": parts.deadlines.run,
            "announcer": parts.announcer.run,
            "confirmer": parts.confirmer.run,
            "reannouncer": parts.reannouncer.run,
            "housekeeper": parts.housekeeper.run,
            **({} if parts.notifier is None else {"notifier": parts.notifier.run}),
            **{f"copier-{copier.store}": copier.run for copier in parts.copiers},
        }
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, job in jobs.items():
                    tasks.create_task(job(), name=f"forwarder-{name}")
                tasks.create_task(parts.journal.verify(), name="forwarder-journal-check")
                tasks.create_task(
                    parts.readers.run(prepare, self._live.settings.checks),
                    name="forwarder-prepare",
                )
                tasks.create_task(self._reach_store(parts), name="forwarder-store-check")
                for store in (self._around.store, *self._around.further.copies):
                    tasks.create_task(keep_warm(store), name=f"forwarder-warm-{store.name}")
                    tasks.create_task(keep_swept(store), name=f"forwarder-sweep-{store.name}")
        except BaseExceptionGroup as group:
            raise _worst(group) from group

    async def drain(self) -> None:
        """Begin no more files, finish those in hand, and empty the outbox."""
        parts = self._open_parts
        self._around.draining.set()
        parts.pipeline.wake()
        await parts.pipeline.idle()
        for copier in parts.copiers:
            await copier.idle()
        parts.announcer.wake()
        await parts.announcer.flushed()
        if parts.notifier is not None:
            parts.notifier.wake()
            await parts.notifier.flushed()

    async def close(self) -> None:
        """Close the journal and give back lock and threads. Idempotent."""
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def status(self) -> JsonObject:
        """Return counts, ages, what is in hand, and what went wrong lately."""
        summary = self._summary()
        status: dict[str, Any] = {
            **tallies_view(summary),
            "oldest_unsent_seconds": self._metrics.age(summary.oldest_waiting),
            "outbox": {
                "depth": summary.outbox_depth,
                "oldest_seconds": self._metrics.age(summary.oldest_event),
            },
        }
        if self._parts is not None:
            status |= self._live_status(self._parts)
        return status

    def reload(self, settings: Any) -> tuple[str, ...]:
        """Take over what can change; return the names of what needs a restart."""
        if not isinstance(settings, ForwarderSettings):
            raise ForwarderError(f"these are no settings of the forwarder: {type(settings)}")
        needs_restart = self._live.take_over(settings)
        if self._parts is not None:
            self._parts.controls.changed()
        return needs_restart

    def _observer(self) -> CommitObserver:
        """Return what is told of the journal's commits."""
        return CommitTimer(self._metrics.commits)

    @property
    def _open_parts(self) -> Parts:
        if self._parts is None:
            raise ForwarderError("the forwarder is not open: start it (it is in STANDBY)")
        return self._parts

    def _summary(self) -> Summary:
        return Summary() if self._parts is None else self._parts.journal.summary

    def _live_status(self, parts: Parts) -> dict[str, Any]:
        scanned = parts.reconciler.last_scan
        alone = parts.reconciler.intake.left_alone
        in_hand = parts.pipeline.in_hand
        return {
            "in_hand": {
                "files": len(in_hand),
                "names": [entry.path.decode("utf-8", "replace") for entry in in_hand][
                    :_SHOWN_IN_HAND
                ],
            },
            "controls": parts.steering.view(),
            "stores": {
                store.name: network_view(store)
                for store in (self._around.store, *self._around.further.copies)
            },
            "copies": {copier.store: {"waiting": copier.waiting} for copier in parts.copiers},
            "settling": parts.reconciler.intake.settling,
            "left_alone": {
                "unknown": alone.unknown,
                "refused": [finding.sentence for finding in alone.refused.values()],
            },
            "last_scan": None
            if scanned is None
            else {"at": iso(scanned.at), "seconds": scanned.seconds, "files": scanned.files},
            "last_errors": parts.pipeline.last_errors.as_json(),
            "journal": str(parts.journal.path),
        }

    async def _reach_store(self, parts: Parts) -> None:
        """Say on the health board whether the store is there, before the first image comes."""
        store, patience = self._around.store, parts.store_patience
        while True:
            try:
                async with asyncio.timeout(self._live.settings.attempt_timeout_s):
                    await store.check()
            except (StoreUnavailableError, AccessRefusedError, TimeoutError) as error:
                try:
                    await patience.failed(error)
                except DrainingError:
                    return
            else:
                patience.succeeded("reached")
                return


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _worst(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception that a person must know of: the journal's first, else any."""
    leaves: list[BaseException] = []
    groups = [group]
    while groups:
        for error in groups.pop().exceptions:
            if isinstance(error, BaseExceptionGroup):
                groups.append(error)
            else:
                leaves.append(error)
    return next((error for error in leaves if isinstance(error, JournalError)), leaves[0])
