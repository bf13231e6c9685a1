"""Batches under way: one that was lost is taken apart, file by file, and put together again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from translators.audit.model import Batch, Item, Verdict

Done = tuple[Batch, Sequence[Verdict]]
Blame = Callable[[Item], Verdict]
"""Returns the verdict about a file that ended who looked at it."""

_DEATHS = 2
"""How often a file alone must have ended who looked at it to be blamed for it; once may have
been somebody else's doing."""


@dataclass(slots=True)
class _Apart:
    """A batch whose files are looked at one by one."""

    batch: Batch
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)


class Pieces:
    """Hands out batches, and what is left of those that were lost.

    Parameters
    ----------
    batches
        Asked for one by one, as there is room.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._fresh = iter(batches)
        self._again: deque[Batch] = deque()
        self._apart: dict[int, _Apart] = {}

    def next(self) -> Batch | None:
        """Return what to look at next, None where there is nothing now."""
        return self._again.popleft() if self._again else next(self._fresh, None)

    def done(self, piece: Batch, verdicts: Sequence[Verdict]) -> Done | None:
        """Take verdicts; return the batch when it is whole."""
        apart = self._apart.get(piece[0].number)
        if apart is None:
            return piece, verdicts
        apart.verdicts[piece[0].number] = verdicts[0]
        if len(apart.verdicts) < len(apart.batch):
            return None
        for item in apart.batch:
            del self._apart[item.number]
        return apart.batch, [apart.verdicts[item.number] for item in apart.batch]

    def lost(self, piece: Batch, blame: Blame, *, certain: bool = False) -> Done | None:
        """Say that who looked at a piece is gone; return the batch when it is whole.

        Parameters
        ----------
        piece
            As it was handed out.
        blame
            Makes the verdict when it is one file's doing.
        certain
            Whether it can be nobody else's doing.
        """
        number = piece[0].number
        apart = self._apart.get(number)
        if apart is None:
            apart = _Apart(piece)
            self._apart.update((item.number, apart) for item in piece)
            if len(piece) > 1:
                # One by one, so that the one that did it is found.
                self._again.extend((item,) for item in piece)
                return None
        apart.deaths[number] = apart.deaths.get(number, 0) + 1
        if apart.deaths[number] < _DEATHS and not certain:
            self._again.append(piece)
            return None
        return self.done(piece, [blame(piece[0])])
