"""The parts of an open forwarder, wired."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from daemons.bus import EventStream
from daemons.forwarder.announce import Announcer
from daemons.forwarder.confirm import Confirmer, Reannouncer
from daemons.forwarder.delivery import Delivery
from daemons.forwarder.facts import Facts
from daemons.forwarder.housekeeping import Housekeeper
from daemons.forwarder.intake import Intake
from daemons.forwarder.journal import Journal
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.operators import Operations
from daemons.forwarder.patience import Patience
from daemons.forwarder.pipeline import Pipeline
from daemons.forwarder.quarantine import Quarantine
from daemons.forwarder.reconcile import Reconciler
from daemons.forwarder.trip import Tools
from daemons.forwarder.waiting import WaitingRoom
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectStore

_FILE_THREADS = 4
"""Threads that look at files and move them."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a forwarder is given."""

    host: str
    live: LiveSettings
    store: ObjectStore
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
    pipeline: Pipeline
    reconciler: Reconciler
    announcer: Announcer
    confirmer: Confirmer
    reannouncer: Reannouncer
    housekeeper: Housekeeper
    operations: Operations
    readers: BlockingExecutor
    files: BlockingExecutor

    async def close(self) -> None:
        """Close the journal and give back the threads."""
        await self.journal.close()
        self.readers.close()
        self.files.close()


def assemble(around: Surroundings, journal: Journal) -> Parts:
    """Build the parts on an open journal."""
    settings = around.live.settings
    root = os.fsencode(os.path.abspath(settings.drop_directory))  # noqa: PTH100 - keeps links
    files = BlockingExecutor("forwarder-files", _FILE_THREADS)
    readers = BlockingExecutor("forwarder-readers", settings.inspect_threads)
    store_patience = around.patience(store_name(around.store))
    announcer = Announcer(
        around.stream,
        journal=journal,
        patience=around.patience("event_stream"),
        live=around.live,
        metrics=around.metrics,
    )
    delivery = Delivery(
        around.store, patience=store_patience, live=around.live, metrics=around.metrics
    )
    tools = Tools(
        root=root,
        live=around.live,
        journal=journal,
        delivery=delivery,
        facts=Facts(around.host, around.clock),
        quarantine=Quarantine(settings.quarantine_directory, host=around.host),
        waiting=WaitingRoom(around.clock.monotonic),
        readers=readers,
        files=files,
        metrics=around.metrics,
        clock=around.clock,
        announce=announcer.wake,
    )
    pipeline = Pipeline(tools, concurrency=settings.concurrency, draining=around.draining)
    intake = Intake(root, tools=tools, wake=pipeline.wake)
    return Parts(
        journal=journal,
        store_patience=store_patience,
        pipeline=pipeline,
        reconciler=Reconciler(root, intake=intake, tools=tools, health=around.health),
        announcer=announcer,
        confirmer=Confirmer(
            around.stream,
            group=f"forwarder-{around.host}",
            journal=journal,
            patience=around.patience("event_stream.answers", drains=False),
            metrics=around.metrics,
        ),
        reannouncer=Reannouncer(journal, live=around.live, clock=around.clock, wake=announcer.wake),
        housekeeper=Housekeeper(journal, live=around.live, files=files),
        operations=Operations(tools, pipeline),
        readers=readers,
        files=files,
    )


def store_name(store: ObjectStore) -> str:
    """Return a store's name on the health board."""
    return f"store.{store.name}"
