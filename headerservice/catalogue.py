"""What the topics of the control bus carry: as the dictionary says, or as a registry has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import FieldSpec, SalDictionary, TopicSpec
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.wire import kafka_topic, subject

_SAL_TYPES: Mapping[str, str] = {
    "boolean": "boolean",
    "int": "int",
    "long": "long long",
    "float": "float",
    "double": "double",
    "string": "string",
}
"""A SAL type of each Avro type."""
_NO_UNIT = "unitless"


class Catalogue(Protocol):
    """Tells what a topic carries; the SAL dictionary is one."""

    @property
    def enums(self) -> Mapping[str, Mapping[str, int]]:
        """Members by name of `Component.Enumeration`."""
        ...

    def get(self, topic: Topic) -> TopicSpec:
        """Return what a topic carries; raises `BusError` where there is no such topic."""
        ...


class RegistryCatalogue:
    """The topics as a schema registry has them, and the dictionary for what it lacks.

    Parameters
    ----------
    dictionary
        For enumerations, indices, and topics that nobody has registered yet.
    registered
        What the registry has, by topic without index.
    """

    def __init__(self, dictionary: SalDictionary, registered: Mapping[Topic, TopicSpec]) -> None:
        self._dictionary = dictionary
        self._registered = registered

    @property
    def enums(self) -> Mapping[str, Mapping[str, int]]:
        """Members by name of `Component.Enumeration`; a registry has none."""
        return self._dictionary.enums

    def get(self, topic: Topic) -> TopicSpec:
        """Return what a topic carries.

        Raises
        ------
        BusError
            Neither has it, or the component has no index.
        """
        spec = self._registered.get(Topic(topic.component, topic.name))
        if spec is None:
            return self._dictionary.get(topic)
        if topic.index and not spec.indexed:
            raise BusError(f"{topic.component} is not indexed, so there is no {topic}")
        return spec


async def ask_registry(
    registry: SchemaRegistry, topics: Iterable[Topic], *, subname: str
) -> dict[Topic, TopicSpec]:
    """Return what a registry has of some topics; a topic that it does not have is left out.

    Parameters
    ----------
    registry
        The registry.
    topics
        With or without index.
    subname
        Second part of the topics' names on Kafka.

    Raises
    ------
    BusUnavailableError
        The registry does not answer.
    """
    found: dict[Topic, TopicSpec] = {}
    for topic in sorted({Topic(each.component, each.name) for each in topics}):
        latest = await registry.latest(subject(kafka_topic(subname, topic)))
        if latest is not None:
            found[topic] = topic_spec(topic, latest.schema.document)
    return found


def topic_spec(topic: Topic, schema: Mapping[str, Any]) -> TopicSpec:
    """Return what an Avro record says of a topic; fields of other types are left out."""
    fields = [_field(each) for each in schema["fields"] if isinstance(each, Mapping)]
    return TopicSpec(
        topic.component,
        topic.name,
        indexed=any(each is not None and each.name == "salIndex" for each in fields),
        fields=tuple(
            each
            for each in fields
            if each is not None and not each.name.startswith(("private_", "salIndex"))
        ),
    )


def _field(document: Mapping[str, Any]) -> FieldSpec | None:
    kind, nullable, count = document.get("type"), False, 1
    if isinstance(kind, list):
        nullable = "null" in kind
        kind = next((each for each in kind if each != "null"), None)
    if isinstance(kind, Mapping) and kind.get("type") == "array":
        zero = document.get("default")
        count = max(2, len(zero)) if isinstance(zero, list) else 2
        kind = kind.get("items")
    if not isinstance(kind, str) or kind not in _SAL_TYPES:
        return None
    units = document.get("units")
    return FieldSpec(
        name=str(document.get("name", "")),
        sal_type=_SAL_TYPES[kind],
        units="" if not isinstance(units, str) or units == _NO_UNIT else units,
        count=count,
        nullable=nullable,
    )
