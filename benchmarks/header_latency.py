"""How long after the last event of an exposure its header is announced.

    python -m benchmarks.header_latency [--exposures N] [--folder DIR]

The simulated observatory (205 sensors, all telemetry that LSSTCam headers need) plays
exposures on the buses in memory to a header service with its journal and a directory
store on disk. Telemetry before and after an exposure goes by as fast as it can; while the header
is made it comes at its real pace. Measured is the time from sending
`endOfImageTelemetry` until `largeFileObjectAvailable` on the control bus and
`header.available` on the event stream have both arrived at a reader. The aim is at most
100 ms at the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from daemons.bus import Topic
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.events import HeaderAvailable
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.runtime.health import HealthBoard
from daemons.simulators.clock import Pace, SimulatedClock
from daemons.simulators.night import Exposure, NightSpec, plan_night
from daemons.simulators.pointing import Track
from daemons.simulators.script import Cue, script, window
from daemons.simulators.sky import Sky
from daemons.simulators.telemetry import Batch, Telemetry
from daemons.simulators.weather import Weather
from daemons.storage.directory import DirectoryStore
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings

_END = "logevent_endOfImageTelemetry"
_LARGE_FILE = Topic("MTHeaderService", "logevent_largeFileObjectAvailable")
_QUIET_S = 0.05
"""Before the end of an exposure, so that nothing but the header is measured."""
_TELEMETRY_S = 0.05
"""Between two batches of telemetry while the header is made."""
_STAGES = ("journal", "resolve", "render", "store", "announce")


class Bench:
    """A header service, an observatory, and a reader of both buses."""

    def __init__(self, folder: Path, exposures: int) -> None:
        control, events = MemoryControlBroker(retention=50_000), MemoryBroker()
        start = TaiSeconds(float(SystemClock().tai()))
        self.night = plan_night(
            NightSpec(day_obs=20251121, exposures=exposures, seed=1, start=start, calibrations=0)
        )
        self.clock = SimulatedClock(start, Pace.FAST)
        self.voice = MemoryControlBus(control, identity="Observatory", clock=self.clock)
        self.reader = MemoryControlBus(control, identity="reader")
        self.listener = MemoryEventStream(events)
        self.registry = CollectorRegistry()
        self.service = HeaderService(
            HeaderServiceSettings(state_directory=folder / "state"),
            host="benchmark",
            bus=MemoryControlBus(control, identity="MTHeaderService"),
            stream=MemoryEventStream(events),
            store=DirectoryStore("facility", folder / "store"),
            health=HealthBoard(),
            registry=self.registry,
            clock=SystemClock(),
        )
        spec = self.night.spec
        self.telemetry = Telemetry(Track(self.night), Weather(spec.seed))
        self.sky = Sky(spec.start)
        self.weather = Weather(spec.seed)
        self.on_bus: set[str] = set()
        self.on_stream: set[str] = set()
        self.partial: set[str] = set()
        self.news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the service and the readers."""
        await self.service.open()
        tasks = [
            asyncio.create_task(each)
            for each in (self.service.work(), self.hear_bus(), self.hear_stream())
        ]
        await self.service.ready()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.service.close()

    async def hear_bus(self) -> None:
        """Note what is announced on the control bus."""
        async with self.reader.subscribe([_LARGE_FILE], history=False) as messages:
            async for delivery in messages:
                self.on_bus.add(delivery.message.fields["id"])
                self.news.set()

    async def hear_stream(self) -> None:
        """Note what is announced on the event stream."""
        async with self.listener.subscribe("reader") as messages:
            async for delivery in messages:
                event = delivery.message.read(HeaderAvailable)
                if event.status != "early":
                    self.on_stream.add(event.obs_id)
                if event.status == "partial":
                    self.partial.add(event.obs_id)
                await delivery.ack()
                self.news.set()

    async def play(self, exposure: Exposure) -> float:
        """Play an exposure; return how long its header took, seconds."""
        begins, ends = window([exposure])
        now, took = begins, 0.0
        for cue in script([exposure], sky=self.sky, weather=self.weather, simulation_mode=1):
            for batch in self.telemetry.between(now, cue.instant):
                await self.send(batch)
            now = max(now, cue.instant)
            if cue.topic.name == _END:
                took = await self.measure(exposure, cue, ends)
            else:
                self.clock.skip_to(cue.instant)
                await self.voice.publish(cue.topic, cue.fields)
        return took

    async def measure(self, exposure: Exposure, cue: Cue, ends: TaiSeconds) -> float:
        """End an exposure, and return how long its header took, seconds."""
        await asyncio.sleep(_QUIET_S)
        self.clock.skip_to(cue.instant)
        background = asyncio.create_task(self.go_on(self.telemetry.between(cue.instant, ends)))
        begun = time.perf_counter()
        await self.voice.publish(cue.topic, cue.fields)
        while exposure.obs_id not in self.on_bus or exposure.obs_id not in self.on_stream:
            self.news.clear()
            await self.news.wait()
        took = time.perf_counter() - begun
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        return took

    async def go_on(self, batches: Iterator[Batch]) -> None:
        """Send telemetry at its real pace."""
        for batch in batches:
            await asyncio.sleep(_TELEMETRY_S)
            await self.send(batch)

    async def send(self, batch: Batch) -> None:
        """Send the telemetry of one instant."""
        self.clock.skip_to(batch.instant)
        for topic, fields in batch.messages:
            await self.voice.publish(topic, fields)

    def mean_ms(self, stage: str) -> float:
        """Return how long a stage took in the mean, ms."""
        name = "arriero_header_stage_seconds"
        total = self.registry.get_sample_value(f"{name}_sum", {"stage": stage}) or 0.0
        count = self.registry.get_sample_value(f"{name}_count", {"stage": stage}) or 1.0
        return total / count * 1000.0


async def run(folder: Path, exposures: int) -> None:
    """Play the exposures and print the figures."""
    bench = Bench(folder, exposures)
    async with bench.running():
        took = [await bench.play(exposure) for exposure in bench.night.exposures]
    ordered = sorted(each * 1000.0 for each in took)
    centiles = statistics.quantiles(ordered, n=100, method="inclusive")
    print(f"header announced after the last event, {len(ordered)} exposures of 205 sensors:")
    print(f"  p50 {centiles[49]:6.1f} ms   p90 {centiles[89]:6.1f} ms   p99 {centiles[98]:6.1f} ms")
    print(f"  longest {ordered[-1]:.1f} ms, first {took[0] * 1000.0:.1f} ms; aim: p99 <= 100 ms")
    means = ", ".join(f"{stage} {bench.mean_ms(stage):.1f}" for stage in _STAGES)
    print(f"  means over all headers, early ones too, ms: {means}")
    print(f"  partial headers: {len(bench.partial)}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--exposures", type=int, default=100, help="how many (at least 2)")
    parser.add_argument("--folder", type=Path, default=None, help="where journal and store are")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(run(folder, max(2, options.exposures)))


if __name__ == "__main__":
    main()
