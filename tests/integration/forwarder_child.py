"""A forwarder in a process of its own that kills itself at a given point.

The points are the journal's commits (before and after each), the store's puts and
the publications. Nothing of this is known to the forwarder: a subclass brings an
observer of commits, and store and stream are wrapped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import Event, encode
from daemons.forwarder.database import CommitObserver
from daemons.forwarder.service import Forwarder
from tests.unit.forwarder.harness import TOPIC, Bench, register, until


@dataclass(frozen=True)
class Goal:
    """What the drop directory holds."""

    registered: int
    quarantined: int = 0


class Executioner:
    """Kills this very process at the n-th time that a point is passed."""

    def __init__(self, point: str | None, nth: int) -> None:
        self._point = point
        self._left = nth

    def passing(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def before_commit(self, labels: Sequence[str]) -> None:
        for label in labels:
            self.passing(f"before commit {label}")

    def after_commit(self, labels: Sequence[str]) -> None:
        for label in labels:
            self.passing(f"after commit {label}")


class LoggedStream(MemoryEventStream):
    """The stream in memory; what was published outlives the process in a file."""

    log: Path
    executioner: Executioner

    async def publish(self, event: Event) -> None:
        self.executioner.passing(f"before publish {event.type}")
        with self.log.open("ab") as out:
            out.write(encode(event) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        self.executioner.passing(f"after publish {event.type}")
        await super().publish(event)


def make(bench: Bench, executioner: Executioner) -> None:
    """Give a bench the forwarder that can be killed."""

    class Watched(Forwarder):
        def _observer(self) -> CommitObserver:
            return executioner

    bench.broker = MemoryBroker()
    stream = LoggedStream(bench.broker, topic=TOPIC)
    stream.log = bench.folder / "published.jsonl"
    stream.executioner = executioner
    bench.stream = stream
    bench.store.before_put = lambda key: executioner.passing(f"before put {key[-5:]}")
    bench.store.after_put = lambda key: executioner.passing(f"after put {key[-5:]}")
    bench.registry = CollectorRegistry()
    bench.forwarder = bench.make(Watched)


async def _forward(folder: Path, executioner: Executioner, goal: Goal) -> None:
    bench = Bench(
        folder,
        quiet_time_s=0.0,
        unseen_quiet_time_s=0.05,
        incomplete_patience_s=0.2,
        attachment_patience_s=60.0,
    )
    make(bench, executioner)
    registrar = asyncio.create_task(register(bench.stream))
    async with bench.running():
        await bench.reach("registered", goal.registered)
        await bench.reach("quarantined", goal.quarantined)
        await until(lambda: _done(bench), "all done", bench)
    registrar.cancel()
    with suppress(asyncio.CancelledError):
        await registrar


def _done(bench: Bench) -> bool:
    status = bench.forwarder.status()
    return not status["outbox"]["depth"] and status.get("attachments", {}).keys() <= {"stored"}


def main(folder: str, point: str | None, nth: int, goal: Goal) -> None:
    """Forward until the goal is reached, or die on the way."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        asyncio.run(_forward(Path(folder), Executioner(point, nth), goal))
    except Exception:
        logging.getLogger(__name__).exception("the forwarder failed")
        sys.exit(3)
