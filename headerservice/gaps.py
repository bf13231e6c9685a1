"""Finds messages that were lost on the way, by the numbers that senders give them: pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from daemons.bus import ControlMessage, Topic

SEQUENCE_MAX = 2**31 - 1
"""Largest `private_seqNum`; the next one is 1 again."""
REORDER_S = 5.0
"""A message that is missing for so long is lost; partitions of a topic overtake each other."""
LARGEST_GAP = 1000
"""A sender that jumps further has begun anew."""
_STREAMS = 4096
"""Senders that are remembered; the ones not heard for the longest are forgotten."""


@dataclass(slots=True)
class _Stream:
    last: int
    absent: dict[int, float] = field(default_factory=dict)
    """Numbers that were left out, and when that was noticed."""


class GapWatch:
    """Follows the numbers of every sender on every topic."""

    def __init__(self) -> None:
        self._streams: OrderedDict[tuple[Topic, str, int], _Stream] = OrderedDict()

    def heard(self, message: ControlMessage, *, now: float) -> int:
        """Take a message; return how many of its sender are known to be lost since the last one.

        Parameters
        ----------
        message
            The message.
        now
            Seconds on a clock that does not step.
        """
        key = (message.topic, message.identity, message.origin)
        stream = self._streams.get(key)
        if stream is None:
            self._streams[key] = _Stream(message.sequence)
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
            return 0
        self._streams.move_to_end(key)
        self._follow(stream, message.sequence, now)
        return self._lost(stream, now)

    @staticmethod
    def _follow(stream: _Stream, sequence: int, now: float) -> None:
        ahead = (sequence - stream.last) % SEQUENCE_MAX
        if ahead > SEQUENCE_MAX // 2:
            stream.absent.pop(sequence, None)
            return
        if ahead <= LARGEST_GAP:
            for step in range(1, ahead):
                stream.absent[(stream.last + step - 1) % SEQUENCE_MAX + 1] = now
        else:
            stream.absent.clear()
        stream.last = sequence

    @staticmethod
    def _lost(stream: _Stream, now: float) -> int:
        if not stream.absent:
            return 0
        lost = [number for number, since in stream.absent.items() if now - since > REORDER_S]
        for number in lost:
            del stream.absent[number]
        return len(lost)
