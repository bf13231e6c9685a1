"""An observatory on the control bus: its telemetry and events through a night.

The messages of one instant are sent together, those of different instants one after
the other, so that each topic stays in order whatever the transport. The simulated
clock is moved to the instant first: a bus that has this clock stamps the message with
the instant that its payload speaks of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import stamina
import structlog

from daemons.bus import BusUnavailableError, ControlBus, Topic
from daemons.runtime.clock import TaiSeconds
from daemons.simulators.camera_events import Fields
from daemons.simulators.clock import SimulatedClock
from daemons.simulators.metrics import SimulatorMetrics
from daemons.simulators.night import Exposure, Night
from daemons.simulators.pointing import Track
from daemons.simulators.script import Cue, script, window
from daemons.simulators.sky import Sky
from daemons.simulators.telemetry import Telemetry
from daemons.simulators.weather import Weather

Admission = Callable[[Exposure], Awaitable[None]]
"""Awaited before an exposure begins; the night stands still meanwhile."""

BUS_PATIENCE_S = 600.0
"""How long a bus that is away is waited for."""

_log = structlog.get_logger(__name__)


class Observatory:
    """Publishes a night.

    Parameters
    ----------
    bus
        Where; it should stamp with `clock`.
    night
        The plan.
    clock
        The time of the night; its pace is the pace of the observatory.
    rate_scale
        Multiplies the rates of the fast telemetry.
    simulation_mode
        What the components say of themselves; 0 claims real hardware.
    admission
        Awaited before each `startIntegration`. Telemetry has been sent up to that
        instant, and nothing is sent until it returns. Meant for the fast pace.
    metrics
        What is counted.
    """

    def __init__(
        self,
        bus: ControlBus,
        night: Night,
        *,
        clock: SimulatedClock,
        rate_scale: float = 1.0,
        simulation_mode: int = 1,
        admission: Admission | None = None,
        metrics: SimulatorMetrics | None = None,
    ) -> None:
        self._bus = bus
        self._night = night
        self._clock = clock
        self._simulation_mode = simulation_mode
        self._admission = admission
        self._metrics = metrics or SimulatorMetrics()
        self._sky = Sky(night.spec.start)
        self._weather = Weather(night.spec.seed)
        self._telemetry = Telemetry(Track(night), self._weather, rate_scale=rate_scale)

    async def run(self, exposures: Sequence[Exposure] | None = None) -> None:
        """Publish the night, or some exposures of it, to its end.

        Parameters
        ----------
        exposures
            Those that are still to be taken, in order; all by default. The clock skips
            what lies between exposures that are not neighbours in the plan.
        """
        self._clock.start()
        chosen = self._night.exposures if exposures is None else exposures
        for run in _runs(chosen):
            begins, ends = window(run)
            self._clock.skip_to(begins)
            _log.info("observatory_on_air", first=run[0].obs_id, exposures=len(run))
            await self._perform(run, begins, ends)
        _log.info("observatory_night_over", exposures=len(chosen))

    async def _perform(self, run: Sequence[Exposure], begins: TaiSeconds, ends: TaiSeconds) -> None:
        now = begins
        for cue in script(
            run, sky=self._sky, weather=self._weather, simulation_mode=self._simulation_mode
        ):
            await self._stream(now, cue.instant)
            now = max(now, cue.instant)
            await self._announce(cue)
        await self._stream(now, ends)

    async def _announce(self, cue: Cue) -> None:
        if cue.exposure is not None and self._admission is not None:
            await self._admission(cue.exposure)
        await self._clock.until(cue.instant)
        await self._send(cue.topic, cue.fields)
        if cue.exposure is not None:
            _log.info("exposure_begins", obs_id=cue.exposure.obs_id, type=cue.exposure.image_type)

    async def _stream(self, begins: TaiSeconds, ends: TaiSeconds) -> None:
        """Send the telemetry between two instants."""
        for batch in self._telemetry.between(begins, ends):
            await self._clock.until(batch.instant)
            async with asyncio.TaskGroup() as group:
                for topic, fields in batch.messages:
                    group.create_task(self._send(topic, fields), name=f"publish {topic}")

    async def _send(self, topic: Topic, fields: Fields) -> None:
        """Send a message; while the bus is away the night stands still."""
        try:
            await self._bus.publish(topic, fields)
        except BusUnavailableError as error:
            _log.warning("observatory_waits_for_bus", topic=str(topic), error=str(error))
            await self._send_again(topic, fields)
        self._metrics.message_sent(topic)

    @stamina.retry(on=BusUnavailableError, attempts=None, timeout=BUS_PATIENCE_S, wait_max=2.0)
    async def _send_again(self, topic: Topic, fields: Fields) -> None:
        await self._bus.publish(topic, fields)


def _runs(exposures: Sequence[Exposure]) -> Iterator[list[Exposure]]:
    """Yield the exposures in runs of neighbours."""
    run: list[Exposure] = []
    for exposure in exposures:
        if run and exposure.seq_num != run[-1].seq_num + 1:
            yield run
            run = []
        run.append(exposure)
    if run:
        yield run
