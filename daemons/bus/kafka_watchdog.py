"""Whether a Kafka consumer gets on, or is only alive.

aiokafka's consumers can stay alive and idle after a broker restart or a
rebalance, with no error and no public sign of it (aiokafka issues 1037, 1154).
So progress is judged from outside: where the consumer is against where the
partition ends, whether the broker counts us among the group's members, and
when records were last asked for. `StallJudge` is pure; `KafkaProbe` asks the
broker over connections of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient

from daemons.bus.kafka_client import KafkaCluster


@dataclass(frozen=True, slots=True)
class Position:
    """Where a consumer is in a partition, and where the partition ends."""

    position: int | None
    """Next offset to be read; None while the consumer has not found out."""
    end: int
    """Offset that the next record will have."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a consumer."""

    at: float
    """Seconds on a clock that never steps."""
    positions: Mapping[TopicPartition, Position]
    """The partitions that it reads."""
    is_member: bool
    """Whether the broker counts it in the group; True without a group."""
    polled_at: float
    """When it last asked for records."""
    is_held_up: bool = False
    """True while the application has not taken what was read: no fault of the consumer's."""

    @property
    def lag(self) -> int:
        """Records that are still to be read, of the partitions whose position is known."""
        return sum(
            max(0, place.end - place.position)
            for place in self.positions.values()
            if place.position is not None
        )


@dataclass(slots=True)
class StallJudge:
    """Says when a consumer is stuck, from a series of looks."""

    stall_after_s: float
    _behind: dict[TopicPartition, tuple[int | None, float]] = field(default_factory=dict)
    """Partition → position at which it is behind, and since when."""
    _no_member_since: float | None = None
    _watched_since: float | None = None

    def forget(self) -> None:
        """Begin anew: the broker could not be asked, so nothing is known."""
        self._behind.clear()
        self._no_member_since = None
        self._watched_since = None

    def judge(self, look: Progress) -> str | None:
        """Return why the consumer counts as stuck, or None."""
        if look.is_held_up:
            self.forget()
            return None
        if self._watched_since is None:
            self._watched_since = look.at
        silent_s = look.at - max(look.polled_at, self._watched_since)
        if silent_s >= self.stall_after_s:
            return f"it has not asked for records for {silent_s:.0f} s"
        return self._judge_membership(look) or self._judge_positions(look)

    def _judge_membership(self, look: Progress) -> str | None:
        if look.is_member:
            self._no_member_since = None
            return None
        if self._no_member_since is None:
            self._no_member_since = look.at
        missing_s = look.at - self._no_member_since
        if missing_s >= self.stall_after_s:
            return f"the broker has not counted it among the group's members for {missing_s:.0f} s"
        return None

    def _judge_positions(self, look: Progress) -> str | None:
        behind: dict[TopicPartition, tuple[int | None, float]] = {}
        stuck = []
        for partition, place in look.positions.items():
            if place.position is not None and place.position >= place.end:
                continue
            before = self._behind.get(partition)
            if before is None or before[0] != place.position:
                before = (place.position, look.at)
            behind[partition] = before
            if look.at - before[1] >= self.stall_after_s:
                where = "nowhere" if place.position is None else f"at {place.position}"
                stuck.append(
                    f"{partition.topic}[{partition.partition}] stays {where} of {place.end}"
                )
        self._behind = behind
        return f"{', '.join(stuck)} for {self.stall_after_s:g} s" if stuck else None


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a consumer group, as the broker sees it."""

    member_id: str
    """Begins with the static member's name, where it has one."""
    client_id: str


class KafkaProbe:
    """Asks a cluster where its partitions end and who is in a group.

    Parameters
    ----------
    cluster
        Whom to ask; the probe's clients carry the suffix `-probe`.
    """

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset that the next record of each partition will have.

        Raises
        ------
        KafkaError, OSError
            The cluster does not answer; the next call connects anew.
        """
        try:
            async with asyncio.timeout(self._cluster.timing.request_timeout_s):
                if self._consumer is None:
                    self._consumer = AIOKafkaConsumer(**self._options(), enable_auto_commit=False)
                    await self._consumer.start()
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions)
                return ends
        except BaseException:
            await self.close()
            raise

    async def members(self, group: str) -> list[GroupMember]:
        """Return the members of a group.

        Raises
        ------
        KafkaError, OSError
            The cluster does not answer; the next call connects anew.
        """
        try:
            async with asyncio.timeout(self._cluster.timing.request_timeout_s):
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(**self._options())
                    await self._admin.start()
                answers = await self._admin.describe_consumer_groups([group])
        except BaseException:
            await self.close()
            raise
        return list(_members(answers))

    async def close(self) -> None:
        """Disconnect. Idempotent; the next question connects anew."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._cluster.timing.stop_timeout_s):
                if consumer is not None:
                    await consumer.stop()
                if admin is not None:
                    await admin.close()

    def _options(self) -> dict[str, Any]:
        return self._cluster.options() | {"client_id": f"{self._cluster.client_id}-probe"}


def _members(answers: Collection[Any]) -> Iterator[GroupMember]:
    for answer in answers:
        for error_code, _group, _state, _type, _protocol, members, *_ in answer.groups:
            error = kafka_errors.for_code(error_code)
            if error is not kafka_errors.NoError:
                raise error
            yield from (GroupMember(member[0], member[1]) for member in members)
