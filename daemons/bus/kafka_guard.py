"""Two guards around aiokafka: asking for topics creates none, and only we cancel.

A broker that creates topics by itself does so when it is merely asked for their
metadata, and then with its own settings, not with ours. So we ask in the way that
creates nothing, and read only what exists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

if TYPE_CHECKING:
    from daemons.bus.kafka_client import KafkaCluster

ResultT = TypeVar("ResultT")

_CONNECTION = frozenset(
    {"client_id", "request_timeout_ms", "security_protocol", "ssl_context"}
    | {"sasl_mechanism", "sasl_plain_username", "sasl_plain_password"}
)
"""Of the options of a client, those that a single connection takes."""


@dataclass(frozen=True, slots=True)
class Existing:
    """What a broker says of some topics."""

    partitions: frozenset[TopicPartition]
    """Of the topics that are there."""
    undecided: frozenset[str]
    """Topics that are there, without saying more now: a leader is being chosen."""

    def of(self, topic: str) -> tuple[int, ...]:
        """Return the partitions of a topic; none where it does not exist."""
        return tuple(sorted(found.partition for found in self.partitions if found.topic == topic))


async def existing_partitions(cluster: KafkaCluster, topics: Collection[str]) -> Existing:
    """Return the partitions of those topics that exist, and create none.

    Raises
    ------
    KafkaError, OSError, TimeoutError
        No broker answers, or we may not see a topic.
    """
    options = {key: value for key, value in cluster.options().items() if key in _CONNECTION}
    failure: Exception = kafka_errors.KafkaConnectionError("the address names no broker")
    for endpoint in cluster.address.endpoints:
        try:
            async with asyncio.timeout(cluster.timing.request_timeout_s):
                connection = await create_conn(endpoint.host, endpoint.port, **options)
        except (KafkaError, OSError, TimeoutError) as error:
            failure = error
            continue
        try:
            request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
            answer = (await connection.send(request)).to_object()
        finally:
            connection.close()
        return _existing(answer["topics"])
    raise failure


def _existing(topics: Iterable[Mapping[str, Any]]) -> Existing:
    found = set()
    undecided = set()
    for topic in topics:
        error = kafka_errors.for_code(topic["error_code"])
        if error is kafka_errors.LeaderNotAvailableError:
            undecided.add(topic["topic"])
        elif error is kafka_errors.NoError:
            found |= {
                TopicPartition(topic["topic"], entry["partition"]) for entry in topic["partitions"]
            }
        elif error is not kafka_errors.UnknownTopicOrPartitionError:
            raise error(topic["topic"])
    return Existing(frozenset(found), frozenset(undecided))


async def uncancelled(call: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await what uses aiokafka, and tell a lost connection from a cancellation.

    When a connection ends, aiokafka cancels futures of its own, and that comes out of
    its calls as `CancelledError` although nobody has cancelled the task.

    Raises
    ------
    KafkaConnectionError
        That has happened.
    """
    try:
        return await call
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise kafka_errors.KafkaConnectionError("the connection was lost") from error
