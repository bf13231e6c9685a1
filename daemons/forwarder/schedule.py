"""Which waiting file goes next: the newest exposure first, and a share for the backlog. No I/O.

The *live* lane has the files of exposures that began to appear a moment ago; the
*backlog* has all others. Live files go newest exposure first, within an exposure
by class of detector, then in the order of their appearance, which is that of their
deadlines. The backlog has some slots of its own, longest waiting first, so that
it never stands still, and all that the live lane leaves free, newest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from translators.imagename import parse_image_name

OTHERS = "*"
"""In a list of priorities: all detectors that no other pattern names."""


@dataclass(frozen=True, slots=True)
class Urgency:
    """What a file's name says of its turn."""

    exposure: str | None
    """`obs_id`; None where the name tells none."""
    rank: int
    """Place of its detector's class; smaller goes first."""


NO_URGENCY = Urgency(None, 0)
"""Of a file whose name says nothing."""


def urgency(file_name: str, priorities: tuple[str, ...]) -> Urgency:
    """Return what a file's name says of its turn.

    Parameters
    ----------
    file_name
        Such as `MC_O_20250501_000123_R22_S11.fits`.
    priorities
        Patterns of detector names such as `R22_S11`, first ones first; `*` stands for
        all that no other pattern names, by default behind all of them.
    """
    others = priorities.index(OTHERS) if OTHERS in priorities else len(priorities)
    named = parse_image_name(file_name)
    if named is None:
        return Urgency(None, others)
    return Urgency(named.obs_id, _rank(named.detector, priorities, others))


def _rank(detector: str | None, priorities: tuple[str, ...], others: int) -> int:
    if detector is not None:
        for place, pattern in enumerate(priorities):
            if pattern != OTHERS and fnmatchcase(detector, pattern):
                return place
    return others


@dataclass(frozen=True, slots=True)
class Slots:
    """How many files may be in hand, and how many are."""

    limit: int
    """Files in hand at the same time."""
    backlog_share: float
    """Part of them that is the backlog's own."""
    live: int = 0
    """Live files in hand."""
    backlog: int = 0
    """Others in hand."""

    @property
    def reserved(self) -> int:
        """Slots that are the backlog's own; none where there is one slot only."""
        if self.limit < 2 or not self.backlog_share:  # noqa: PLR2004 - one slot cannot be shared
            return 0
        return min(self.limit - 1, max(1, round(self.limit * self.backlog_share)))

    @property
    def for_backlog(self) -> int:
        """How many files of the backlog may begin in its own slots, as they become free."""
        return max(0, min(self.reserved - self.backlog, self.spare))

    def for_live(self, *, backlog_waits: bool) -> int:
        """How many live files may begin.

        They do not wait for files of the backlog that have begun: those finish beside
        them, so for a moment there may be more in hand than the limit.
        """
        kept = self.reserved if backlog_waits or self.backlog else 0
        return max(0, self.limit - kept - self.live)

    @property
    def spare(self) -> int:
        """How many files of the backlog may begin in slots that the live lane leaves free."""
        return max(0, self.limit - self.live - self.backlog)

    def begun(self, *, live: int = 0, backlog: int = 0) -> Slots:
        """Return the slots after more files have begun."""
        return Slots(self.limit, self.backlog_share, self.live + live, self.backlog + backlog)
