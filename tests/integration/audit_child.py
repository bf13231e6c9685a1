"""An audit whose judge is as bad as the name of a file says; started by the tests.

Names with `dies` kill the process that looks at them, names with `once` at the first look;
names with `exits` leave it, names with `hangs` never end.
Every look is noted in a folder, a file for each, so that a test can count them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from translators.audit.cluster import ClusterPool
from translators.audit.judge import judge_batch
from translators.audit.model import Batch, Item, Pool, Verdict, batches_of
from translators.audit.processes import ProcessPool


def judge(batch: Batch, *, note: Path) -> list[Verdict]:
    for item in batch:
        name = Path(item.place).name
        (note / f"{name}.{time.monotonic_ns()}.{os.getpid()}").touch()
        once = "once" in name and len(list(note.glob(f"{name}.*"))) == 1
        if once or "dies" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "exits" in name:
            os._exit(3)
        if "hangs" in name:
            signal.pause()
    return judge_batch(batch)


def main() -> None:
    note, workers, size, timeout_s, *places = sys.argv[1:]
    noted = partial(judge, note=Path(note))
    pool: Pool
    if workers.startswith("tcp://"):
        pool = ClusterPool(noted, workers, timeout_s=float(timeout_s))
    else:
        pool = ProcessPool(noted, int(workers), timeout_s=float(timeout_s))
    items = (Item(number, place) for number, place in enumerate(places))
    for batch, verdicts in pool.run(batches_of(items, int(size))):
        told = [
            [f"{finding.code}: {finding.sentence}" for finding in verdict.images[0].findings]
            for verdict in verdicts
        ]
        sys.stdout.write(json.dumps([[item.place for item in batch], told]) + "\n")


if __name__ == "__main__":
    main()
