"""One exposure on its way to its header: its events, its waiting times, its headers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from daemons.bus import ControlMessage, Topic
from daemons.runtime.clock import Clock
from daemons.runtime.executors import BlockingExecutor
from headerservice import exposure as life
from headerservice.assemble import Site
from headerservice.board import Board
from headerservice.exposure import Action, Exposure, Phase, Status, Timing
from headerservice.journal_records import StoredHeader
from headerservice.journal_thread import JournalThread
from headerservice.making import Draft, make
from headerservice.metrics import Metrics
from headerservice.publish import Publisher
from headerservice.quality import Resolved
from headerservice.resolve import Resolution, Resolver
from headerservice.rules import Definitions, Role
from headerservice.steady import SteadyClock
from translators.findings import Finding, Severity

_INBOX = 256
"""Events of one exposure that may wait."""
_LISTENING = (Phase.ENDED, Phase.PUBLISHED)
"""When a sample that comes late can change something."""
_AFTER_S = 5.0
"""A sample sent so long after the last instant cannot change a value any more."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the work on every exposure shares."""

    definitions: Definitions
    resolver: Resolver
    journal: JournalThread
    renderer: BlockingExecutor
    board: Board
    publisher: Publisher
    metrics: Metrics
    clock: Clock
    steady: SteadyClock
    site: Site
    progress: asyncio.Event
    """Set whenever an exposure got on."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of an exposure that is to be dealt with."""

    message: ControlMessage
    ack: Callable[[], Awaitable[None]]
    arrived: float
    """Seconds on the monotonic clock."""


class ExposureWorker:
    """Takes one exposure from its first event to its last header.

    Parameters
    ----------
    exposure
        The exposure as far as it is known.
    sampled
        Its values as far as they were sampled.
    desk
        What the work on every exposure shares.
    timing
        The waiting times.
    early
        Whether to make an early header.
    """

    def __init__(
        self,
        exposure: Exposure,
        sampled: Mapping[str, Resolved],
        *,
        desk: Desk,
        timing: Timing,
        early: bool,
    ) -> None:
        self.exposure = exposure if early else life.early_published(exposure)
        self.timing = timing
        self.waits_for: frozenset[Topic] = frozenset()
        self._sampled = dict(sampled)
        self._desk = desk
        self._inbox: asyncio.Queue[Heard | None] = asyncio.Queue(_INBOX)
        self._nudged = False
        self._findings: list[Finding] = []
        self._resolution: Resolution | None = None
        self._ended_monotonic: float | None = None
        self._in_hand: Heard | None = None
        self._unrecorded: ControlMessage | None = None

    @property
    def obs_id(self) -> str:
        """The exposure's name."""
        return self.exposure.obs_id

    @property
    def definitions(self) -> Definitions:
        """The keyword definitions that the exposure began with."""
        return self._desk.definitions

    @property
    def began(self) -> float | None:
        """The earliest that is known of the exposure, by the time of the bus, TAI seconds."""
        times = [float(message.sent) for message in self.exposure.messages.values()]
        if self._resolution is not None:
            times += self._resolution.instants.values()
        return min(times, default=None)

    @property
    def finishing(self) -> bool:
        """True while the final header is due, or an event is not dealt with."""
        in_hand = self._in_hand is not None or not self._inbox.empty()
        return in_hand or self.exposure.phase is Phase.ENDED

    async def take(self, heard: Heard) -> None:
        """Hand over an event."""
        await self._inbox.put(heard)

    def left(self) -> list[Heard]:
        """Return the events that were handed over and not dealt with."""
        items = [] if self._in_hand is None else [self._in_hand]
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if item is not None:
                items.append(item)
        return items

    def sample_came(self, sent: float) -> None:
        """Look again, for a sample came on a topic that this exposure waits for."""
        resolution = self._resolution
        if self._nudged or resolution is None or self.exposure.phase not in _LISTENING:
            return
        if sent <= max(resolution.instants.values(), default=sent) + _AFTER_S:
            self._nudged = True
            with contextlib.suppress(asyncio.QueueFull):
                self._inbox.put_nowait(None)

    async def run(self) -> None:
        """Work until nothing more can come of the exposure."""
        while True:
            for action in life.due(self.exposure, timing=self.timing, now=self._now()):
                if action is Action.RETIRE:
                    if self._inbox.empty():
                        return
                    continue
                await self._do(action)
                if action is Action.SAMPLE:
                    self.exposure = life.sampled(self.exposure, now=self._now())
                    await self._record()
            self._desk.progress.set()
            heard = await self._next()
            if heard is not None:
                await self._hear(heard)

    async def _next(self) -> Heard | None:
        """Return the next event; None when it is time to look, or a sample came."""
        wait_s = life.next_wake(self.exposure, timing=self.timing) - self._now()
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                item = await self._inbox.get()
        except TimeoutError:
            return None
        if item is None:
            self._nudged = False
            self._look_for_better()
        return item

    async def _hear(self, heard: Heard) -> None:
        """Take an event: act, record it together with what came of it, acknowledge it.

        Nothing leaves this process before it is recorded.
        """
        plan = self._desk.definitions.events
        change = life.heard(
            self.exposure, heard.message, plan=plan, timing=self.timing, now=self._now()
        )
        self._note(change.findings)
        if change.exposure is not self.exposure:
            self._in_hand = heard
            self._unrecorded = heard.message
            if plan.roles.get(heard.message.topic) is Role.END:
                self._ended_monotonic = heard.arrived
            self.exposure = change.exposure
            for action in change.actions:
                await self._do(action)
            if self._unrecorded is not None:
                await self._record()
        await heard.ack()
        self._in_hand = None
        self._look_for_better()

    async def _do(self, action: Action) -> None:
        if action is Action.SAMPLE:
            self._sample()
        elif action is Action.EARLY:
            await self._publish_early()
        elif action is Action.FINISH:
            await self._finish()
        elif action is Action.REVISE:
            await self._publish(self._resolve())

    def _now(self) -> float:
        return self._desk.steady.now()

    def _note(self, findings: tuple[Finding, ...]) -> None:
        self._desk.metrics.count_findings(findings, obs_id=self.obs_id)
        self._findings.extend(each for each in findings if each.severity is not Severity.INFO)

    def _resolve(self) -> Resolution:
        begun = time.monotonic()
        resolution = self._desk.resolver.resolve(self.exposure.messages, self._sampled)
        self._desk.metrics.stage.labels("resolve").observe(time.monotonic() - begun)
        self._resolution = resolution
        self.waits_for = resolution.waits_for
        return resolution

    def _sample(self) -> None:
        self._sampled = self._desk.resolver.sampled(self._resolve())

    async def _record(self, header: StoredHeader | None = None) -> int:
        """Record what is known, in one transaction; return the number of the header."""
        exposure, sampled, message = self.exposure, self._sampled, self._unrecorded
        begun = time.monotonic()
        number = await self._desk.journal.run(
            lambda journal: journal.save_exposure(
                exposure, message=message, sampled=sampled, header=header
            )
        )
        self._desk.metrics.stage.labels("journal").observe(time.monotonic() - begun)
        self._unrecorded = None
        return number

    def _look_for_better(self) -> None:
        """Note whether there is something for a revision of the published header."""
        if self.exposure.phase is not Phase.PUBLISHED:
            return
        before = self._resolution
        now = self._resolve()
        if before is None or now.better_than(before):
            self.exposure = life.improved(self.exposure, now=self._now())
        else:
            self._resolution = before

    async def _publish_early(self) -> None:
        resolution = self._resolution or self._resolve()
        self.exposure = life.early_published(self.exposure)
        await self._make(resolution, Status.EARLY, revision=self.exposure.revision + 1)

    async def _finish(self) -> None:
        resolution = self._resolve()
        now = self._now()
        if not life.may_publish(
            self.exposure, settled=resolution.settled, timing=self.timing, now=now
        ):
            return
        if self.exposure.ended_at is None:
            self._note((self._given_up(),))
        await self._publish(resolution)

    def _given_up(self) -> Finding:
        return Finding(
            code="exposure.deadline",
            severity=Severity.WARNING,
            sentence=(
                f"no end of {self.obs_id} came within exposure time, timeout and "
                f"{self.timing.deadline_margin_s:g} s: its header is partial until it comes"
            ),
        )

    async def _publish(self, resolution: Resolution) -> None:
        ended = self.exposure.has(self._desk.definitions.events, Role.END)
        complete = ended and not resolution.missing
        status = Status.COMPLETE if complete else Status.PARTIAL
        revision = self.exposure.revision + 1
        self.exposure = life.published(
            self.exposure, status=status, improvable=bool(resolution.waits_for), now=self._now()
        )
        self._note(resolution.findings)
        # What the header says is kept, so that it can be made again from the journal.
        self._sampled = self._desk.resolver.sampled(resolution)
        await self._make(resolution, status, revision=revision)

    async def _make(self, resolution: Resolution, status: Status, *, revision: int) -> None:
        """Make a header, record it, show it, publish it."""
        desk = self._desk
        draft = Draft(
            exposure=self.exposure,
            resolution=resolution,
            definitions=desk.definitions,
            site=desk.site,
            revision=revision,
            status=status,
            now=desk.clock.utc(),
            findings=tuple(self._findings),
        )
        begun = time.monotonic()
        made = await desk.renderer.run(make, draft)
        desk.metrics.stage.labels("render").observe(time.monotonic() - begun)
        stored = replace(made.stored, id=await self._record(made.stored))
        desk.metrics.count_header(resolution, status.value)
        if status is not Status.EARLY:
            desk.metrics.count_findings(made.header.findings, obs_id=self.obs_id)
        desk.board.post(stored, made.header.hdus)
        since = None
        if status is not Status.EARLY:
            since, self._ended_monotonic = self._ended_monotonic, None
        desk.publisher.submit(stored, since=since)
        _log.info(
            "header_made",
            obs_id=self.obs_id,
            revision=revision,
            status=status.value,
            size_bytes=stored.size_bytes,
            missing=list(resolution.missing),
        )
