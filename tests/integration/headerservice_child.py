"""A header service in a process of its own, which kills itself where it is told.

`python headerservice_child.py SETTINGS`, SETTINGS being a JSON object: folder, control_bus,
event_stream, and die: one of the `Deadly` points, or null.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from daemons.bus import ControlBus, EventStream
from daemons.bus.control.factory import open_control_bus
from daemons.bus.settings_control import ControlBusSettings
from daemons.bus.settings_stream import EventStreamSettings
from daemons.bus.stream.factory import open_event_stream
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectInfo
from daemons.storage.directory import DirectoryStore
from headerservice.journal import Journal
from headerservice.service import HeaderService
from headerservice.settings import HeaderServiceSettings


def die() -> None:
    """End as a power cut ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


class DeadlyStore(DirectoryStore):
    """Kills the process around the storing of a header."""

    def __init__(self, root: Path, point: str | None) -> None:
        super().__init__("facility", root)
        self._point = point

    async def put(self, key: str, body: bytes | Path, **options: Any) -> ObjectInfo:
        deadly = key.endswith(".yaml")
        if deadly and self._point == "before_store":
            die()
        info = await super().put(key, body, **options)
        if deadly and self._point == "after_store":
            die()
        return info


def arm(bus: ControlBus, stream: EventStream, point: str | None) -> None:
    """Let announcements and records of the journal kill the process."""
    announce, publish, save = bus.publish, stream.publish, Journal.save_exposure

    async def deadly_announce(*arguments: Any, **options: Any) -> Any:
        sent = await announce(*arguments, **options)
        if point == "after_control_bus":
            die()
        return sent

    async def deadly_publish(event: Any) -> None:
        await publish(event)
        if point == f"after_{event.data['status']}_event":
            die()

    def deadly_save(journal: Journal, exposure: Any, **options: Any) -> int:
        number = save(journal, exposure, **options)
        message = options.get("message")
        if message is not None and point == f"after_{message.topic.name.removeprefix('logevent_')}":
            die()
        if options.get("header") is not None and point == "after_header_recorded":
            die()
        return number

    bus.publish = deadly_announce  # type: ignore[method-assign]
    stream.publish = deadly_publish  # type: ignore[method-assign]
    Journal.save_exposure = deadly_save  # type: ignore[method-assign]


async def main(told: Mapping[str, Any]) -> None:
    folder, point = Path(told["folder"]), told["die"]
    clock, health, registry = SystemClock(), HealthBoard(), CollectorRegistry()
    bus = open_control_bus(
        ControlBusSettings(**told["control_bus"]),
        identity="MTHeaderService",
        clock=clock,
        health=health,
        registry=registry,
    )
    stream = open_event_stream(
        EventStreamSettings(**told["event_stream"]),
        client_id="headerservice-test",
        health=health,
        registry=registry,
    )
    arm(bus, stream, point)
    service = HeaderService(
        HeaderServiceSettings(
            state_directory=folder / "state", grace_s=3.0, settle_s=0.5, retry_cap_s=0.5
        ),
        host="summit-1",
        bus=bus,
        stream=stream,
        store=DeadlyStore(folder / "store", point),
        health=health,
        registry=registry,
        clock=clock,
    )
    await service.open()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    work = asyncio.create_task(service.work())
    await service.ready()
    sys.stdout.write(f"ready {service.base_url}\n")
    sys.stdout.flush()
    stop = asyncio.create_task(stopped.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        await work
    await service.drain()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await service.close()
    await stream.close()
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
