"""A reader in a process of its own, to be killed: it prints what it gets and acknowledges nothing.

Run as `python -m tests.contract.bus.stream_reader URL TOPIC GROUP [MEMBER]`. With a
member's name its session outlasts the patience of a test.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from daemons.bus import EventStream
from daemons.bus.address import parse_address
from daemons.bus.kafka_client import KafkaCluster, KafkaTiming, TopicPlan
from daemons.bus.metrics import bus_metrics
from daemons.bus.stream import EventStreamSettings, open_event_stream
from daemons.bus.stream.kafka import KafkaEventStream
from daemons.runtime.health import HealthBoard

ROOT = Path(__file__).resolve().parents[3]


LONG_SESSION = KafkaTiming(session_timeout_s=300.0, request_timeout_s=400.0)


async def read_for_ever(url: str, topic: str, group: str, member: str | None = None) -> None:
    stream: EventStream
    if member is None:
        settings = EventStreamSettings(url=url, topic=topic)
        stream = open_event_stream(settings, client_id="doomed", health=HealthBoard())
    else:
        stream = KafkaEventStream(
            KafkaCluster(parse_address(url), "doomed", timing=LONG_SESSION),
            TopicPlan(topic, partitions=3),
            dead_letters=TopicPlan(f"{topic}.dead"),
            publish_timeout_s=10.0,
            member=member,
            health=HealthBoard(),
            metrics=bus_metrics(None),
        )
    async with stream.subscribe(group) as subscription:
        await subscription.ready()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async for delivery in subscription:
            sys.stdout.write(f"{delivery.message.data['size_bytes']}\n")
            sys.stdout.flush()


@asynccontextmanager
async def doomed_reader(url: str, topic: str, group: str, *member: str) -> AsyncIterator[Process]:
    """Start a reader; it is killed with SIGKILL in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.bus.stream_reader",
        url,
        topic,
        group,
        *member,
        stdout=PIPE,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def line(process: Process) -> str:
    """Return the next line that a reader prints; skips what it logs."""
    assert process.stdout is not None
    while True:
        text = (await process.stdout.readline()).decode().strip()
        if text == "ready" or text.isdecimal():
            return text
        assert text, "the reader has ended"


if __name__ == "__main__":
    asyncio.run(read_for_ever(*sys.argv[1:]))
