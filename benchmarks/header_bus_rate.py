"""How long a header takes at the full rate of a real Kafka bus, and what reading costs.

    python -m benchmarks.header_bus_rate [--rates 2000,5000,20000] [--exposures N] [--wcs]

For each rate three processes share this machine: Apache Kafka with a schema registry (those
of the tests, or `--kafka` and `--registry`), an observatory, and a header service. The
observatory has its telemetry encoded beforehand (Avro, the topics that LSSTCam headers need)
and sends it at the rate; it plays short exposures of 205 sensors, one after the other, and
notes for each the time from sending `endOfImageTelemetry` to reading
`largeFileObjectAvailable` from the broker. The header service measures the lag of its own
event loop, its CPU time per message, and how old the newest telemetry is that it has.

The aims are 100 ms at the 99th percentile and a lag below 20 ms. Where the reader cannot keep
up, the age of the telemetry grows: then the rate is too much for this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from daemons.bus import Topic
from daemons.bus.address import parse_address
from daemons.bus.control.factory import open_control_bus
from daemons.bus.control.private_fields import SAL_INDEX, Stamper, private_values
from daemons.bus.interface import ControlBus
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import RegisteredSchema, SchemaRegistry
from daemons.bus.sal.schema import sal_schema
from daemons.bus.sal.wire import encode, kafka_topic, subject
from daemons.bus.settings_control import ControlBusSettings
from daemons.bus.stream.memory import MemoryBroker, MemoryEventStream
from daemons.runtime.clock import SystemClock, TaiSeconds, tai_to_utc
from daemons.runtime.health import HealthBoard
from daemons.simulators import camera_events as camera
from daemons.simulators.night import Exposure, Night, NightSpec, plan_night
from daemons.simulators.pointing import Track
from daemons.simulators.script import script, window
from daemons.simulators.sky import Sky
from daemons.simulators.telemetry import Telemetry
from daemons.simulators.weather import Weather
from daemons.storage.directory import DirectoryStore
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings

_LARGE_FILE = Topic("MTHeaderService", "logevent_largeFileObjectAvailable")
_NATURAL_RATE = 74.0
"""Messages a second of the simulated observatory's telemetry."""
_TICK_S = 0.02
"""Telemetry is sent in so small portions."""
_PERIOD_S = 0.8
"""Between the starts of two exposures."""
_LEAD_S = 4.0
_TAIL_S = 2.0
_PREPARE_S_PER_MESSAGE = 120e-6
"""Allowed for encoding; on an idle machine it takes a fifth of it."""
_PATIENCE_S = 15.0
_LAG_STEP_S = 0.005
_SEED = 1
_OF_AN_IMAGE = (
    camera.START_INTEGRATION,
    camera.START_READOUT,
    camera.IMAGE_READOUT_PARAMETERS,
    camera.END_READOUT,
    camera.END_OF_IMAGE_TELEMETRY,
)
_STAGES = ("journal", "resolve", "render", "store", "announce")


@dataclass(frozen=True, slots=True)
class Bus:
    """Where the servers are."""

    kafka: str
    registry: str

    def open(self, identity: str) -> ControlBus:
        """Open the control bus."""
        settings = ControlBusSettings.model_validate(
            {"url": self.kafka, "registry_url": self.registry}
        )
        return open_control_bus(
            settings, identity=identity, clock=SystemClock(), health=HealthBoard()
        )


# The header service's process.


class LagWatch:
    """Notes how late the event loop is."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_STEP_S
            await asyncio.sleep(_LAG_STEP_S)
            self.lags_ms.append((loop.time() - due) * 1000.0)


async def serve(bus: Bus, folder: Path, *, wcs: bool) -> None:
    """Run a header service until standard input ends, and print what was measured."""
    registry, watch = CollectorRegistry(), LagWatch()
    control = bus.open("MTHeaderService")
    service = HeaderService(
        HeaderServiceSettings(state_directory=folder / "state", wcs=wcs, early=True),
        host="benchmark",
        bus=control,
        stream=MemoryEventStream(MemoryBroker()),
        store=DirectoryStore("facility", folder / "store"),
        health=HealthBoard(),
        registry=registry,
        clock=SystemClock(),
    )
    await service.open()
    work = asyncio.create_task(service.work())
    await service.ready()
    _tell({"ready": True})
    lines = await _standard_input()
    await lines.readline()  # "begin"
    lag = asyncio.create_task(watch.run())
    before, cpu, begun = _telemetry(registry), time.process_time(), time.monotonic()
    ages: list[float] = []
    end = asyncio.create_task(lines.readline())
    while not end.done():
        await asyncio.wait({end}, timeout=0.25)
        age = service.status()["topic_age_s"]["MTMount.elevation"]
        ages.append(float("nan") if age is None else age)
    messages = _telemetry(registry) - before
    spent, lasted = time.process_time() - cpu, time.monotonic() - begun
    lag.cancel()
    _tell(
        {
            "messages": messages,
            "seconds": lasted,
            "cpu_s": spent,
            "lags_ms": watch.lags_ms,
            "age_s": max(ages[1:-1], default=float("nan")),
            "stages_ms": {stage: _mean_ms(registry, stage) for stage in _STAGES},
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
    work.cancel()
    await asyncio.gather(work, lag, return_exceptions=True)
    await service.close()
    await control.close()


def _telemetry(registry: CollectorRegistry) -> float:
    name = "arriero_header_messages_total"
    return registry.get_sample_value(name, {"kind": "telemetry"}) or 0.0


def _mean_ms(registry: CollectorRegistry, stage: str) -> float:
    name = "arriero_header_stage_seconds"
    total = registry.get_sample_value(f"{name}_sum", {"stage": stage}) or 0.0
    count = registry.get_sample_value(f"{name}_count", {"stage": stage}) or 1.0
    return total / count * 1000.0


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


def _tell(told: Mapping[str, Any]) -> None:
    print(json.dumps(told), flush=True)


# The observatory's process.


class Flood:
    """All telemetry of a run, encoded and cut into portions beforehand."""

    def __init__(self, bus: Bus, telemetry: Telemetry, begins: float, ends: float) -> None:
        self._bus = bus
        self._telemetry = telemetry
        self._begins, self._ends = TaiSeconds(begins), TaiSeconds(ends)
        self._producer: AIOKafkaProducer | None = None
        self._stamper = Stamper("Observatory", SystemClock())
        self._portions: list[tuple[float, dict[str, Any]]] = []
        self.messages = 0

    async def prepare(self) -> None:
        """Encode everything."""
        endpoints = [str(each) for each in parse_address(self._bus.kafka).endpoints]
        self._producer = AIOKafkaProducer(bootstrap_servers=endpoints, max_batch_size=2**20, acks=1)
        await self._producer.start()
        dictionary = load_dictionary()
        registry = SchemaRegistry(self._bus.registry)
        writers: dict[Topic, tuple[str, RegisteredSchema]] = {}
        portions: dict[int, dict[str, Any]] = defaultdict(dict)
        for batch in self._telemetry.between(self._begins, self._ends):
            for topic, fields in batch.messages:
                if topic not in writers:
                    name, spec = kafka_topic("sal", topic), dictionary.get(topic)
                    schema = await registry.for_writing(subject(name), sal_schema(spec))
                    writers[topic] = name, schema
                name, writer = writers[topic]
                value = self._value(topic, fields, batch.instant, writer)
                portion = portions[int((batch.instant - self._begins) / _TICK_S)]
                if name not in portion:
                    portion[name] = self._producer.create_batch()
                sent_ms = int(tai_to_utc(batch.instant) * 1000)
                portion[name].append(key=b"", value=value, timestamp=sent_ms)
                self.messages += 1
        self._portions = [
            (self._begins + (tick + 1) * _TICK_S, portions[tick]) for tick in sorted(portions)
        ]
        await registry.close()

    def _value(
        self, topic: Topic, fields: Mapping[str, Any], sent: TaiSeconds, writer: RegisteredSchema
    ) -> bytes:
        message = replace(self._stamper.stamp(topic, fields), sent=sent)
        record = {**fields, **private_values(message, revision=writer.schema.revision)}
        if writer.schema.has(SAL_INDEX):
            record[SAL_INDEX] = topic.index
        return encode(writer.schema_id, writer.schema, record)

    async def run(self) -> float:
        """Send everything at its time; return by how much the sender was late at most, s."""
        clock, late = SystemClock(), 0.0
        producer = self._producer
        assert producer is not None  # noqa: S101 - `prepare` comes first
        for due, portion in self._portions:
            await asyncio.sleep(max(0.0, due - clock.tai()))
            late = max(late, clock.tai() - due)
            for name, batch in portion.items():
                batch.close()
                await producer.send_batch(batch, name, partition=0)
        await producer.flush()
        await producer.stop()
        return late


def images(base: Exposure, first: float, number: int) -> Iterator[Exposure]:
    """Yield short exposures, one after the other, not in step with the telemetry."""
    chance = random.Random(1)  # noqa: S311 - a benchmark is to be the same each time
    for place in range(number):
        start = first + place * _PERIOD_S + chance.uniform(0.0, _TICK_S)
        seq_num = base.seq_num + place
        yield replace(
            base,
            seq_num=seq_num,
            obs_id=f"{base.obs_id.rpartition('_')[0]}_{seq_num:06d}",
            exposure_time_s=0.2,
            shutter_open_s=0.2,
            dark_time_s=0.2,
            start_integration=TaiSeconds(start),
            start_readout=TaiSeconds(start + 0.2),
            end_readout=TaiSeconds(start + 0.25),
            end_of_image_telemetry=TaiSeconds(start + 0.4),
        )


class Player:
    """Plays exposures, and waits for their headers."""

    def __init__(self, bus: ControlBus) -> None:
        self._bus = bus
        self._announced: dict[str, float] = {}
        self._news = asyncio.Event()

    async def listen(self, ready: asyncio.Event) -> None:
        """Note when headers are announced."""
        async with self._bus.subscribe([_LARGE_FILE], history=False) as subscription:
            await subscription.ready()
            ready.set()
            async for delivery in subscription:
                self._announced.setdefault(delivery.message.fields["id"], time.monotonic())
                self._news.set()

    async def play(self, exposure: Exposure) -> float | None:
        """Play an exposure; return how long its header took, s; None: it never came."""
        for instant, topic, fields in (
            (
                exposure.start_integration,
                camera.START_INTEGRATION,
                camera.start_integration(exposure),
            ),
            (exposure.start_readout, camera.START_READOUT, camera.start_readout(exposure)),
        ):
            await _until(instant)
            await self._bus.publish(topic, fields)
        await _until(exposure.end_of_image_telemetry)
        fields = camera.end_of_image_telemetry(exposure)
        begun = time.monotonic()
        await self._bus.publish(camera.END_OF_IMAGE_TELEMETRY, fields)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while exposure.obs_id not in self._announced:
                    self._news.clear()
                    await self._news.wait()
        announced = self._announced.get(exposure.obs_id)
        return None if announced is None else announced - begun


async def _until(instant: float) -> None:
    await asyncio.sleep(max(0.0, instant - SystemClock().tai()))


async def observe(bus: Bus, *, rate: float, number: int) -> None:
    """Be the observatory; print how long each header took."""
    lasts = _LEAD_S + number * _PERIOD_S + _TAIL_S
    voice = bus.open("MTCamera")
    await _set_the_scene(voice, _night(float(SystemClock().tai())), Weather(_SEED))
    _tell({"scene": True})
    await (await _standard_input()).readline()  # "go": the header service is there
    begins = float(SystemClock().tai()) + 2.0 + rate * lasts * _PREPARE_S_PER_MESSAGE
    night = _night(begins)
    (base,) = night.exposures
    telemetry = Telemetry(Track(night), Weather(_SEED), rate_scale=rate / _NATURAL_RATE)
    flood = Flood(bus, telemetry, begins, begins + lasts)
    await flood.prepare()
    slack = begins - float(SystemClock().tai())
    if slack < 0:
        raise SystemExit(f"preparing took {-slack:.1f} s too long: ask for fewer messages")
    player, ready = Player(voice), asyncio.Event()
    listening = asyncio.create_task(player.listen(ready))
    await ready.wait()
    _tell({"prepared": flood.messages, "begins": begins})
    flooding = asyncio.create_task(flood.run())
    plays = [
        asyncio.create_task(player.play(each)) for each in images(base, begins + _LEAD_S, number)
    ]
    took = await asyncio.gather(*plays)
    late = await flooding
    _tell({"took_ms": [None if each is None else each * 1000.0 for each in took], "late_s": late})
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await voice.close()


def _night(start: float) -> Night:
    """Return a night of one exposure, whose aim is tracked to its end."""
    return plan_night(
        NightSpec(
            day_obs=20251121, exposures=1, seed=_SEED, start=TaiSeconds(start), calibrations=0
        )
    )


async def _set_the_scene(voice: ControlBus, night: Night, weather: Weather) -> None:
    """Say once what is said once: target, filter, focal plane, dome, and each kind of telemetry."""
    sky = Sky(night.spec.start)
    for cue in script(night.exposures, sky=sky, weather=weather, simulation_mode=1):
        if cue.topic not in _OF_AN_IMAGE:
            await voice.publish(cue.topic, cue.fields)
    said: set[Topic] = set()
    begins, ends = window(night.exposures)
    for batch in Telemetry(Track(night), weather).between(begins, ends):
        for topic, fields in batch.messages:
            if topic not in said:
                said.add(topic)
                await voice.publish(topic, fields)


# The process that starts the others.


def measure(bus: Bus, folder: Path, *, rate: float, number: int, wcs: bool) -> None:
    """Measure one rate, and print the figures."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    common = [sys.executable, "-m", "benchmarks.header_bus_rate", "--kafka", bus.kafka]
    common += ["--registry", bus.registry, "--folder", str(folder), "--exposures", str(number)]
    common += ["--rates", str(rate), *(["--wcs"] if wcs else [])]

    def start(role: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*common, "--role", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    observatory = start("observatory")
    service: subprocess.Popen[str] | None = None
    try:
        _heard(observatory)  # the scene is set
        service = start("service")
        _heard(service)
        _say(observatory, "go")
        prepared = _heard(observatory)
        # The service is told to measure once the telemetry flows.
        time.sleep(max(0.0, prepared["begins"] + 1.0 - float(SystemClock().tai())))
        _say(service, "begin")
        played = _heard(observatory)
        _say(service, "end")
        served = _heard(service)
    finally:
        for process in (observatory, service):
            if process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
                process.kill()
    _report(rate, played, served)


def _heard(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a process of the benchmark ended early; its words stand above")
    found: dict[str, Any] = json.loads(line)
    return found


def _say(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(word + "\n")
    process.stdin.flush()


def _report(rate: float, played: Mapping[str, Any], served: Mapping[str, Any]) -> None:
    took = sorted(each for each in played["took_ms"] if each is not None)
    never = len(played["took_ms"]) - len(took)
    print(f"{rate:.0f} telemetry messages/s asked for, {len(played['took_ms'])} exposures:")
    if len(took) > 1:
        centiles = statistics.quantiles(took, n=100, method="inclusive")
        print(
            f"  last event to announcement: p50 {centiles[49]:.1f} ms, p99 {centiles[98]:.1f} ms, "
            f"longest {took[-1]:.1f} ms; {never} never announced; aim: p99 <= 100 ms"
        )
        each = ", ".join("-" if one is None else f"{one:.0f}" for one in played["took_ms"])
        print(f"  each exposure, in order, ms: {each}")
    read, cpu = served["messages"], served["cpu_s"]
    print(
        f"  read {read / served['seconds']:.0f} messages/s, CPU {cpu / served['seconds']:.2f} of a "
        f"core, {cpu / max(read, 1) * 1e6:.1f} us a message with headers and all"
    )
    lags = statistics.quantiles(served["lags_ms"], n=1000, method="inclusive")
    print(
        f"  lag of the event loop: p50 {lags[499]:.1f} ms, p99 {lags[989]:.1f} ms, longest "
        f"{max(served['lags_ms']):.1f} ms; aim: below 20 ms"
    )
    print(
        f"  oldest newest telemetry: {served['age_s']:.2f} s; sender late by at most "
        f"{played['late_s'] * 1000:.0f} ms; memory {served['memory_mb']:.0f} MB"
    )
    means = ", ".join(f"{name} {value:.1f}" for name, value in served["stages_ms"].items())
    print(f"  means, early headers too, ms: {means}")


@contextlib.contextmanager
def servers(options: argparse.Namespace, folder: Path) -> Iterator[Bus]:
    """Use the servers that were named, or start those of the tests."""
    if options.kafka:
        yield Bus(options.kafka, options.registry)
        return
    from tests.support.servers.together import start_all  # noqa: PLC0415 - only in a checkout

    with start_all(folder / "servers", ["kafka", "registry"]) as running:
        yield Bus(running.kafka.url, running.registry.registry_url)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rates", default="1000,5000,10000,20000", help="messages per second")
    parser.add_argument("--exposures", type=int, default=40, help="how many at each rate")
    parser.add_argument("--kafka", default="", help="a broker, such as kafka://host:9092")
    parser.add_argument("--registry", default="", help="its schema registry")
    parser.add_argument("--folder", type=Path, default=None, help="where journal and store are")
    parser.add_argument("--wcs", action="store_true", help="with coordinates for every sensor")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rates = [float(each) for each in options.rates.split(",")]
    bus = Bus(options.kafka, options.registry)
    if options.role == "service":
        asyncio.run(serve(bus, options.folder, wcs=options.wcs))
    elif options.role == "observatory":
        asyncio.run(observe(bus, rate=rates[0], number=options.exposures))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            for rate in rates:
                # A new broker each time: the exposures of all runs have the same names.
                run = folder / f"{rate:.0f}"
                with servers(options, run) as found:
                    measure(found, run, rate=rate, number=options.exposures, wcs=options.wcs)


if __name__ == "__main__":
    main()
