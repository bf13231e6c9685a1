"""Which events of a source were missed: by the sequence numbers that it counts. No I/O.

A reader of a whole event stream sees every number of each source, not always in
order (the order holds within a partition only). A number that stays away for a
while was lost, and the sender can be asked for it (`EventsMissed`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

_ASKS_MAX = 8
"""The waiting between two requests doubles up to 2 to this power."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a source that have not been seen."""

    first: int
    last: int
    since: float
    """When it was noticed, seconds."""
    asked_at: float | None = None
    """When the sender was last asked for it."""
    asks: int = 0

    def without(self, number: int) -> tuple[Gap, ...]:
        """Return what is left when a number has come after all."""
        if not self.first <= number <= self.last:
            return (self,)
        before = replace(self, last=number - 1)
        after = replace(self, first=number + 1)
        return tuple(gap for gap in (before, after) if gap.first <= gap.last)

    def due(self, now: float, *, patience_s: float) -> bool:
        """Return whether the sender is to be asked for it."""
        if self.asked_at is None:
            return now - self.since >= patience_s
        return now - self.asked_at >= patience_s * 2.0 ** min(self.asks, _ASKS_MAX)


@dataclass(slots=True)
class _Source:
    lowest: int
    highest: int
    gaps: list[Gap] = field(default_factory=list)


class GapWatch:
    """Counts the numbers of every source.

    Parameters
    ----------
    patience_s
        How long a number may stay away before it counts as lost, seconds; longer than
        partitions are apart.
    """

    def __init__(self, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._sources: dict[str, _Source] = {}

    def see(self, source: str, number: int, now: float) -> bool:
        """Take a number; return whether it tells something new.

        Nothing is said of numbers before the lowest one seen: they are from before the
        stream began to be read, or kept.
        """
        known = self._sources.get(source)
        if known is None:
            self._sources[source] = _Source(number, number)
            return True
        if number < known.lowest:
            if number < known.lowest - 1:
                known.gaps.append(Gap(number + 1, known.lowest - 1, now))
            known.lowest = number
            return True
        if number > known.highest:
            if number > known.highest + 1:
                known.gaps.append(Gap(known.highest + 1, number - 1, now))
            known.highest = number
            return True
        if not any(gap.first <= number <= gap.last for gap in known.gaps):
            return False
        known.gaps = [left for gap in known.gaps for left in gap.without(number)]
        return True

    def ask(self, now: float) -> list[tuple[str, Gap]]:
        """Return (source, gap) of what the senders are to be asked for now, and note it."""
        asked = []
        for source, known in self._sources.items():
            for place, gap in enumerate(known.gaps):
                if gap.due(now, patience_s=self._patience_s):
                    known.gaps[place] = replace(gap, asked_at=now, asks=gap.asks + 1)
                    asked.append((source, gap))
        return asked

    def give_up(self, source: str, numbers: Iterable[int]) -> int:
        """Wait no longer for numbers that the sender does not have; return how many did wait."""
        known = self._sources.get(source)
        given_up = 0
        if known is None:
            return 0
        for number in numbers:
            if any(gap.first <= number <= gap.last for gap in known.gaps):
                known.gaps = [left for gap in known.gaps for left in gap.without(number)]
                given_up += 1
        return given_up

    def gaps(self) -> list[tuple[str, Gap]]:
        """Return (source, gap) of all that has not come."""
        return [(source, gap) for source, known in self._sources.items() for gap in known.gaps]

    def to_json(self) -> dict[str, Any]:
        """Return what is known, for the next start."""
        return {
            source: {
                "lowest": known.lowest,
                "highest": known.highest,
                "gaps": [[gap.first, gap.last, gap.since] for gap in known.gaps],
            }
            for source, known in self._sources.items()
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what was known."""
        self._sources = {
            source: _Source(known["lowest"], known["highest"], [Gap(*gap) for gap in known["gaps"]])
            for source, known in state.items()
        }
