"""Which offset may be committed, when deliveries are acknowledged in any order.

Pure bookkeeping. A commit says "everything before this offset is dealt with",
so a partition's commit is the end of the longest run of acknowledged
deliveries from its beginning. The run is one of *deliveries*: offsets that the
broker skips (compacted records, transaction markers) leave no hole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

PartitionT = TypeVar("PartitionT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Receipt(Generic[PartitionT]):
    """Names one delivery of one assignment of a partition."""

    partition: PartitionT
    offset: int
    assignment: int
    """Which assignment: the same partition assigned again is another one."""


@dataclass(slots=True)
class _Held:
    """A partition while it is ours."""

    assignment: int
    acked: OrderedDict[int, bool] = field(default_factory=OrderedDict)
    """Deliveries from the first that is not committed on: offset → acknowledged."""
    last: int | None = None
    """Offset of the latest delivery."""
    committable: int | None = None
    """Offset after the longest acknowledged run."""
    committed: int | None = None

    def shift(self) -> bool:
        """Move the acknowledged run's end; True when it moved."""
        moved = False
        while self.acked:
            offset, done = next(iter(self.acked.items()))
            if not done:
                break
            del self.acked[offset]
            self.committable = offset + 1
            moved = True
        return moved


class AckTracker(Generic[PartitionT]):
    """Deliveries and acknowledgements of the partitions that a consumer holds."""

    def __init__(self) -> None:
        self._held: dict[PartitionT, _Held] = {}
        self._assignments = 0

    def assign(self, partitions: Collection[PartitionT]) -> None:
        """Begin anew with these partitions; receipts from before are worth nothing."""
        for partition in partitions:
            self._assignments += 1
            self._held[partition] = _Held(assignment=self._assignments)

    def revoke(self, partitions: Collection[PartitionT]) -> None:
        """Forget these partitions: what was not committed is delivered to their next holder."""
        for partition in partitions:
            self._held.pop(partition, None)

    def assignment(self, partition: PartitionT) -> int | None:
        """Return which assignment of a partition holds at present; None: not ours."""
        held = self._held.get(partition)
        return None if held is None else held.assignment

    def deliver(self, partition: PartitionT, offset: int) -> Receipt[PartitionT]:
        """Note that a record is handed out, in the order of offsets.

        Raises
        ------
        KeyError
            The partition is not ours.
        ValueError
            The offset is not after the one before.
        """
        held = self._held[partition]
        if held.last is not None and offset <= held.last:
            raise ValueError(f"{partition}: offset {offset} comes after {held.last}")
        held.last = offset
        held.acked[offset] = False
        return Receipt(partition, offset, held.assignment)

    def is_current(self, receipt: Receipt[PartitionT]) -> bool:
        """Return whether the partition is still held by the assignment of the receipt."""
        return self.assignment(receipt.partition) == receipt.assignment

    def acknowledge(self, receipt: Receipt[PartitionT]) -> bool:
        """Note that a delivery is dealt with.

        Returns True when there is something new to commit. A receipt of a
        revoked assignment, or a second acknowledgement, changes nothing.
        """
        held = self._held.get(receipt.partition)
        if held is None or held.assignment != receipt.assignment:
            return False
        if receipt.offset not in held.acked:
            return False
        held.acked[receipt.offset] = True
        return held.shift()

    def committable(self) -> dict[PartitionT, int]:
        """Return the offsets to commit, of the partitions where they moved since the last time."""
        return {
            partition: held.committable
            for partition, held in self._held.items()
            if held.committable is not None and held.committable != held.committed
        }

    def committed(self, offsets: Mapping[PartitionT, int]) -> None:
        """Note what the broker has taken."""
        for partition, offset in offsets.items():
            held = self._held.get(partition)
            if held is not None and offset == held.committable:
                held.committed = offset

    @property
    def partitions(self) -> Collection[PartitionT]:
        """The partitions that are ours."""
        return self._held.keys()

    @property
    def outstanding(self) -> int:
        """Deliveries that nobody has acknowledged yet."""
        return sum(not done for held in self._held.values() for done in held.acked.values())
