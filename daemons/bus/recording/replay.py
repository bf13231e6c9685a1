"""Sends a recording again: at its own pace, faster, or as fast as it goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import structlog

from daemons.bus.interface import BusError, BusUnavailableError, ForwardingBus, Topic
from daemons.bus.recording.file import Recorded, read_recording
from daemons.bus.recording.shift import shifted
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor

_BATCH = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """How a recording is sent."""

    speed: float | None = 1.0
    """How many times its own pace; None: as fast as the bus takes it."""
    times: int = 1
    """How often."""
    shift_s: float = 0.0
    """By how much all times are moved."""
    to_now: bool = False
    """Move all times so that the first message is sent now, each time anew."""
    in_order: bool = True
    """Send one message after the other; else only those of one topic are."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was sent."""

    sent: int
    refused: Mapping[str, str]
    """Topics that the bus refuses, with the reason; their messages were left out."""
    left_out: int
    """Messages of those topics."""


async def replay(path: Path, bus: ForwardingBus, plan: ReplayPlan, *, clock: Clock) -> ReplayReport:
    """Send a recording, private fields and all.

    Parameters
    ----------
    path
        Its first file.
    bus
        Where to.
    plan
        How.
    clock
        Says what "now" is, and keeps the pace.

    Raises
    ------
    RecordingError
        No recording, or a damaged one; what stands before the damage was sent.
    BusUnavailableError
        The broker is away.
    """
    sender = _Sender(bus, plan, clock)
    executor = BlockingExecutor("bus-replay", workers=1)
    try:
        for _ in range(plan.times):
            sender.begin()
            messages = read_recording(path)
            while batch := await executor.run(_next, messages):
                await sender.send(batch)
    finally:
        executor.close()
    return ReplayReport(sender.sent, dict(sender.refused), sender.left_out.total())


def _next(messages: Iterator[Recorded]) -> list[Recorded]:
    return [recorded for recorded, _ in zip(messages, range(_BATCH), strict=False)]


class _Sender:
    """Keeps the pace of one replay."""

    def __init__(self, bus: ForwardingBus, plan: ReplayPlan, clock: Clock) -> None:
        self._bus = bus
        self._plan = plan
        self._clock = clock
        self._origin: tuple[float, float] | None = None
        self._shift_s = plan.shift_s
        self.sent = 0
        self.refused: dict[str, str] = {}
        self.left_out: Counter[Topic] = Counter()

    def begin(self) -> None:
        """Begin again with the first message."""
        self._origin = None

    async def send(self, batch: Sequence[Recorded]) -> None:
        """Send messages when they are due."""
        if self._origin is None:
            first = batch[0].received
            self._origin = (first, self._clock.monotonic())
            if self._plan.to_now:
                self._shift_s = self._plan.shift_s + float(self._clock.tai()) - first
        if self._plan.speed is None:
            await self._forward(batch)
            return
        for _, due in groupby(batch, key=lambda recorded: recorded.received):
            together = list(due)
            await self._wait_for(together[0].received)
            await self._forward(together)

    async def _wait_for(self, received: float) -> None:
        if self._origin is None or self._plan.speed is None:
            return
        began, at = self._origin
        due = at + (received - began) / self._plan.speed
        await asyncio.sleep(max(0.0, due - self._clock.monotonic()))

    async def _forward(self, batch: Sequence[Recorded]) -> None:
        if self._plan.in_order:
            await self._one_by_one(batch)
            return
        by_topic: dict[Topic, list[Recorded]] = {}
        for recorded in batch:
            by_topic.setdefault(recorded.message.topic, []).append(recorded)
        async with asyncio.TaskGroup() as group:
            for topic, part in by_topic.items():
                group.create_task(self._one_by_one(part), name=f"bus-replay:{topic}")

    async def _one_by_one(self, batch: Sequence[Recorded]) -> None:
        for recorded in batch:
            message = shifted(recorded.message, self._shift_s)
            try:
                await self._bus.forward(message)
            except BusUnavailableError:
                raise
            except BusError as error:
                self._refuse(message.topic, error)
            else:
                self.sent += 1

    def _refuse(self, topic: Topic, error: BusError) -> None:
        if str(topic) not in self.refused:
            _log.warning("replay_topic_refused", topic=str(topic), reason=str(error))
            self.refused[str(topic)] = str(error)
        self.left_out[topic] += 1
