"""Files that wait for something: since when, and until when. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from daemons.forwarder.model import FileIdentity, JournalEntry

_FIRST_TRY_S = 1.0
_MOST_S = 60.0
_REMEMBERED = 10_000
"""Files whose waiting is remembered."""


@dataclass(frozen=True, slots=True)
class Later:
    """Try again after a time."""

    seconds: float
    tag: str | None = None
    """`obs_id` of an exposure that it waits for."""


@dataclass(slots=True)
class WaitingRoom:
    """What waits, in memory: after a restart patience begins anew.

    Parameters
    ----------
    monotonic
        Seconds on a clock that never steps.
    """

    monotonic: Callable[[], float]
    _since: dict[int, tuple[FileIdentity, float]] = field(default_factory=dict)
    _due: dict[int, tuple[float, str | None]] = field(default_factory=dict)
    _failures: dict[int, int] = field(default_factory=dict)

    def waited(self, entry: JournalEntry) -> float:
        """Return how long a file has waited as it is; a file that changes begins anew."""
        identity, since = self._since.get(entry.id, (None, 0.0))
        if identity != entry.identity:
            since = self.monotonic()
            while len(self._since) >= _REMEMBERED:
                del self._since[next(iter(self._since))]
            self._since[entry.id] = (entry.identity, since)
        return self.monotonic() - since

    def put_off(self, file_id: int, later: Later) -> None:
        """Leave a file alone for a time."""
        self._due[file_id] = (self.monotonic() + later.seconds, later.tag)

    def hurry(self, file_ids: Iterable[int]) -> None:
        """Leave files alone no longer."""
        for file_id in file_ids:
            self._due.pop(file_id, None)

    def hurry_tagged(self, tag: str) -> None:
        """Leave those alone no longer that wait for an exposure."""
        self.hurry([file_id for file_id, (_, at) in self._due.items() if at == tag])

    def put_off_now(self) -> set[int]:
        """Return the files that are to be left alone now; those whose time has come are not."""
        now = self.monotonic()
        self._due = {file_id: at for file_id, at in self._due.items() if at[0] > now}
        return set(self._due)

    @property
    def next_due_s(self) -> float | None:
        """Seconds until the next file's time comes."""
        first = min((due for due, _ in self._due.values()), default=None)
        return None if first is None else max(0.0, first - self.monotonic())

    def next_try_s(self, file_id: int) -> float:
        """Count a failure of a file and return how long to wait: twice as long each time."""
        failures = self._failures.get(file_id, 0)
        self._failures[file_id] = failures + 1
        return float(min(_MOST_S, _FIRST_TRY_S * 2.0 ** min(failures, 30)))

    def failures(self, file_id: int) -> int:
        """Return how often a file failed."""
        return self._failures.get(file_id, 0)

    def forget(self, file_id: int) -> None:
        """Forget a file that waits no longer."""
        self._since.pop(file_id, None)
        self._due.pop(file_id, None)
        self._failures.pop(file_id, None)
