"""Add up what an audit found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "unknown"
"""Stands for an instrument or a night that is not known."""


@dataclass(slots=True)
class Tally:
    """Counts of images and findings; the order in which they come does not matter."""

    files: int = 0
    images: int = 0
    clean: int = 0
    """Images without a finding of warning or error."""
    by_severity: Counter[str] = field(default_factory=Counter)
    by_code: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By severity and code."""
    by_instrument: dict[str, Counter[str]] = field(default_factory=dict)
    """Images, and findings by severity."""
    by_night: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """As above, by instrument and observing day."""

    def add_images(
        self, instrument: str | None, day_obs: int | None, count: int, clean: int
    ) -> None:
        """Count images of a night."""
        self.images += count
        self.clean += clean
        for counter in self._counters(instrument, day_obs):
            counter["images"] += count
            counter["clean"] += clean

    def add_findings(
        self, instrument: str | None, day_obs: int | None, severity: str, code: str, count: int
    ) -> None:
        """Count findings of a night."""
        self.by_severity[severity] += count
        self.by_code[severity, code] += count
        for counter in self._counters(instrument, day_obs):
            counter[severity] += count

    def as_json(self) -> dict[str, Any]:
        """Return the summary for programs, the same whatever the order of the work."""
        return {
            "files": self.files,
            "images": self.images,
            "clean": self.clean,
            "findings": dict(sorted(self.by_severity.items())),
            "codes": [
                {"severity": severity, "code": code, "count": count}
                for (severity, code), count in sorted(self.by_code.items())
            ],
            "instruments": {
                name: dict(sorted(counter.items()))
                for name, counter in sorted(self.by_instrument.items())
            },
            "nights": [
                {"instrument": name, "day_obs": day, **dict(sorted(counter.items()))}
                for (name, day), counter in sorted(self.by_night.items())
            ],
        }

    def _counters(self, instrument: str | None, day_obs: int | None) -> Iterable[Counter[str]]:
        name, day = instrument or UNKNOWN, str(day_obs or UNKNOWN)
        yield self.by_instrument.setdefault(name, Counter())
        yield self.by_night.setdefault((name, day), Counter())
