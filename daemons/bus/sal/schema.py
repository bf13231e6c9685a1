"""Avro schemas of SAL topics, as SAL writes them.

A schema is generated from the dictionary: private fields, then the payload, every
field with its zero default and units. Our schemas carry short descriptions of our
own, so their revision code differs from that of the same topic written by other
software; readers resolve by name and do not look at it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from daemons.bus.control.private_fields import PRIVATE_FIELDS, SAL_INDEX
from daemons.bus.interface import BusError
from daemons.bus.sal.dictionary import FieldSpec, TopicSpec

NAMESPACE = "lsst.sal"
"""First part of every record's namespace, whatever the bus is called."""

_REVISION_DIGITS = 8
_PRIVATE_NOTES: Mapping[str, str] = {
    SAL_INDEX: "index of the component",
    "private_sndStamp": "when it was sent, TAI",
    "private_rcvStamp": "when it was received, TAI; set by the reader",
    "private_efdStamp": "when it was sent, UTC",
    "private_kafkaStamp": "when it was given to Kafka, TAI",
    "private_seqNum": "counts per sender and topic",
    "private_revCode": "revision of the schema",
    "private_identity": "who sent it",
    "private_origin": "process that sent it",
}
_ZEROS: Mapping[str, Any] = {"double": 0.0, "int": 0, "string": ""}


@dataclass(frozen=True)
class AvroSchema:
    """A schema as the registry keeps it, and what follows from it."""

    text: str
    """The JSON text."""

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The schema as JSON object.

        Raises
        ------
        BusError
            The text is no Avro record.
        """
        try:
            document = json.loads(self.text)
        except ValueError as error:
            raise BusError(f"the registry holds a schema that is no JSON: {error}") from error
        if not isinstance(document, dict) or not _is_record(document):
            raise BusError(f"the registry holds a schema that is no Avro record: {self.text[:80]}")
        return document

    @cached_property
    def parsed(self) -> Any:
        """The schema as fastavro wants it.

        Raises
        ------
        BusError
            The text is no Avro schema.
        """
        try:
            return fastavro.parse_schema(dict(self.document))
        except (SchemaParseException, KeyError, TypeError, ValueError) as error:
            raise BusError(f"the registry holds a schema that cannot be used: {error}") from error

    @cached_property
    def full_name(self) -> str:
        """Namespace and name, such as `lsst.sal.MTCamera.logevent_startIntegration`."""
        name = str(self.document.get("name", ""))
        namespace = str(self.document.get("namespace", ""))
        return name if "." in name or not namespace else f"{namespace}.{name}"

    @cached_property
    def revision(self) -> str:
        """`private_revCode`: the first eight digits of the MD5 of the indented schema."""
        text = json.dumps(self.document, indent=4)
        digest = hashlib.md5(text.encode(), usedforsecurity=False)
        return digest.hexdigest()[:_REVISION_DIGITS]

    def has(self, name: str) -> bool:
        """Return whether records have a field."""
        return name in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(field["name"] for field in self.document["fields"])

    def covers(self, other: AvroSchema) -> bool:
        """Return whether records of another schema can be written with this one.

        True when it is the same record, has every field of the other with the same
        type, and a default for each of its own.
        """
        mine = {field["name"]: field for field in self.document["fields"]}
        theirs = {field["name"]: field for field in other.document["fields"]}
        return (
            self.full_name == other.full_name
            and all(
                name in mine and mine[name]["type"] == field["type"]
                for name, field in theirs.items()
            )
            and all("default" in field for name, field in mine.items() if name not in theirs)
        )


def _is_record(document: Mapping[str, Any]) -> bool:
    return document.get("type") == "record" and isinstance(document.get("fields"), list)


def full_name(component: str, topic: str) -> str:
    """Return the full name of a topic's record."""
    return f"{NAMESPACE}.{component}.{topic}"


def sal_schema(spec: TopicSpec) -> AvroSchema:
    """Return the schema of a topic."""
    index = [_private(SAL_INDEX, "int", "unitless")] if spec.indexed else []
    private = [_private(*row) for row in PRIVATE_FIELDS]
    payload = [_field(field) for field in spec.fields]
    fields = payload + index + private if spec.private_last else index + private + payload
    document = {
        "type": "record",
        "name": spec.name,
        "namespace": f"{NAMESPACE}.{spec.component}",
        "fields": fields,
        "description": f"{_kind(spec.name)} of {spec.component}",
    }
    return AvroSchema(json.dumps(document))


def _kind(name: str) -> str:
    if name.startswith("logevent_"):
        return "event"
    if name.startswith("command_"):
        return "command"
    return "acknowledgement" if name == "ackcmd" else "telemetry"


def _private(name: str, avro_type: str, units: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": avro_type,
        "default": _ZEROS[avro_type],
        "description": _PRIVATE_NOTES[name],
        "units": units,
    }


def _field(field: FieldSpec) -> dict[str, Any]:
    avro_type: Any = field.avro_type
    if field.count > 1:
        avro_type = {"type": "array", "items": avro_type}
    elif field.nullable:
        avro_type = ["null", avro_type]
    return {
        "name": field.name,
        "type": avro_type,
        "default": field.zero,
        "units": field.units or "unitless",
    }
