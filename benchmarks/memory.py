"""What a forwarder needs over a night: memory, and time to look through old files.

    python -m benchmarks.memory [--quick] [--exposures N] [--old-files N]

A simulated night goes through a real forwarder process as fast as it takes it: exposures of 21
small files are renamed into the drop directory, sent to a store that discards them, announced to
a real broker, and removed by the camera. Its resident memory is read after each twentieth of the
night (aim: flat, and at most 250 MB). Then another forwarder starts on a drop directory with very
many old files that its journal has already (by default 100,000; a camera host has as many after
some weeks): printed are the time of the first look through them and of the next ones, and the
memory after them. The old files are empty: only their directory entries matter, because the
journal knows them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

from benchmarks.kit.camera import SMALL_SHAPE, Camera
from benchmarks.kit.figures import table
from benchmarks.kit.host import Host, forwarder_status, running
from benchmarks.kit.machine import end_in_order, folders, not_measurable, say_machine
from benchmarks.kit.oldfiles import known_files, make_old_files
from benchmarks.kit.store import Sink, write_keys
from tests.support.servers.errors import ServerError
from tests.support.servers.mosquitto import Mosquitto

_STEPS = 20
_AHEAD = 10
"""Exposures that may wait in the drop directory at the same time."""
_SCAN_PERIOD_S = 5.0


def night(host: Host, camera: Camera, *, exposures: int) -> None:
    """Send a night, and print the memory over it."""
    rows = []
    sent: list[Path] = []
    count = 0
    begun = time.monotonic()
    with running(host):
        host_at_start = host.resident_mb()
        for number in range(1, exposures + 1):
            share = camera.take()
            share.announce(host.drop)
            sent.append(share.drop(host.drop))
            count += len(share.paths)
            if number % _AHEAD == 0 or number == exposures:
                host.until(functools.partial(_done, count))
                while sent:
                    shutil.rmtree(sent.pop())
            if number % max(1, exposures // _STEPS) == 0 or number == exposures:
                rows.append([str(count), f"{host.resident_mb():.1f}", f"{host.cpu_s():.0f}"])
        took = time.monotonic() - begun
        peak = host.peak_mb()
    print(f"\na night of {exposures} exposures, {count} files, in {took:.0f} s; at start ", end="")
    print(f"{host_at_start:.1f} MB, most {peak:.1f} MB (aim: flat, at most 250 MB)")
    print(table(["files sent", "resident MB", "CPU s"], rows))


def old_tree(host: Host, *, old_files: int) -> None:
    """Start on a drop directory of old files, and print how long looking through them takes."""
    with running(host):
        pass  # makes journal and folders
    begun = time.monotonic()
    make_old_files(host.drop, old_files)
    known_files(host.folder / "state" / "journal.sqlite3", host.drop)
    print(f"\n{old_files} old files made in {time.monotonic() - begun:.0f} s", flush=True)
    rows: list[list[str]] = []
    begun = time.monotonic()
    with running(host):
        started_s = time.monotonic() - begun
        seen: set[str] = set()
        while len(rows) < 3:  # noqa: PLR2004 - the first look and two more
            host.until(lambda status: _scan(status).get("at") not in {None, *seen})
            scan = _scan(host.status())
            seen.add(scan["at"])
            rows.append(
                [
                    "first" if not rows else "next",
                    str(scan["files"]),
                    f"{scan['seconds']:.2f}",
                    f"{host.resident_mb():.1f}",
                    f"{host.cpu_s():.1f}",
                ]
            )
    print(f"ready {started_s:.1f} s after the start; a look each {_SCAN_PERIOD_S:g} s")
    print(table(["look", "files", "seconds", "resident MB", "CPU s so far"], rows))


def _done(count: int, status: dict[str, Any]) -> bool:
    images = forwarder_status(status).get("images", {})
    done = sum(images.get(state, {}).get("files", 0) for state in ("announced", "registered"))
    return bool(done >= count)


def _scan(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = forwarder_status(status).get("last_scan") or {}
    return found


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="an hour, and 5,000 old files")
    parser.add_argument("--exposures", type=int, help="of the night, 21 files each")
    parser.add_argument("--old-files", type=int, help="such as 100000 or 1000000")
    options = parser.parse_args()
    exposures = options.exposures or (40 if options.quick else 1000)
    old_files = options.old_files or (5000 if options.quick else 100_000)
    end_in_order()
    say_machine()
    try:
        with folders() as (folder, images), contextlib.ExitStack() as stack:
            broker = Mosquitto(folder / "broker").start()
            stack.callback(broker.stop)
            sink = Sink()
            stack.callback(sink.stop)
            store = {"url": "s3://images", "endpoint_url": sink.endpoint_url, **write_keys(folder)}
            host = Host(folder / "night", images / "drop", store=store, stream=broker.mqtt_url)
            night(host, Camera(images / "staging", shape=SMALL_SHAPE), exposures=exposures)
            other = Host(
                folder / "old",
                folder / "tree",
                store=store,
                stream=broker.mqtt_url,
                forwarder={"scan_period_s": _SCAN_PERIOD_S},
            )
            old_tree(other, old_files=old_files)
    except (ServerError, sqlite3.Error) as error:
        not_measurable(error)


if __name__ == "__main__":
    main()
