"""What may be committed when deliveries are acknowledged in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from daemons.bus.acks import AckTracker, Receipt


def test_nothing_is_committed_before_the_first_delivery_is_acknowledged() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    receipts = [tracker.deliver("p", offset) for offset in (10, 11, 12)]
    assert not tracker.acknowledge(receipts[2])
    assert not tracker.acknowledge(receipts[1])
    assert tracker.committable() == {}
    assert tracker.acknowledge(receipts[0])
    assert tracker.committable() == {"p": 13}


def test_offsets_that_the_broker_skips_leave_no_hole() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    for offset in (3, 7, 20):
        tracker.acknowledge(tracker.deliver("p", offset))
    assert tracker.committable() == {"p": 21}


def test_what_was_committed_is_not_offered_again() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    tracker.acknowledge(tracker.deliver("p", 0))
    offsets = tracker.committable()
    tracker.committed(offsets)
    assert tracker.committable() == {}


def test_a_commit_that_was_overtaken_does_not_hide_the_newer_one() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    tracker.acknowledge(tracker.deliver("p", 0))
    under_way = tracker.committable()
    tracker.acknowledge(tracker.deliver("p", 1))
    tracker.committed(under_way)
    assert tracker.committable() == {"p": 2}


def test_a_receipt_of_a_revoked_partition_is_worth_nothing() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    old = tracker.deliver("p", 0)
    tracker.revoke(["p"])
    assert not tracker.is_current(old)
    assert not tracker.acknowledge(old)
    assert tracker.committable() == {}


def test_a_receipt_from_before_a_rebalance_does_not_count_for_the_redelivery() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    old = tracker.deliver("p", 0)
    tracker.revoke(["p"])
    tracker.assign(["p"])
    new = tracker.deliver("p", 0)
    assert not tracker.acknowledge(old)
    assert tracker.committable() == {}
    assert tracker.acknowledge(new)


def test_a_delivery_out_of_order_or_of_a_foreign_partition_is_a_fault() -> None:
    tracker: AckTracker[str] = AckTracker()
    tracker.assign(["p"])
    tracker.deliver("p", 5)
    with pytest.raises(ValueError, match="offset 5 comes after 5"):
        tracker.deliver("p", 5)
    with pytest.raises(KeyError):
        tracker.deliver("q", 0)


@given(st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))))
def test_all_acknowledged_in_any_order_commits_all(order: list[int]) -> None:
    tracker: AckTracker[int] = AckTracker()
    tracker.assign([0])
    receipts = [tracker.deliver(0, offset) for offset in range(len(order))]
    done: set[int] = set()
    for position in order:
        tracker.acknowledge(receipts[position])
        done.add(position)
        run = next((n for n in range(len(order) + 1) if n not in done), len(order))
        assert tracker.committable().get(0, 0) == run
    assert tracker.outstanding == 0


class Consumer(RuleBasedStateMachine):
    """A consumer through rebalances, against a model that keeps every delivery."""

    receipts = Bundle("receipts")

    @initialize()
    def begin(self) -> None:
        self.tracker: AckTracker[int] = AckTracker()
        self.held: dict[int, list[tuple[int, Receipt[int]]]] = {}
        self.acked: set[Receipt[int]] = set()
        self.log_position: dict[int, int] = {}
        self.group: dict[int, int] = {}

    @rule(partition=st.integers(0, 2))
    def assign(self, partition: int) -> None:
        self.tracker.revoke([partition])
        self.tracker.assign([partition])
        self.held[partition] = []
        self.log_position[partition] = self.group.get(partition, 0)

    @rule(partition=st.integers(0, 2))
    def revoke(self, partition: int) -> None:
        self.tracker.revoke([partition])
        self.held.pop(partition, None)

    @rule(target=receipts, partition=st.integers(0, 2), skipped=st.integers(0, 3))
    def deliver(self, partition: int, skipped: int) -> object:
        if partition not in self.held:
            return multiple()
        offset = self.log_position[partition] + skipped
        receipt = self.tracker.deliver(partition, offset)
        self.held[partition].append((offset, receipt))
        self.log_position[partition] = offset + 1
        return receipt

    @rule(receipt=receipts)
    def acknowledge(self, receipt: Receipt[int]) -> None:
        self.tracker.acknowledge(receipt)
        self.acked.add(receipt)

    @rule(receipt=consumes(receipts))
    def acknowledge_for_the_last_time(self, receipt: Receipt[int]) -> None:
        self.acknowledge(receipt)

    @rule()
    def commit(self) -> None:
        offsets = self.tracker.committable()
        for partition, offset in offsets.items():
            assert offset > self.group.get(partition, -1)  # never backwards
        self.group.update(offsets)
        self.tracker.committed(offsets)

    @invariant()
    def no_delivery_is_committed_before_it_is_acknowledged(self) -> None:
        if not hasattr(self, "tracker"):
            return
        for partition, offset in self.tracker.committable().items():
            for delivered, receipt in self.held[partition]:
                assert delivered >= offset or receipt in self.acked

    @invariant()
    def the_longest_run_is_committable(self) -> None:
        if not hasattr(self, "tracker"):
            return
        offsets = self.tracker.committable()
        for partition, deliveries in self.held.items():
            run = None
            for delivered, receipt in deliveries:
                if receipt not in self.acked:
                    break
                run = delivered + 1
            if run is not None and run != self.group.get(partition):
                assert offsets[partition] == run


TestConsumer = Consumer.TestCase
