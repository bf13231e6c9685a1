"""Who is measured by the transfer benchmarks: arriero, raw sockets, other people's uploaders."""

from __future__ import annotations

import argparse
import contextlib
import math
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from benchmarks.kit.camera import Share
from benchmarks.kit.far import FarSeaweed
from benchmarks.kit.floor import Floor, Options
from benchmarks.kit.host import Ear, Host
from benchmarks.kit.peers import PEERS, Peer, Target
from benchmarks.kit.store import Sink, write_keys

_LONGEST_S = 240.0
"""After this time an exposure counts as not complete."""
_FOLDER_AHEAD_S = 0.5
"""How long before its files a camera makes an exposure's folder, at least: it writes hidden
files into it first."""


@dataclass
class Outcome:
    """One exposure of one sender."""

    stored_s: float
    known_s: float
    files: int
    cpu_s: float


@dataclass
class Rig:
    """What senders need of a run."""

    options: argparse.Namespace
    """With those of `add_options`."""
    folder: Path
    """For journals, logs and secrets; on a disk."""
    drop: Path
    events: str
    """URL of the event stream."""
    sink: Sink | None = None
    seaweed: FarSeaweed | None = None
    """One of the two is the far side."""

    @property
    def target(self) -> Target:
        """The store at the far side."""
        if self.seaweed is not None:
            return Target(
                self.seaweed.endpoint_url, self.seaweed.access_key, self.seaweed.secret_key
            )
        assert self.sink is not None  # noqa: S101 - one of the two is there
        return Target(self.sink.endpoint_url)

    def arrived(self, needle: str, files: int, timeout_s: float) -> dict[str, float]:
        """Return key → moment of the objects of an exposure, when all are there or time is over."""
        if self.sink is not None:
            told = self.sink.wait(needle, files, timeout_s)
            return {key: at for key, (at, _) in told.items()}
        assert self.seaweed is not None  # noqa: S101 - one of the two is there
        return self.seaweed.wait(needle, files, timeout_s)


class Sender(ABC):
    """Somebody who is measured."""

    name: str
    keeps_cadence = True

    @abstractmethod
    def open(self) -> None:
        """Begin, before the first exposure."""

    @abstractmethod
    def send(self, share: Share, number: int) -> Outcome:
        """Send an exposure."""

    @abstractmethod
    def close(self) -> None:
        """End."""


class Arriero(Sender):
    """The real forwarder in a process of its own."""

    name = "arriero"

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def open(self) -> None:
        """Start the forwarder; it warms its connections."""
        rig, target = self._rig, self._rig.target
        keys = write_keys(rig.folder, target.access_key, target.secret_key)
        store = {
            "url": f"s3://{target.bucket}",
            "endpoint_url": target.endpoint_url,
            "connections": 27,
            **rig.options.store,
            **keys,
        }
        where = Path(tempfile.mkdtemp(dir=rig.folder))
        self._host = Host(
            where,
            rig.drop,
            store=store,
            stream=rig.events,
            forwarder=rig.options.forwarder,
            tree=rig.options.tree,
        )
        self._ear = Ear(rig.events).start()
        self._host.start()
        time.sleep(rig.options.warm_up)

    def send(self, share: Share, number: int) -> Outcome:
        """Let the camera rename its files into the drop directory."""
        del number
        if not self._rig.options.new_folder:
            share.announce(self._host.drop)
            time.sleep(_FOLDER_AHEAD_S)
        before, begun = self._host.cpu_s(), time.monotonic()
        share.drop(self._host.drop)
        arrived = self._rig.arrived(f"/{share.obs_id}/", len(share.paths), _LONGEST_S)
        heard = self._ear.wait(share.obs_id, len(share.paths), _LONGEST_S)
        return Outcome(
            max(arrived.values(), default=math.nan) - begun,
            max(heard.values(), default=math.nan) - begun,
            min(len(arrived), len(heard)),
            self._host.cpu_s() - before,
        )

    def close(self) -> None:
        """Stop the forwarder, and say how its connections were."""
        status = self._host.status() if self._rig.options.status else None
        self._host.stop()
        self._ear.stop()
        if status is not None:
            print(yaml.safe_dump(status, sort_keys=False), file=sys.stderr)


class Other(Sender):
    """Somebody else's uploader."""

    def __init__(self, rig: Rig, peer: type[Peer]) -> None:
        self._rig = rig
        self._peer = peer(rig.target)
        self.name = peer.name
        self.keeps_cadence = peer.stateful

    def open(self) -> None:
        """Start it."""
        self._peer.start()

    def send(self, share: Share, number: int) -> Outcome:
        """Let it send."""
        prefix = f"{type(self._peer).__name__}/{number}-{share.obs_id}"
        before, begun = self._peer.cpu_used_s, time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._peer.send(share, prefix)
        known = time.monotonic() - begun
        arrived = self._rig.arrived(f"{prefix}/", len(share.paths), 1.0)
        share.remove()
        return Outcome(
            max(arrived.values(), default=math.nan) - begun,
            known,
            len(arrived),
            self._peer.cpu_used_s - before,
        )

    def close(self) -> None:
        """End it."""
        self._peer.stop()


class Wire(Sender):
    """Raw sockets with `sendfile`: the limit of path and machine.

    Parameters
    ----------
    rig
        The run.
    connections
        How many; files beyond that wait for a connection.
    options
        Of each connection.
    warm
        Whether its window is opened by two transfers before the first exposure.
    """

    def __init__(self, rig: Rig, *, connections: int, options: Options, warm: bool) -> None:
        self._rig, self._connections = rig, connections
        self._options, self._warm = options, warm
        chosen = (
            options.congestion_control,
            options.send_buffer_bytes and f"{options.send_buffer_bytes >> 20} MiB buffer",
            "warmed" if warm else None,
        )
        said = ", ".join(each for each in chosen if each)
        self.name = f"raw sockets ({said or 'as they are'})"

    def open(self) -> None:
        """Open the connections."""
        endpoint = urlsplit(self._rig.target.endpoint_url)
        address = (endpoint.hostname or "", endpoint.port or 0)
        self._floor = Floor(address, self._connections, self._options)
        if self._warm:
            self._floor.warm()

    def send(self, share: Share, number: int) -> Outcome:
        """Send all files."""
        del number
        before = time.process_time()
        took = self._floor.send(share.paths)
        share.remove()
        return Outcome(took, took, len(share.paths), time.process_time() - before)

    def close(self) -> None:
        """Close the connections."""
        self._floor.close()


def others(rig: Rig) -> tuple[list[Sender], list[str]]:
    """Return other people's uploaders, and a line for each that cannot be had here."""
    here: list[Sender] = []
    absent = []
    for peer in PEERS:
        reason = peer(rig.target).why_absent()
        if reason is None:
            here.append(Other(rig, peer))
        else:
            absent.append(f"absent: {peer.name}: {reason}")
    return here, absent


def wanted(senders: Sequence[Sender], names: Sequence[str]) -> list[Sender]:
    """Return those senders whose name has one of some words in it; all where there are none."""
    return [each for each in senders if not names or any(one in each.name.lower() for one in names)]


def say(sender: Sender, number: int, outcome: Outcome) -> None:
    """Tell on standard error how an exposure went."""
    print(
        f"  {sender.name}, exposure {number + 1}: stored {outcome.stored_s:.2f} s, known "
        f"{outcome.known_s:.2f} s, {outcome.files} files",
        file=sys.stderr,
    )


def add_options(parser: argparse.ArgumentParser, *, warm_up_s: float) -> None:
    """Add the options that every transfer benchmark has."""
    parser.add_argument("--quick", action="store_true", help="so short that it is only an idea")
    parser.add_argument("--store", nargs="*", default=[], metavar="NAME=VALUE", help="its settings")
    parser.add_argument("--forwarder", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--senders", nargs="*", default=[], help="only these: arriero raw s5cmd ..."
    )
    parser.add_argument("--verify", action="store_true", help="the sink reads and checks bodies")
    parser.add_argument(
        "--status", action="store_true", help="print the forwarder's status, stderr"
    )
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[2], help="its project")
    parser.add_argument(
        "--new-folder", action="store_true", help="the exposure's folder is made with its files"
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        default=warm_up_s,
        help="between arriero's start and its first file",
    )


def read_settings(options: argparse.Namespace) -> None:
    """Read `NAME=VALUE` of store and forwarder, the value as in YAML."""
    for name in ("store", "forwarder"):
        given = (one.partition("=") for one in getattr(options, name))
        setattr(options, name, {key: yaml.safe_load(value) for key, _, value in given})
