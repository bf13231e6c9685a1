"""Reads the control bus: events to the exposures and to the memory, telemetry to the memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import structlog

from daemons.bus import ControlBus, ControlMessage
from daemons.runtime.clock import TaiSeconds
from headerservice.errors import HeaderServiceError
from headerservice.gaps import GapWatch
from headerservice.metrics import Metrics
from headerservice.rules import Definitions, Role
from headerservice.series import SampleStore
from headerservice.soundness import number_of
from headerservice.supervisor import Supervisor
from headerservice.worker import Desk
from translators.findings import Finding, Severity

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""What an image may be called: it becomes a part of object keys and URLs."""

_AT_A_TIME = 50
"""Samples that are taken before others get their turn: a millisecond or two."""

_log = structlog.get_logger(__name__)


class Intake:
    """Takes messages of the control bus to where they belong.

    Parameters
    ----------
    bus
        The control bus.
    durable
        Name under which the position in the events is kept.
    desk
        What the exposures share.
    samples
        The memory of the bus.
    supervisor
        The exposures.
    """

    def __init__(
        self,
        bus: ControlBus,
        *,
        durable: str,
        desk: Desk,
        samples: SampleStore,
        supervisor: Supervisor,
    ) -> None:
        self._bus = bus
        self._durable = durable
        self._desk = desk
        self._definitions: Definitions = desk.definitions
        self._metrics: Metrics = desk.metrics
        self._samples = samples
        self._supervisor = supervisor
        self._gaps = GapWatch()
        self.draining = False

    async def read_events(self, ready: Callable[[], None]) -> None:
        """Read the events of exposures and of the observatory's state until cancelled.

        Raises
        ------
        HeaderServiceError
            Somebody closed the bus.
        """
        topics = self._definitions.event_topics
        async with self._bus.subscribe(topics, durable=self._durable) as subscription:
            await subscription.ready()
            ready()
            async for delivery in subscription:
                if self.draining:
                    continue  # not acknowledged: it comes again
                try:
                    await self._event(delivery.message, delivery.ack)
                except Exception as error:  # noqa: BLE001 - one message must not stop the others
                    self._unusable(delivery.message, error)
        raise HeaderServiceError("the control bus was closed under the header service")

    async def read_telemetry(self, since: float | None, ready: Callable[[], None]) -> None:
        """Read telemetry until cancelled.

        Parameters
        ----------
        since
            From when on, TAI seconds, where the bus keeps it.
        ready
            Called once the subscription is open.

        Raises
        ------
        HeaderServiceError
            Somebody closed the bus.
        """
        topics = self._definitions.telemetry_topics
        start = None if since is None else TaiSeconds(since)
        async with self._bus.subscribe(topics, history=False, since=start) as subscription:
            await subscription.ready()
            ready()
            count, turn = self._metrics.messages.labels("telemetry").inc, 0
            async for delivery in subscription:
                count()
                try:
                    self._remember(delivery.message)
                except Exception as error:  # noqa: BLE001 - one message must not stop the others
                    self._unusable(delivery.message, error)
                await delivery.ack()
                turn += 1
                if turn % _AT_A_TIME == 0:
                    await asyncio.sleep(0)  # what waits already is handed over without a pause
        raise HeaderServiceError("the control bus was closed under the header service")

    def _remember(self, message: ControlMessage) -> None:
        """Keep a message for sampling."""
        findings = self._samples.insert(message)
        if findings:
            self._metrics.count_findings(findings)
        if not message.historical:
            lost = self._gaps.heard(message, now=self._desk.clock.monotonic())
            if lost:
                self._metrics.lost.labels(str(message.topic)).inc(lost)
        self._supervisor.sample_came(message)

    def _unusable(self, message: ControlMessage, error: Exception) -> None:
        """Tell of a message that cannot be dealt with; an event is not acknowledged."""
        finding = Finding(
            code="message.unusable",
            severity=Severity.ERROR,
            sentence=f"{message.topic} of {message.identity!r} cannot be dealt with: {error!r}",
        )
        self._metrics.count_findings((finding,))

    async def _event(self, message: ControlMessage, ack: Callable[[], Awaitable[None]]) -> None:
        role = self._definitions.events.roles.get(message.topic)
        self._metrics.messages.labels("event").inc()
        if role is None:
            self._remember(message)
            await self._desk.journal.run(lambda journal: journal.add_message(message))
            await ack()
            return
        obs_id = self._name_of(message)
        if obs_id is None or await self._is_past(obs_id, message):
            await ack()
            return
        if role is Role.ALSO and self._supervisor.phase_of(obs_id) is None:
            await self._also(obs_id, message, ack)
            return
        await self._supervisor.deliver(obs_id, message, ack)

    async def _also(
        self, obs_id: str, message: ControlMessage, ack: Callable[[], Awaitable[None]]
    ) -> None:
        """Take an event that opens no exposure: keep it, and tell one that is published."""
        if await self._desk.journal.run(lambda journal: journal.exposure(obs_id)) is not None:
            await self._supervisor.deliver(obs_id, message, ack)
            return
        await self._desk.journal.run(lambda journal: journal.add_message(message, obs_id))
        await ack()

    def _name_of(self, message: ControlMessage) -> str | None:
        """Return the name of the image; a name that cannot be one is a finding."""
        name = message.fields.get(self._definitions.events.name_field)
        if isinstance(name, str) and _NAME.fullmatch(name):
            return name
        finding = Finding(
            code="exposure.no_name",
            severity=Severity.ERROR,
            sentence=(
                f"{message.topic} of {message.identity} names its image {name!r}, which cannot be "
                "a name: no header can be made of it; look at the camera's control software"
            ),
        )
        self._metrics.count_findings((finding,))
        return None

    async def _is_past(self, obs_id: str, message: ControlMessage) -> bool:
        """Return whether an event was kept for late joiners from an exposure that is long over."""
        if not message.historical:
            return False
        plan = self._definitions.events
        lasted = sum(
            number_of(message.fields.get(field)) or 0.0
            for field in (plan.exposure_time_field, plan.timeout_field)
        )
        age = self._desk.clock.tai() - message.sent
        if age <= lasted + self._supervisor.settings.deadline_margin_s:
            return False
        known = await self._desk.journal.run(lambda journal: journal.exposure(obs_id))
        if known is None:
            _log.debug("past_exposure", obs_id=obs_id, topic=str(message.topic), age_s=age)
        return known is None
