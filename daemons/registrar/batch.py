"""Which images are registered together, and when. Pure: time comes from the caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from daemons.events import ImageStored

TokenT = TypeVar("TokenT")


@dataclass(frozen=True, slots=True, order=True)
class BatchKey:
    """What the images of one batch share."""

    instrument: str
    exposure_id: int
    dataset_type: str
    run: str


@dataclass(slots=True)
class Batch(Generic[TokenT]):
    """Images of one exposure that wait to be registered together."""

    key: BatchKey
    first_at: float
    last_at: float
    items: list[tuple[ImageStored, TokenT]] = field(default_factory=list)


class Batcher(Generic[TokenT]):
    """Collects images by exposure until they fall due.

    A batch is due when no image of its exposure came for `linger_s`, when its
    first one has waited `max_wait_s`, or when it is full.

    Parameters
    ----------
    linger_s, max_wait_s
        Seconds on the caller's monotonic clock.
    batch_max
        Images at most.
    """

    def __init__(self, *, linger_s: float, max_wait_s: float, batch_max: int) -> None:
        self.linger_s = linger_s
        self.max_wait_s = max_wait_s
        self.batch_max = batch_max
        self._open: dict[BatchKey, Batch[TokenT]] = {}
        self._full: list[Batch[TokenT]] = []

    def __len__(self) -> int:
        return sum(len(batch.items) for batch in self._batches())

    def add(self, image: ImageStored, token: TokenT, now: float) -> None:
        """Take an image, with whatever its caller wants back with it."""
        key = BatchKey(image.instrument, image.exposure_id, image.dataset_type, image.run)
        batch = self._open.setdefault(key, Batch(key, first_at=now, last_at=now))
        batch.items.append((image, token))
        batch.last_at = now
        if len(batch.items) >= self.batch_max:
            self._full.append(self._open.pop(key))

    def next_due(self) -> float | None:
        """Return when the next batch falls due, or None while nothing waits."""
        if self._full:
            return self._full[0].first_at
        return min((self._due_at(batch) for batch in self._open.values()), default=None)

    def take_due(self, now: float) -> list[Batch[TokenT]]:
        """Remove and return the batches that are due, the longest waiting first."""
        ripe = [key for key, batch in self._open.items() if self._due_at(batch) <= now]
        due = [*self._full, *(self._open.pop(key) for key in ripe)]
        self._full.clear()
        return sorted(due, key=lambda batch: batch.first_at)

    def take_all(self) -> list[Batch[TokenT]]:
        """Remove and return every batch, due or not."""
        everything = sorted(self._batches(), key=lambda batch: batch.first_at)
        self._open.clear()
        self._full.clear()
        return everything

    def _due_at(self, batch: Batch[TokenT]) -> float:
        return min(batch.last_at + self.linger_s, batch.first_at + self.max_wait_s)

    def _batches(self) -> Iterator[Batch[TokenT]]:
        yield from self._full
        yield from self._open.values()
