"""What goes into an audit and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from translators.findings import Finding, Severity
from translators.imagename import parse_image_name

_LARGEST = 2000
"""How large a batch may grow so that an exposure stays together; none has so many detectors."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file to look at."""

    number: int
    """The caller's, by which it knows the verdict again."""
    place: str
    """Path or URI."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a header said, and what is wrong with it."""

    file_name: str
    instrument: str | None = None
    obs_id: str | None = None
    day_obs: int | None = None
    detector: int | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one file: one image, or those of an index."""

    number: int
    images: tuple[Image, ...]


Batch = tuple[Item, ...]
Open = Callable[[str], BinaryIO]
"""How a place is opened; can be pickled, as it is used in other processes."""
Judge = Callable[[Batch], Sequence[Verdict]]
"""Looks at a batch: one verdict for each item, in order. Can be pickled."""


class Pool(Protocol):
    """Spreads batches over what computes."""

    def run(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Sequence[Verdict]]]:
        """Yield every batch with its verdicts as they are ready, in any order.

        Batches are asked for as there is room, so memory is bounded. What kills its
        process, or does not end, has a verdict that says so, and the others go on.
        """
        ...


def batches_of(items: Iterable[Item], size: int) -> Iterator[Batch]:
    """Gather items to batches of about a size; those of an exposure in a row stay together."""
    batch: list[Item] = []
    last = ""
    for item in items:
        exposure = _exposure(item.place)
        full = len(batch) >= size and (exposure != last or len(batch) >= max(size, _LARGEST))
        if full:
            yield tuple(batch)
            batch = []
        batch.append(item)
        last = exposure
    if batch:
        yield tuple(batch)


def lost(item: Item, code: str, sentence: str) -> Verdict:
    """Return the verdict about a file that nobody could finish looking at."""
    name = PurePosixPath(item.place).name
    finding = Finding(code, Severity.ERROR, f"{item.place}: {sentence}")
    return Verdict(item.number, (Image(name, findings=(finding,)),))


def _exposure(place: str) -> str:
    named = parse_image_name(place.rpartition("/")[2])
    return place if named is None else named.obs_id
