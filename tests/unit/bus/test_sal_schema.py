from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.schema import AvroSchema, sal_schema
from tests.unit.bus.sal_samples import SAMPLES, Sample


def fields(topic: Topic) -> list[dict[str, Any]]:
    return list(sal_schema(load_dictionary().get(topic)).document["fields"])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kafka_topic)
def test_names_types_and_order_are_those_of_the_bus(sample: Sample) -> None:
    _, _, component, name = sample.kafka_topic.split(".")
    schema = sal_schema(load_dictionary().get(Topic(component, name)))
    assert [(f["name"], f["type"]) for f in schema.document["fields"]] == list(sample.fields)
    assert schema.document["namespace"] == f"lsst.sal.{component}"
    assert schema.full_name == f"lsst.sal.{component}.{name}"


def test_keys_stand_in_the_order_that_the_revision_is_taken_of() -> None:
    schema = sal_schema(load_dictionary().get(Topic("ESS", "temperature")))
    assert list(schema.document) == ["type", "name", "namespace", "fields", "description"]
    text = json.dumps(schema.document, indent=4)
    assert schema.revision == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def test_every_field_has_a_zero_default_and_units() -> None:
    for field in fields(Topic("ScriptQueue", "logevent_nextVisit")):
        assert field["default"] in (0, 0.0, "", False, [0.0, 0.0])
        assert field["units"]
    by_name = {field["name"]: field for field in fields(Topic("ESS", "temperature"))}
    assert by_name["temperatureItem"]["type"] == {"type": "array", "items": "float"}
    assert by_name["temperatureItem"]["default"] == [0.0] * 16
    assert by_name["temperatureItem"]["units"] == "deg_C"
    assert by_name["sensorName"]["units"] == "unitless"


def test_index_comes_first_and_only_where_there_is_one() -> None:
    assert fields(Topic("MTHexapod", "application"))[0]["name"] == "salIndex"
    assert fields(Topic("MTMount", "elevation"))[0]["name"] == "private_sndStamp"


def test_cameras_own_telemetry_is_nullable_with_private_fields_last() -> None:
    own = fields(Topic("MTCamera", "focal_plane_sensor"))
    assert own[0] == {
        "name": "timestamp",
        "type": "long",
        "default": 0,
        "units": "millisecond",
    }
    assert own[1]["type"] == ["null", "double"]
    assert own[1]["default"] is None
    assert own[-1]["name"] == "private_origin"


def test_schema_of_somebody_else_with_more_fields_covers_ours() -> None:
    ours = sal_schema(load_dictionary().get(Topic("MTCamera", "logevent_summaryState")))
    more = json.loads(ours.text)
    more["description"] = "in other words"
    more["fields"].append({"name": "added", "type": "int", "default": 0})
    assert AvroSchema(json.dumps(more)).covers(ours)
    assert not ours.covers(AvroSchema(json.dumps(more)))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(name="logevent_other"),
        lambda d: d["fields"].pop(),
        lambda d: d["fields"][-1].update(type="string"),
        lambda d: d["fields"].append({"name": "needed", "type": "int"}),
    ],
)
def test_schema_that_cannot_carry_ours_does_not_cover_it(change: Any) -> None:
    ours = sal_schema(load_dictionary().get(Topic("MTCamera", "logevent_summaryState")))
    other = json.loads(ours.text)
    change(other)
    assert not AvroSchema(json.dumps(other)).covers(ours)


@pytest.mark.parametrize("text", ["", "{", '"string"', '{"type": "record", "name": "x"}'])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(BusError, match="the registry holds a schema"):
        _ = AvroSchema(text).parsed
