"""The roll-up of an exposure: what this host is to send of it, and what is stored. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExposureShare:
    """One host's share of an exposure."""

    instrument: str
    obs_id: str
    exposure_id: int
    day_obs: int
    seq_num: int
    first_seen_at: float
    """When its first file was seen, UTC seconds."""
    stored: frozenset[str]
    """Names of the detectors whose images are stored."""
    last_stored_at: float | None = None
    """When the latest of them was stored, UTC seconds."""
    expected: frozenset[str] | None = None
    """Names of the detectors that this host is to send; None: nobody has said yet."""
    waiting: frozenset[str] = frozenset()
    """Names of the detectors whose images are known and not stored."""
    held: frozenset[str] = frozenset()
    """Codes of findings for which it is held back."""
    completed_at: float | None = None
    """When `exposure.complete` was put into the outbox, UTC seconds."""

    @property
    def missing(self) -> frozenset[str]:
        """Detectors that are expected, or known where nobody said, and not stored."""
        return (self.waiting if self.expected is None else self.expected) - self.stored

    @property
    def wanted(self) -> frozenset[str]:
        """Detectors that are expected; where nobody said, all that are known."""
        return self.stored | self.waiting if self.expected is None else self.expected

    @property
    def complete(self) -> bool:
        """True when something is expected and all of it is stored."""
        return bool(self.expected) and not self.missing

    @property
    def seconds(self) -> float | None:
        """From the first file's appearance to the last one stored."""
        if self.last_stored_at is None:
            return None
        return max(0.0, self.last_stored_at - self.first_seen_at)
