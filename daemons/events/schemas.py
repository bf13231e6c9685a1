"""The published form of the catalogue: JSON Schemas and an AsyncAPI document.

`documents` computes them from the models; the files in `config/events/` are its
output, and a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from daemons.events.catalogue import CATALOGUE, EventData
from daemons.events.envelope import CONTENT_TYPE, Event

_JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_GENERATED = "# Generated from daemons/events/catalogue.py by `make schemas`; do not edit.\n"


def data_schema(model: type[EventData]) -> dict[str, Any]:
    """Return the JSON Schema of a fact's data."""
    return {
        "$schema": _JSON_SCHEMA_DIALECT,
        "$id": f"{model.event_type}.json",
        **model.model_json_schema(mode="serialization"),
    }


def envelope_schema() -> dict[str, Any]:
    """Return the JSON Schema of the envelope."""
    return {
        "$schema": _JSON_SCHEMA_DIALECT,
        "$id": "envelope.json",
        **Event.model_json_schema(mode="serialization"),
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the event stream."""
    messages = {
        name: {
            "name": name,
            "contentType": CONTENT_TYPE,
            "summary": _first_line(model),
            "payload": {
                "allOf": [
                    {"$ref": "./envelope.json"},
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": name},
                            "data": {"$ref": f"./{name}.json"},
                        },
                    },
                ]
            },
        }
        for name, model in CATALOGUE.items()
    }
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "arriero event stream",
            "version": "1",
            "description": (
                "Facts about images, exposures and headers, as CloudEvents 1.0 in structured "
                "JSON. Delivery is at least once; `source` and `id` identify a fact; events "
                "with the same `partitionkey` keep their order. Fields are only ever added."
            ),
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "events": {
                "address": "arriero.events",
                "description": (
                    "On Kafka one topic, keyed by `partitionkey`; on MQTT one topic per event "
                    "type, `arriero.events/{type}`, QoS 1. The name is a setting."
                ),
                "messages": references,
            }
        },
        "operations": {
            "announce": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "A service announces what has happened.",
            }
        },
        "components": {"messages": messages},
    }


def documents() -> Mapping[str, str]:
    """Return every generated file of the catalogue: name below `config/events/` to text."""
    files = {f"{name}.json": _json(data_schema(model)) for name, model in CATALOGUE.items()}
    files["envelope.json"] = _json(envelope_schema())
    files["asyncapi.yaml"] = _GENERATED + yaml.safe_dump(asyncapi(), sort_keys=False, width=100)
    return files


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def _first_line(model: type[EventData]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
