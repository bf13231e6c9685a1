"""How fast files leave a camera host, and what processor time that costs.

    python -m benchmarks.loopback [--quick] [--rounds N] [--files N] [--store NAME=VALUE ...]
                                  [--senders NAME ...] [--verify]

Files of 19.5 MB appear in the drop directory of a real forwarder process, everything switched on
(inspection with digests, journal on disk, sidecars, checks, events through a real broker), and go
over loopback to a store that discards them. In the same run, in turn, the same files are sent by
other uploaders, and by raw sockets with `sendfile`, which is the floor. Printed are MB/s from the
first file's appearance to the last object, and the sender's own processor seconds per GB, medians
of the rounds; the first round of each sender is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.kit.camera import Camera
from benchmarks.kit.figures import table
from benchmarks.kit.floor import Options
from benchmarks.kit.machine import end_in_order, folders, not_measurable, say_machine
from benchmarks.kit.senders import (
    Arriero,
    Outcome,
    Rig,
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

_FLOOR_CONNECTIONS = 8


def run(rig: Rig, camera: Camera, *, rounds: int) -> None:
    """Let everybody send in turn, and print the table."""
    floor = Wire(rig, connections=_FLOOR_CONNECTIONS, options=Options(), warm=False)
    peers, absent = others(rig)
    senders = wanted([Arriero(rig), floor, *peers], rig.options.senders)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    sizes: list[int] = []
    with contextlib.ExitStack() as stack:
        for sender in senders:
            sender.open()
            stack.callback(sender.close)
        for number in range(rounds + 1):
            for sender in senders:
                share = camera.take()
                sizes.append(share.size_bytes)
                outcomes[sender.name].append(sender.send(share, number))
                say(sender, number, outcomes[sender.name][-1])
    mb = statistics.mean(sizes) / 1e6
    rows = []
    for name, all_of_them in outcomes.items():
        counted = all_of_them[1:]
        rows.append(
            [
                name,
                f"{mb / statistics.median(each.stored_s for each in counted):.0f}",
                f"{statistics.median(each.cpu_s for each in counted) / mb * 1e3:.2f}",
                f"{sum(each.files for each in counted)} of {rig.options.files * len(counted)}",
            ]
        )
    print(table(["sender", "MB/s", "CPU s per GB", "files"], rows))
    print("".join(f"{line}\n" for line in absent), end="")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_options(parser, warm_up_s=3.0)
    parser.add_argument("--rounds", type=int, help="counted rounds of each sender")
    parser.add_argument("--files", type=int, help="of 19.5 MB, in each round")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.files = options.files or (21 if options.quick else 63)
    read_settings(options)
    end_in_order()
    say_machine()
    try:
        with folders() as (folder, images), contextlib.ExitStack() as stack:
            sink = Sink(verify=options.verify)
            stack.callback(sink.stop)
            broker = Mosquitto(folder / "broker").start()
            stack.callback(broker.stop)
            print(f"  {options.files} files of 19.5 MB a round, in {images}")
            rig = Rig(options, folder, Path(images, "drop"), broker.mqtt_url, sink)
            run(rig, Camera(images / "staging", files=options.files), rounds=options.rounds)
    except ServerError as error:
        not_measurable(error)


if __name__ == "__main__":
    main()
