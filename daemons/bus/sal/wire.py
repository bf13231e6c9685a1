"""How a SAL message lies on Kafka: topic name, key, and Confluent framing of the value.

::

    topic   lsst.{subname}.{Component}.{sal_name}
    key     text; of zero bytes for telemetry
    value   0x00, schema id (4 bytes, big-endian), Avro binary

Exceptions::

    WireError    (ValueError) bytes that are no SAL message
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import fastavro

from daemons.bus.interface import Topic
from daemons.bus.sal.schema import AvroSchema

_FRAME = struct.Struct(">bI")
_MAGIC = 0


class WireError(ValueError):
    """Bytes that are no SAL message; reading them again does not help."""


def kafka_topic(subname: str, topic: Topic) -> str:
    """Return the name of a topic on Kafka; all indices of a component share it."""
    return f"lsst.{subname}.{topic.component}.{topic.name}"


def subject(kafka_name: str) -> str:
    """Return the registry's subject of a Kafka topic."""
    return f"{kafka_name}-value"


def sal_topic(kafka_name: str) -> Topic:
    """Return which topic a name on Kafka stands for, without index.

    Raises
    ------
    WireError
        The name has fewer than three parts.
    """
    parts = kafka_name.rsplit(".", 2)
    if len(parts) != 3:  # noqa: PLR2004 - prefix, component, topic
        raise WireError(f"{kafka_name} is no SAL topic")
    return Topic(parts[1], parts[2])


def message_key(topic: Topic, *, indexed: bool) -> bytes:
    """Return the key of a message: constant per topic and index, so that compaction keeps the last.

    Parameters
    ----------
    topic
        Where the message goes.
    indexed
        Whether the component is indexed; its key then carries the index, even 0.
    """
    if not (topic.is_event or topic.is_command or topic.name == "ackcmd"):
        return b""
    index = f'"index": {topic.index}, ' if indexed else ""
    return f'{{ "name": "{topic.component}", {index}"topic": "{topic.name}" }}'.encode()


def encode(schema_id: int, schema: AvroSchema, record: Mapping[str, Any]) -> bytes:
    """Return the value of a message.

    Parameters
    ----------
    schema_id
        The registry's id of the schema.
    schema
        What to write with; fields that the record lacks get their defaults.
    record
        Payload and private fields.

    Raises
    ------
    WireError
        A value does not fit its field.
    """
    buffer = io.BytesIO()
    buffer.write(_FRAME.pack(_MAGIC, schema_id))
    try:
        fastavro.schemaless_writer(buffer, schema.parsed, record)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise WireError(f"{schema.full_name} cannot be written: {error}") from error
    return buffer.getvalue()


def schema_id(value: bytes | None) -> int:
    """Return the id of the schema that a value was written with.

    Raises
    ------
    WireError
        The value is absent, too short, or does not begin with the magic byte.
    """
    if value is None:
        raise WireError("the message has no value (a tombstone)")
    if len(value) < _FRAME.size:
        raise WireError(f"the value has only {len(value)} bytes, the frame alone has {_FRAME.size}")
    magic, number = _FRAME.unpack_from(value)
    if magic != _MAGIC:
        raise WireError(f"the value begins with byte {value[0]:#04x}, not with 0x00")
    return int(number)


def decode(value: bytes, schema: AvroSchema) -> dict[str, Any]:
    """Return the record of a value, with exactly the fields that its writer's schema has.

    Parameters
    ----------
    value
        The whole value, frame included.
    schema
        The writer's schema, by the frame's id.

    Raises
    ------
    WireError
        The bytes are no such record.
    """
    buffer = io.BytesIO(value)
    buffer.seek(_FRAME.size)
    try:
        record: Any = fastavro.schemaless_reader(buffer, schema.parsed, None)
    except (EOFError, ValueError, TypeError, IndexError, OverflowError, struct.error) as error:
        raise WireError(f"no record of {schema.full_name}: {error!r}") from error
    rest = len(value) - buffer.tell()
    if rest or not isinstance(record, dict):
        raise WireError(f"{rest} bytes are left over after a record of {schema.full_name}")
    return record
