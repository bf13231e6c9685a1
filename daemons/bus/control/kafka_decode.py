"""From a Kafka record to a message of the control bus."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from daemons.bus.control.private_fields import from_wire
from daemons.bus.control.reporting import ControlReporting
from daemons.bus.interface import (
    BusError,
    BusUnavailableError,
    ControlMessage,
    PoisonMessage,
    Topic,
)
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import full_name
from daemons.bus.sal.wire import WireError, decode, kafka_topic, schema_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription wants of one Kafka topic, which carries all indices."""

    topic: Topic
    """With index 0."""
    indices: frozenset[int]
    """Only these; empty: all."""

    def wants(self, index: int) -> bool:
        """Return whether messages of an index are delivered."""
        return not self.indices or index in self.indices


def wanted_topics(subname: str, topics: Collection[Topic]) -> dict[str, Wanted]:
    """Return what to read, by name on Kafka."""
    indices: dict[Topic, set[int]] = {}
    for topic in topics:
        indices.setdefault(Topic(topic.component, topic.name), set()).add(topic.index)
    return {
        kafka_topic(subname, topic): Wanted(topic, frozenset() if 0 in found else frozenset(found))
        for topic, found in indices.items()
    }


class Decoder:
    """Reads records with the schema that their writer used.

    Parameters
    ----------
    registry
        Where the schemas are.
    reporting
        Told of what cannot be read.
    """

    def __init__(self, registry: SchemaRegistry, reporting: ControlReporting) -> None:
        self._registry = registry
        self._reporting = reporting

    async def read(
        self, record: ConsumerRecord, wanted: Wanted, *, historical: bool = False
    ) -> ControlMessage | None:
        """Return the message of a record; nothing when it is not wanted or cannot be read.

        Raises
        ------
        BusUnavailableError
            Its schema is not known yet and the registry does not answer.
        """
        topic = wanted.topic
        value = record.value
        try:
            schema = await self._registry.by_id(
                schema_id(value), expected=full_name(topic.component, topic.name)
            )
            message = from_wire(
                topic.component,
                topic.name,
                decode(value, schema),
                historical=historical,
                schema=schema.text,
            )
        except BusUnavailableError:
            raise
        except (WireError, BusError, ValueError, TypeError) as error:
            where = f"{record.topic}[{record.partition}]@{record.offset}"
            poison = PoisonMessage(where=where, payload=value or b"", reason=str(error))
            self._reporting.poison(poison, source=record.topic)
            return None
        return message if wanted.wants(message.topic.index) else None
