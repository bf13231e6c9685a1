"""Figures of measurements, and tables of them."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spread:
    """The middle and the end of a distribution."""

    p50: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the figures of values; NaN where there are none."""
        if not values:
            return cls(math.nan, math.nan, math.nan, math.nan)
        ordered = sorted(values)
        return cls(statistics.median(ordered), _at(ordered, 0.95), _at(ordered, 0.99), ordered[-1])

    def text(self, digits: int = 2) -> str:
        """Return `p50 / p95 / max`."""
        return " / ".join(f"{each:.{digits}f}" for each in (self.p50, self.p95, self.most))


def _at(ordered: Sequence[float], part: float) -> float:
    """Return a quantile of what was measured: the smallest value that so many do not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal that is Markdown as well."""
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]

    def line(cells: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            + " |"
        )

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in rows)])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its ended children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / _TICKS


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, MB."""
    return _status_mb(pid, "VmRSS:")


def peak_mb(pid: int) -> float:
    """Return the most resident memory that a process ever had, MB."""
    return _status_mb(pid, "VmHWM:")


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    return math.nan
