"""Spread batches over processes of this machine, and outlive what kills one of them."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess

from translators.audit.model import Batch, Item, Judge, Verdict, lost
from translators.audit.pieces import Done, Pieces

_END_S = 5.0
"""How long a process may take to end when it is told to."""


class ProcessPool:
    """Processes of which each has one batch at a time.

    When a process dies, or does not answer in time, its batch is known. The files of
    the batch are then looked at one by one in fresh processes, so that the one that
    did it is found and named, and the others have their verdicts.

    Parameters
    ----------
    judge
        What is done with a batch.
    workers
        How many processes.
    timeout_s
        How long a batch may take; longer, and the process is taken for hung.
    """

    def __init__(self, judge: Judge, workers: int, *, timeout_s: float = 600.0) -> None:
        self._judge = judge
        self._workers = workers
        self._timeout_s = timeout_s
        self._started = 0
        self._context: SpawnContext = multiprocessing.get_context("spawn")

    def run(self, batches: Iterable[Batch]) -> Iterator[Done]:
        """Yield every batch with its verdicts; see `Pool.run`."""
        pieces = Pieces(batches)
        busy: dict[int, _Worker] = {}
        idle: list[_Worker] = []
        try:
            while True:
                while len(busy) < self._workers and (piece := pieces.next()):
                    worker = idle.pop() if idle else self._start()
                    worker.give(piece, self._timeout_s)
                    busy[worker.number] = worker
                if not busy:
                    return
                for worker in _ready(busy.values()):
                    del busy[worker.number]
                    verdicts = worker.take()
                    if verdicts is None:
                        done = pieces.lost(worker.batch, worker.blame, certain=worker.hung)
                    else:
                        idle.append(worker)
                        done = pieces.done(worker.batch, verdicts)
                    if done is not None:
                        yield done
        finally:
            for worker in (*busy.values(), *idle):
                worker.end()

    def _start(self) -> _Worker:
        self._started += 1
        return _Worker(self._context, self._judge, self._started)


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: SpawnContext, judge: Judge, number: int) -> None:
        self.number = number
        self.batch: Batch = ()
        self.connection, far = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(far, judge), name=f"audit-{number}", daemon=True
        )
        self.process.start()
        far.close()
        self.deadline = 0.0
        self.hung = False

    def give(self, batch: Batch, timeout_s: float) -> None:
        """Hand a batch over; a process that died meanwhile is found when it is asked."""
        self.batch = batch
        self.deadline = time.monotonic() + timeout_s
        try:
            self.connection.send(batch)
        except OSError:
            self.process.join(_END_S)

    def take(self) -> Sequence[Verdict] | None:
        """Return the verdicts; None where the process died or hangs, which has ended it."""
        try:
            if self.connection.poll():
                verdicts: Sequence[Verdict] = self.connection.recv()
                return verdicts
        except (EOFError, OSError):
            pass
        if self.process.is_alive() and time.monotonic() >= self.deadline:
            self.hung = True
        self.end()
        return None

    def blame(self, item: Item) -> Verdict:
        """Return the verdict about the file that ended this process."""
        if self.hung:
            code, how = "audit.hung", "looking at it did not end, and was given up"
        else:
            code, how = "audit.crashed", f"looking at it ended the process with {self._how()}"
        return lost(item, code, f"{how}; look at this file, and report it")

    def end(self) -> None:
        """Close the pipe and see the process end."""
        self.connection.close()
        if self.batch and self.process.is_alive():
            self.process.kill()
        self.process.join(_END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _how(self) -> str:
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"


def _ready(workers: Iterable[_Worker]) -> list[_Worker]:
    """Wait until one has answered, died or passed its time."""
    known = list(workers)
    left = max(0.0, min(worker.deadline for worker in known) - time.monotonic())
    signs = wait(
        [each for worker in known for each in (worker.connection, worker.process.sentinel)], left
    )
    now = time.monotonic()
    return [
        worker
        for worker in known
        if worker.connection in signs or worker.process.sentinel in signs or now >= worker.deadline
    ]


def _work(connection: Connection, judge: Judge) -> None:
    """Live in a process: look at batches until the pipe is closed."""
    # The person's Ctrl-C is the parent's to answer; it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is wrong with headers is told as findings.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    while True:
        try:
            batch = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(judge(batch))
