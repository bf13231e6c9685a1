"""Finds messages that were lost on the way, by the numbers that senders give them: pure.

A sender that restarts counts from 1 again, and may do so with the same identity and process
id (in a container it is 1 each time): a smaller number that was sent later is a new count,
one that was sent earlier was overtaken on the way.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from daemons.bus import ControlMessage, Topic

SEQUENCE_MAX = 2**31 - 1
"""Largest `private_seqNum`; the next one is 1 again."""
REORDER_S = 5.0
"""A message that is missing for so long is lost; partitions of a topic overtake each other."""
LARGEST_GAP = 100_000
"""A sender that jumps further has begun anew."""
_FOLLOWED = 1000
"""Of a larger gap nothing is expected to come any more."""
_STREAMS = 4096
"""Senders that are remembered; the ones not heard for the longest are forgotten."""


@dataclass(slots=True)
class _Stream:
    last: int
    sent: float
    """When the message with that number was sent, TAI seconds."""
    gone: int = 0
    """Lost, and not told yet."""
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
            self._streams[key] = _Stream(message.sequence, float(message.sent))
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
            return 0
        self._streams.move_to_end(key)
        self._follow(stream, message, now)
        return self._lost(stream, now)

    @staticmethod
    def _follow(stream: _Stream, message: ControlMessage, now: float) -> None:
        sequence, sent = message.sequence, float(message.sent)
        ahead = (sequence - stream.last) % SEQUENCE_MAX
        if ahead > SEQUENCE_MAX // 2 and sent <= stream.sent:
            stream.absent.pop(sequence, None)  # it was overtaken
            return
        if not ahead:
            return
        if ahead <= _FOLLOWED:
            for step in range(1, ahead):
                stream.absent[(stream.last + step - 1) % SEQUENCE_MAX + 1] = now
        elif ahead <= LARGEST_GAP:
            stream.gone += ahead - 1
        # Anything else: the sender's count began anew, as it does when it restarts.
        stream.last, stream.sent = sequence, max(sent, stream.sent)

    @staticmethod
    def _lost(stream: _Stream, now: float) -> int:
        lost = [number for number, since in stream.absent.items() if now - since > REORDER_S]
        for number in lost:
            del stream.absent[number]
        gone, stream.gone = stream.gone, 0
        return len(lost) + gone
