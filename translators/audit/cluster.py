"""Spread batches over a Dask cluster, when one machine is not enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from translators.audit.model import Batch, Item, Judge, Verdict, lost
from translators.audit.pieces import Done, Pieces
from translators.errors import TranslatorsError

_PER_THREAD = 2
"""Batches in flight for each thread of the cluster: one at work, one waiting."""


class ClusterError(TranslatorsError):
    """There is no cluster to work with."""

    code = "audit.no_cluster"


class ClusterPool:
    """A Dask cluster whose workers see the same files and have this package.

    Parameters
    ----------
    judge
        What is done with a batch.
    scheduler
        Address of the scheduler, such as `tcp://host:8786`.
    timeout_s
        How long to wait for the scheduler to answer.

    Raises
    ------
    ClusterError
        The library is not installed, the scheduler does not answer, or nobody works for it.
    """

    def __init__(self, judge: Judge, scheduler: str, *, timeout_s: float = 30.0) -> None:
        try:
            library: Any = import_module("distributed")
        except ModuleNotFoundError as error:
            raise ClusterError(
                f"a Dask cluster needs {error.name}: install it with pip install 'arriero[dask]'"
            ) from error
        self._judge = judge
        self._library = library
        self._scheduler = scheduler
        self._timeout_s = timeout_s
        try:
            self._client: Any = library.Client(
                scheduler, timeout=timeout_s, set_as_default=False, name="arriero-audit"
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"the Dask scheduler {scheduler} does not answer: {error}; start it with "
                "`dask scheduler`, or correct the address"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError as error:
            self._client.close()
            raise self._nobody() from error

    def run(self, batches: Iterable[Batch]) -> Iterator[Done]:
        """Yield every batch with its verdicts; see `Pool.run`."""
        pieces = Pieces(batches)
        flying: dict[Any, Batch] = {}
        try:
            while True:
                while len(flying) < self._room() and (piece := pieces.next()):
                    flying[self._client.submit(self._judge, piece, pure=False)] = piece
                if not flying:
                    return
                for future in self._done(list(flying)):
                    piece = flying.pop(future)
                    if future.status == "finished":
                        done = pieces.done(piece, future.result())
                    else:
                        done = pieces.lost(piece, partial(_blame, future))
                    if done is not None:
                        yield done
        finally:
            self._client.cancel(list(flying))

    def _done(self, futures: list[Any]) -> list[Any]:
        """Wait until some are done; as long as somebody works."""
        while True:
            try:
                with self._client.as_current():
                    found = self._library.wait(
                        futures, timeout=self._timeout_s, return_when="FIRST_COMPLETED"
                    )
            except TimeoutError as error:
                if not self._client.nthreads():
                    raise self._nobody() from error
            else:
                return [future for future in futures if future in found.done]

    def _nobody(self) -> ClusterError:
        return ClusterError(
            f"nobody works for the Dask scheduler {self._scheduler}; start workers with "
            f"`dask worker {self._scheduler}` where arriero is installed and the files are seen"
        )

    def close(self) -> None:
        """Leave the cluster; it stays as it is."""
        self._client.close()

    def _room(self) -> int:
        threads: int = sum(self._client.nthreads().values())
        return _PER_THREAD * max(1, threads)


def _blame(future: Any, item: Item) -> Verdict:
    error = future.exception() if future.status == "error" else None
    how = f"{type(error).__name__}: {error}" if error else str(future.status)
    return lost(
        item,
        "audit.crashed",
        f"looking at it failed in the cluster ({how}); look at this file, and report it",
    )
