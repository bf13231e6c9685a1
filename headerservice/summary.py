"""Mean, least and greatest value of a quantity over a stretch of time: pure.

The mean is one over time: of the straight lines between samples, or of steps that hold
until the next sample. Angles are followed across their wrap. A stretch without samples
that is longer than a sample may be old is a hole: it counts for nothing, and is told.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Point(NamedTuple):
    """A value at a time."""

    time: float
    value: float


class Piece(NamedTuple):
    """A stretch of time in which the value goes evenly from one to another."""

    begin: float
    end: float
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a quantity did over a stretch of time."""

    mean: float
    least: Point
    greatest: Point
    covered: float
    """Part of the time of which something is known, 0 to 1."""
    hole_s: float
    """The longest stretch of which nothing is known, seconds; 0 where there is none."""


def summarize(
    points: Sequence[Point],
    begin: float,
    end: float,
    *,
    stepwise: bool,
    turn: float | None = None,
    max_age_s: float | None = None,
) -> Summary | None:
    """Return what a quantity did from `begin` to `end`; None where nothing is known.

    Parameters
    ----------
    points
        Samples in the order of their times: those within, and the nearest one on each side.
    begin, end
        The stretch; where both are the same it is the value at that instant.
    stepwise
        A sample holds until the next; otherwise straight lines join them.
    turn
        A full turn, for an angle. The result is not brought back into its turn.
    max_age_s
        Longest time for which a sample stands; None: for ever.
    """
    longest = math.inf if max_age_s is None else max_age_s
    known = _unwrapped(points, turn)
    pieces = _steps(known, end, longest) if stepwise else _lines(known, begin, end, longest)
    within = [piece for each in pieces if (piece := _cut(each, begin, end)) is not None]
    if not within:
        return None
    length = math.fsum(piece.end - piece.begin for piece in within)
    area = math.fsum((piece.end - piece.begin) * (piece.first + piece.last) / 2 for piece in within)
    edges = [
        Point(time, value)
        for piece in within
        for time, value in ((piece.begin, piece.first), (piece.end, piece.last))
    ]
    return Summary(
        mean=area / length if length else math.fsum(each.value for each in edges) / len(edges),
        least=min(edges, key=lambda each: each.value),
        greatest=max(edges, key=lambda each: each.value),
        covered=length / (end - begin) if end > begin else 1.0,
        hole_s=_longest_hole(within, begin, end),
    )


def _unwrapped(points: Sequence[Point], turn: float | None) -> list[Point]:
    """Return angles without jumps: each by the shorter arc from the one before."""
    if turn is None:
        return list(points)
    found: list[Point] = []
    for time, value in points:
        if found:
            before = found[-1].value
            found.append(Point(time, before + (value - before + turn / 2) % turn - turn / 2))
        else:
            found.append(Point(time, value))
    return found


def _lines(known: Sequence[Point], begin: float, end: float, longest: float) -> list[Piece]:
    """Return the lines between samples, and what the outermost ones hold."""
    pieces = [
        Piece(one.time, other.time, one.value, other.value)
        for one, other in itertools.pairwise(known)
        if other.time - one.time <= longest
    ]
    if known:
        first, last = known[0], known[-1]
        if first.time > begin:
            held = max(begin, first.time - longest)
            pieces.insert(0, Piece(held, first.time, first.value, first.value))
        if last.time < end:
            pieces.append(Piece(last.time, min(end, last.time + longest), last.value, last.value))
    return pieces


def _steps(known: Sequence[Point], end: float, longest: float) -> list[Piece]:
    """Return how long each sample holds."""
    ends = [*(each.time for each in known[1:]), end]
    return [
        Piece(each.time, min(until, each.time + longest), each.value, each.value)
        for each, until in zip(known, ends, strict=True)
        if until >= each.time
    ]


def _cut(piece: Piece, begin: float, end: float) -> Piece | None:
    """Return what of a piece is within a stretch."""
    low, high = max(piece.begin, begin), min(piece.end, end)
    if low > high or (low == high and begin < end):
        return None
    return Piece(low, high, _value(piece, low), _value(piece, high))


def _value(piece: Piece, time: float) -> float:
    if piece.end <= piece.begin:
        return piece.first
    fraction = (time - piece.begin) / (piece.end - piece.begin)
    return piece.first + (piece.last - piece.first) * fraction


def _longest_hole(pieces: Sequence[Piece], begin: float, end: float) -> float:
    longest, reached = 0.0, begin
    for piece in pieces:
        longest = max(longest, piece.begin - reached)
        reached = max(reached, piece.end)
    return max(longest, end - reached)
