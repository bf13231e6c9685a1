"""What the forwarder's journal costs per file, young and grown old.

    python -m benchmarks.journal [--quick] [--rows N] [--events N] [--exposures N] [--folder DIR]

Two journals with the real schema are filled, one with ten thousand files, one with ten million
(`--quick`: 200 thousand): copies of what the real code wrote for a real exposure, each with a
name, a digest and a dataset id of its own. Then exposures of 21 files go the real way through
both in turn, as the forwarder takes them: sighted together, then each inspected, stored with its
event, published, registered. Printed are the milliseconds per file in both and their ratio (aim:
at most 1.2), what opening costs, bytes per file, and how many files share a commit when many are
under way. Each query's plan that reads a table from end to end is named. `--events` bounds how
many files of the large journal still have their event in the outbox, which is most of its size.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import functools
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from benchmarks.kit.camera import SMALL_SHAPE, Camera
from benchmarks.kit.figures import Spread, table
from benchmarks.kit.journals import fill, full_scans
from benchmarks.kit.machine import end_in_order, not_measurable, say_machine
from daemons.events import Event
from daemons.forwarder import oblivion
from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.facts import Facts, StoredImage
from daemons.forwarder.journal import Journal
from daemons.forwarder.model import FileIdentity, FileKind, JournalEntry
from daemons.forwarder.patience import Patience
from daemons.forwarder.records import Inspected
from daemons.forwarder.sightings import Seen
from daemons.runtime.clock import SystemClock, UtcSeconds
from daemons.runtime.health import HealthBoard
from daemons.storage import ObjectInfo
from translators.inspect import inspect_file
from translators.inspection import Inspection
from translators.translate import translate

_SMALL = 10_000
_QUICK = 200_000
_LARGE = 10_000_000
_UNDER_WAY = 256


class Commits:
    """Counts commits and the jobs in them."""

    def __init__(self) -> None:
        self.commits = 0
        self.jobs = 0

    def before_commit(self, labels: Sequence[str]) -> None:
        """Do nothing."""

    def after_commit(self, labels: Sequence[str]) -> None:
        """Count."""
        self.commits += 1
        self.jobs += len(labels)


@dataclasses.dataclass(frozen=True)
class OneFile:
    """What the way of a file through the journal needs."""

    seen: Seen
    inspected: Inspected
    event: Event


class Files:
    """The files of exposures as the journal sees them, after one real exposure.

    Parameters
    ----------
    folder
        Where the files of that exposure are written.
    """

    def __init__(self, folder: Path) -> None:
        share = Camera(folder, shape=SMALL_SHAPE).take()
        self._real = [(inspect_file(path), path) for path in share.paths]
        self.obs_id = share.obs_id
        self._facts = Facts("benchmark", SystemClock())
        self._inode = 1

    def exposure(self, number: int) -> list[OneFile]:
        """Return the files of another exposure, with everything that the way needs."""
        obs_id, now = f"MC_O_20261103_{number:06d}", time.time()
        return [self._one(obs_id, number, now, *real) for real in self._real]

    def _one(self, obs_id: str, number: int, now: float, real: Inspection, path: Path) -> OneFile:
        self._inode += 1
        name = path.name.replace(self.obs_id, obs_id)
        place = f"/data/drop/20261103/{obs_id}/{name}"
        told = FileIdentity(66305, self._inode, 19_500_000, int(now * 1e9) + self._inode)
        translation = translate(real.primary, file_name=path.name)
        image = dataclasses.replace(
            translation.identity, obs_id=obs_id, exposure_id=2026110300000 + number, seq_num=number
        )
        inspection = dataclasses.replace(
            real, sha256=uuid.uuid5(uuid.NAMESPACE_URL, place).hex * 2, size_bytes=19_500_000
        )
        key = f"LSSTCam/20261103/{obs_id}/{name}"
        event = self._facts.image_stored(
            StoredImage(
                inspection,
                dataclasses.replace(translation, identity=image),
                ObjectInfo(key, 19_500_000, "0" * 32, datetime.now(tz=UTC), {}),
                "facility",
                f"s3://images/{key}",
                None,
            )
        )
        return OneFile(
            Seen(place.encode(), told, FileKind.IMAGE, UtcSeconds(now), True),
            Inspected(inspection.sha256, inspection.crc64nvme, image, key, ()),
            event,
        )

    def complete(self, share: ExposureShare) -> Event:
        """Return the event of a complete exposure."""
        return self._facts.exposure_complete(share)


@dataclasses.dataclass
class Bench:
    """A journal and what has gone through it."""

    name: str
    path: Path
    files: Files
    number: int = 0
    open_s: float = 0.0
    per_file_ms: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.commits = Commits()
        patience = Patience("journal", HealthBoard())
        self.journal = Journal(
            self.path, clock=SystemClock(), patience=patience, observer=self.commits
        )

    async def open(self) -> None:
        """Open the journal, as a start of the forwarder does."""
        begun = time.perf_counter()
        await self.journal.open()
        self.open_s = time.perf_counter() - begun

    def take(self, exposures: int) -> list[OneFile]:
        """Return the files of the next exposures."""
        self.number += exposures
        numbers = range(self.number - exposures + 1, self.number + 1)
        return [file for number in numbers for file in self.files.exposure(number)]

    async def forward(self, files: Sequence[OneFile]) -> None:
        """Let files go all the way at the same time."""
        await self.journal.known([file.seen.path for file in files])
        await self.journal.sight([file.seen for file in files])
        waiting = {entry.path: entry for entry in await self.journal.waiting(len(files))}
        await asyncio.gather(*(self._through(waiting[file.seen.path], file) for file in files))
        while pending := await self.journal.pending(64):
            await self.journal.published([each.sequence for each in pending])
        await asyncio.gather(*(self._registered(file.inspected) for file in files))

    async def measure(self) -> None:
        """Let one exposure through, and note what a file took."""
        files = self.take(1)
        begun = time.perf_counter()
        await self.forward(files)
        self.per_file_ms.append((time.perf_counter() - begun) / len(files) * 1e3)

    async def housekeeping_s(self) -> float:
        """Return how long the journal's writer is held by looking for what to forget, at most."""
        longest, after = 0.0, oblivion.Place()
        while True:
            begun = time.perf_counter()
            batch = await self.journal.read(
                "forgettable",
                functools.partial(
                    oblivion.forgettable, before=0.0, after=after, limit=500, awaited=True
                ),
            )
            longest = max(longest, time.perf_counter() - begun)
            if not batch:
                return longest
            after = batch[-1][0]

    async def _through(self, entry: JournalEntry, file: OneFile) -> None:
        await self.journal.earlier(entry)
        entry = await self.journal.inspected(entry, file.inspected)
        await self.journal.stored(entry, file.event, self.files.complete)

    async def _registered(self, inspected: Inspected) -> None:
        assert inspected.image is not None  # noqa: S101 - every file here is an image
        await self.journal.registered(str(inspected.image.dataset_id), inspected.sha256)


async def _prepare(folder: Path, name: str, rows: int, events: int) -> Bench:
    """Make a journal with so many files, from one real exposure."""
    files = Files(folder / f"{name}-files")
    bench = Bench(name, folder / f"{name}.sqlite3", files)
    await bench.open()
    await bench.forward(bench.take(1))
    await bench.journal.close()
    begun = time.perf_counter()
    await asyncio.to_thread(
        fill, bench.path, rows=rows, events=events, obs_id="MC_O_20261103_000001"
    )
    grown = Bench(name, bench.path, files, number=900_000)
    await grown.open()
    size = grown.path.stat().st_size
    print(
        f"  {name}: {rows} files filled in {time.perf_counter() - begun - grown.open_s:.0f} s, "
        f"{size / 1e6:.0f} MB, {size / rows:.0f} bytes a file, opened in {grown.open_s:.2f} s",
        flush=True,
    )
    return grown


async def run(options: argparse.Namespace, folder: Path) -> None:
    """Fill, measure in turn, print."""
    small = await _prepare(folder, "young", _SMALL, _SMALL)
    large = await _prepare(folder, "old", options.rows, min(options.events, options.rows))
    for _ in range(3):
        await small.forward(small.take(1))
        await large.forward(large.take(1))
    for _ in range(options.exposures):
        await small.measure()
        await large.measure()
    rows = [
        [bench.name, Spread.of(bench.per_file_ms).text(3), f"{bench.open_s:.2f}"]
        for bench in (small, large)
    ]
    print(table(["journal", "ms per file, p50 / p95 / max", "opened in, s"], rows))
    young, old = (statistics.median(bench.per_file_ms) for bench in (small, large))
    print(f"ratio old / young: {old / young:.2f} (aim: at most 1.2)")
    await _under_load(large)
    for bench in (small, large):
        held_s = await bench.housekeeping_s()
        print(
            f"housekeeping holds the writer of the {bench.name} journal for {held_s:.3f} s at most"
        )
    for bench in (small, large):
        await bench.journal.close()
    for line in full_scans(large.path):
        print(f"reads a table from end to end: {line}")


async def _under_load(bench: Bench) -> None:
    """Show that files under way at the same time share commits."""
    taken = bench.take(_UNDER_WAY // 21 + 1)
    before, jobs = bench.commits.commits, bench.commits.jobs
    begun = time.perf_counter()
    await bench.forward(taken)
    took, files = time.perf_counter() - begun, len(taken)
    commits, jobs = bench.commits.commits - before, bench.commits.jobs - jobs
    print(
        f"{files} files under way together: {files / took:.0f} files/s, {commits} commits for "
        f"{jobs} changes, {commits / files:.2f} commits a file"
    )


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} files instead of {_LARGE}")
    parser.add_argument("--rows", type=int, help="files of the large journal")
    parser.add_argument("--events", type=int, default=1_000_000, help="of them with their event")
    parser.add_argument("--exposures", type=int, help="that are measured in each journal")
    parser.add_argument("--folder", type=Path, help="where the journals are; they are removed")
    options = parser.parse_args()
    options.rows = options.rows or (_QUICK if options.quick else _LARGE)
    options.exposures = options.exposures or (25 if options.quick else 100)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    end_in_order()
    say_machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        free = shutil.disk_usage(folder).free
        needed = options.rows * 1500 + min(options.events, options.rows) * 4000
        if free < needed:
            not_measurable(f"needs {needed / 1e9:.0f} GB in {folder}, {free / 1e9:.0f} GB are free")
        asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    main()
