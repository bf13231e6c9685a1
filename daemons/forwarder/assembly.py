"""The parts of an open forwarder, wired."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from daemons.bus import EventStream
from daemons.bus.stream.raw import RawTopic
from daemons.events import Event
from daemons.forwarder.announce import Announcer
from daemons.forwarder.confirm import Confirmer, Reannouncer
from daemons.forwarder.controls import Controls, Mode
from daemons.forwarder.copier import Copier
from daemons.forwarder.deadlines import DeadlineKeeper
from daemons.forwarder.delivery import Delivery
from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.facts import Facts
from daemons.forwarder.housekeeping import Housekeeper
from daemons.forwarder.intake import Intake
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.notify import Notifier
from daemons.forwarder.operators import Operations
from daemons.forwarder.patience import Patience
from daemons.forwarder.pipeline import Pipeline
from daemons.forwarder.quarantine import Quarantine
from daemons.forwarder.reconcile import Reconciler
from daemons.forwarder.steering import Steering
from daemons.forwarder.trip import Tools
from daemons.forwarder.uploads import JournalUploads
from daemons.forwarder.waiting import WaitingRoom
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectStore
from daemons.storage.factory import limit, network, remember_uploads

NOTIFICATIONS = "notifications"
"""Name of the topic of S3 notifications on the health board."""
_FILE_THREADS = 4
"""Threads that look at files and move them."""


@dataclass(frozen=True, slots=True)
class Further:
    """Where images go, and are told of, besides."""

    copies: tuple[ObjectStore, ...] = ()
    """Further stores."""
    notifications: RawTopic | None = None
    """A topic of S3 notifications."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a forwarder is given."""

    host: str
    live: LiveSettings
    store: ObjectStore
    further: Further
    stream: EventStream
    health: HealthBoard
    metrics: ForwarderMetrics
    clock: Clock
    draining: asyncio.Event

    def patience(self, name: str, *, drains: bool = True) -> Patience:
        """Return how a dependency is waited for."""
        return Patience(
            name,
            self.health,
            draining=self.draining if drains else None,
            monotonic=self.clock.monotonic,
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a forwarder between `open` and `close`."""

    journal: Journal
    store_patience: Patience
    copiers: tuple[Copier, ...]
    notifier: Notifier | None
    controls: Controls
    deadlines: DeadlineKeeper
    pipeline: Pipeline
    reconciler: Reconciler
    announcer: Announcer
    confirmer: Confirmer
    reannouncer: Reannouncer
    housekeeper: Housekeeper
    operations: Operations
    steering: Steering
    readers: BlockingExecutor
    files: BlockingExecutor

    async def close(self) -> None:
        """Close the journal and give back the threads."""
        await self.journal.close()
        self.readers.close()
        self.files.close()


def assemble(around: Surroundings, journal: Journal) -> Parts:
    """Build the parts on an open journal."""
    announcer, notifier = _announcer(around, journal), _notifier(around, journal)

    def announce() -> None:
        announcer.wake()
        if notifier is not None:
            notifier.wake()

    tools = _tools(around, journal, announce)
    controls = _controls(around, journal)
    pipeline = Pipeline(tools, controls=controls, draining=around.draining)
    controls.on_change(pipeline.wake)
    for copier in tools.copiers:
        copier.on_end(pipeline.stir)
    intake = Intake(tools.root, tools=tools, wake=pipeline.wake)
    intake.closed_while(lambda: controls.mode is Mode.DRAINING)
    reconciler = Reconciler(tools.root, intake=intake, tools=tools, health=around.health)
    return Parts(
        journal=journal,
        store_patience=tools.delivery.patience,
        copiers=tools.copiers,
        notifier=notifier,
        controls=controls,
        deadlines=tools.deadlines,
        pipeline=pipeline,
        reconciler=reconciler,
        announcer=announcer,
        confirmer=Confirmer(
            around.stream,
            group=f"forwarder-{around.host}",
            journal=journal,
            facts=tools.facts,
            announce=announce,
            patience=around.patience("event_stream.answers", drains=False),
            metrics=around.metrics,
            clock=around.clock,
        ),
        reannouncer=Reannouncer(journal, live=around.live, clock=around.clock, wake=announcer.wake),
        housekeeper=Housekeeper(journal, live=around.live, files=tools.files, clock=around.clock),
        operations=Operations(tools, pipeline),
        steering=Steering(
            tools, controls=controls, pipeline=pipeline, reconciler=reconciler, announcer=announcer
        ),
        readers=tools.readers,
        files=tools.files,
    )


def _tools(around: Surroundings, journal: Journal, announce: Callable[[], None]) -> Tools:
    settings = around.live.settings
    facts = Facts(around.host, around.clock)
    files = BlockingExecutor("forwarder-files", _FILE_THREADS)
    readers = BlockingExecutor("forwarder-readers", settings.inspect_threads)
    copiers = tuple(
        Copier(
            _delivery(around, store),
            journal=journal,
            facts=facts,
            live=around.live,
            metrics=around.metrics,
            clock=around.clock,
            readers=readers,
            files=files,
            announce=announce,
            draining=around.draining,
        )
        for store in around.further.copies
    )
    return Tools(
        root=os.fsencode(os.path.abspath(settings.drop_directory)),  # noqa: PTH100 - keeps links
        live=around.live,
        journal=journal,
        delivery=_delivery(around, around.store),
        facts=facts,
        quarantine=Quarantine(settings.quarantine_directory, host=around.host),
        waiting=WaitingRoom(around.clock.monotonic),
        readers=readers,
        files=files,
        metrics=around.metrics,
        clock=around.clock,
        copiers=copiers,
        deadlines=DeadlineKeeper(
            journal,
            facts=facts,
            live=around.live,
            metrics=around.metrics,
            clock=around.clock,
            announce=announce,
        ),
        complete=lambda share: _completed(share, facts, around.metrics),
        announce=announce,
    )


def _delivery(around: Surroundings, store: ObjectStore) -> Delivery:
    return Delivery(
        store,
        patience=around.patience(store_name(store)),
        live=around.live,
        metrics=around.metrics,
    )


def _controls(around: Surroundings, journal: Journal) -> Controls:
    """Return what operators set, applied to the stores."""
    for store in (around.store, *around.further.copies):
        remember_uploads(store, JournalUploads(journal))
    report = network(around.store)
    controls = Controls(
        journal,
        live=around.live,
        clock=around.clock,
        own_ceiling=None if report is None else report.bandwidth_bytes_per_s,
    )

    def set_ceiling() -> None:
        limit(around.store, controls.bandwidth_bytes_per_s)

    controls.on_change(set_ceiling)
    return controls


def _announcer(around: Surroundings, journal: Journal) -> Announcer:
    return Announcer(
        around.stream,
        journal=journal,
        patience=around.patience("event_stream"),
        live=around.live,
        metrics=around.metrics,
    )


def _notifier(around: Surroundings, journal: Journal) -> Notifier | None:
    settings, topic = around.live.settings.notifications, around.further.notifications
    if topic is None or settings is None:
        return None
    return Notifier(
        topic,
        settings=settings,
        journal=journal,
        patience=around.patience(NOTIFICATIONS),
        metrics=around.metrics,
    )


def _completed(share: ExposureShare, facts: Facts, metrics: ForwarderMetrics) -> Event:
    """Measure an exposure that is complete, and return its event; or that it is held back."""
    if share.held:
        return facts.exposure_held(share)
    metrics.exposures.observe(share.seconds or 0.0)
    return facts.exposure_complete(share)


def store_name(store: ObjectStore) -> str:
    """Return a store's name on the health board."""
    return f"store.{store.name}"
