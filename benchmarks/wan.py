"""How soon one camera host's share of an exposure is at the facility, over a long fat pipe.

    python -m benchmarks.wan [--quick] [--loss 0 0.001] [--cadence 12 34] [--exposures N]
                             [--store NAME=VALUE ...] [--senders NAME ...] [--far sink|seaweedfs]

21 files of 19.5 MB appear in the drop directory of a real forwarder process, everything switched on
(inspection with digests, journal on disk, sidecars, checks, events through a real broker); the path
is emulated, 200 ms and 4 Gb/s, between two network namespaces of this machine. In the same run the
same files are sent by other uploaders and by raw sockets. Columns: `stored`, when the last file's
object was complete at the far side; `known`, when the sender knew (for arriero: when the last
`image.stored` was heard); seconds from the first file's appearance, p50 / p95 / max, and the first
exposure after a start apart. Senders that keep nothing between exposures (they are started anew
for each) are not made to wait for the cadence. Needs root, `/dev/net/tun` and a C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit.camera import HOST_SHARE, Camera
from benchmarks.kit.far import FarSeaweed
from benchmarks.kit.figures import Spread, table
from benchmarks.kit.floor import Options
from benchmarks.kit.machine import end_in_order, folders, not_measurable, say_machine
from benchmarks.kit.network import FAR, Emulator, NoNetworkError, Path4, emulator, round_trip_ms
from benchmarks.kit.senders import (
    Arriero,
    Other,
    Outcome,
    Rig,
    Sender,
    Wire,
    add_options,
    others,
    read_settings,
    say,
    wanted,
)
from benchmarks.kit.store import Sink
from tests.support.servers.errors import ServerError
from tests.support.servers.mosquitto import Mosquitto

_BREATH_S = 2.0
"""Between exposures of senders that keep nothing."""


@dataclass
class Plan:
    """What is emulated, and who is measured how often."""

    wan: Emulator
    path: Path4
    camera: Camera
    rig: Rig


def measure(plan: Plan, sender: Sender, *, cadence_s: float, exposures: int) -> list[str]:
    """Let a sender send exposures, and return its row."""
    sender.open()
    outcomes = []
    try:
        for number in range(exposures):
            share = plan.camera.take()
            begun = time.monotonic()
            outcomes.append(sender.send(share, number))
            say(sender, number, outcomes[-1])
            wait = (cadence_s if sender.keeps_cadence else _BREATH_S) - (time.monotonic() - begun)
            if number + 1 < exposures and wait > 0:
                time.sleep(wait)
    finally:
        sender.close()
    return _row(sender, outcomes, plan.rig.options.exposure_gb)


def _row(sender: Sender, outcomes: Sequence[Outcome], exposure_gb: float) -> list[str]:
    first, later = outcomes[0], outcomes[1:]
    sent = sum(each.files for each in outcomes)
    gb = len(outcomes) * exposure_gb
    return [
        sender.name,
        f"{first.stored_s:.2f}",
        f"{first.known_s:.2f}",
        Spread.of([each.stored_s for each in later]).text(),
        Spread.of([each.known_s for each in later]).text(),
        f"{sent} of {HOST_SHARE * len(outcomes)}",
        f"{sum(each.cpu_s for each in outcomes) / gb:.2f}",
    ]


def run(plan: Plan, *, cadence_s: float) -> None:
    """Measure everybody on one path at one cadence, and print the table."""
    options = plan.rig.options
    senders: list[Sender] = [Arriero(plan.rig)]
    if plan.rig.sink is not None:
        tuned = Options("bbr", 4 << 20)
        senders.append(Wire(plan.rig, connections=HOST_SHARE, options=tuned, warm=True))
    peers, absent = others(plan.rig)
    rows = []
    for sender in wanted([*senders, *peers], options.senders):
        lossy = plan.path.loss > 0 and isinstance(sender, Other)
        exposures = min(options.exposures, options.lossy) if lossy else options.exposures
        rows.append(measure(plan, sender, cadence_s=cadence_s, exposures=exposures))
    titles = ["sender", "first: stored", "known", "stored p50 / p95 / max"]
    print(table([*titles, "known p50 / p95 / max", "files", "CPU s per GB"], rows))
    print("".join(f"{line}\n" for line in absent), end="")


def _on_path(plan: Plan) -> None:
    """Measure on one path."""
    rig, options, prefix = plan.rig, plan.rig.options, plan.wan.far_command()
    plan.wan.start(plan.path)
    try:
        with contextlib.ExitStack() as stack:
            if options.far == "seaweedfs":
                rig.seaweed = FarSeaweed(Path(tempfile.mkdtemp(dir=rig.folder)), prefix=prefix)
                stack.callback(rig.seaweed.stop)
                rig.seaweed.start()
                port = rig.seaweed.port
            else:
                rig.sink = Sink(FAR, prefix=prefix, verify=options.verify)
                stack.callback(rig.sink.stop)
                port = rig.sink.port
            broker = Mosquitto(Path(tempfile.mkdtemp(dir=rig.folder))).start()
            stack.callback(broker.stop)
            rig.events = broker.mqtt_url
            for cadence_s in options.cadence:
                trip = round_trip_ms(port)
                print(f"\n{plan.path} (a connection opens in {trip:.1f} ms); an exposure", end="")
                print(f" every {cadence_s:g} s; far side: {options.far}", flush=True)
                run(plan, cadence_s=cadence_s)
    finally:
        for line in plan.wan.stop():
            print(f"  emulator: {line}")
        rig.sink = rig.seaweed = None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_options(parser, warm_up_s=15.0)
    parser.add_argument(
        "--loss", type=float, nargs="+", help="parts of segments lost, such as 0.001"
    )
    parser.add_argument("--cadence", type=float, nargs="+", help="seconds between exposures")
    parser.add_argument("--exposures", type=int, help="per sender, the first one included")
    parser.add_argument("--lossy", type=int, default=3, help="of a peer where segments are lost")
    parser.add_argument("--rate", type=float, default=4.0, help="of the line, Gb/s")
    parser.add_argument("--rtt", type=float, default=200.0, help="round trip, ms")
    parser.add_argument("--seed", type=int, default=1, help="of the losses")
    parser.add_argument("--far", choices=["sink", "seaweedfs"], default="sink")
    options = parser.parse_args()
    options.loss = options.loss or ([0.0] if options.quick else [0.0, 0.001])
    options.cadence = options.cadence or ([12.0] if options.quick else [12.0, 34.0])
    options.exposures = max(2, options.exposures or (3 if options.quick else 9))
    read_settings(options)
    return options


def main() -> None:
    """Read the command line and run."""
    options = _arguments()
    end_in_order()
    try:
        with emulator() as wan, folders() as (folder, images):
            say_machine(network=True)
            camera = Camera(images / "staging")
            sample = camera.take()
            options.exposure_gb = sample.size_bytes / 1e9
            sample.remove()
            print(
                f"  {HOST_SHARE} files, {options.exposure_gb * 1e3:.0f} MB an exposure, in {images}"
            )
            rig = Rig(options, folder, images / "drop", events="")
            for loss in options.loss:
                path = Path4(options.rtt, options.rate, loss, seed=options.seed)
                _on_path(Plan(wan, path, camera, rig))
    except (NoNetworkError, ServerError) as error:
        not_measurable(error)


if __name__ == "__main__":
    main()
