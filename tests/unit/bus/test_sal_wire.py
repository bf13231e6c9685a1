from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.schema import AvroSchema, full_name, sal_schema
from daemons.bus.sal.wire import (
    WireError,
    decode,
    encode,
    kafka_topic,
    message_key,
    sal_topic,
    schema_id,
    subject,
)
from tests.unit.bus.sal_samples import SAMPLES, Sample

every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kafka_topic)


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Compare through JSON, where NaN is like NaN."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@every_sample
def test_value_is_the_same_bytes_with_a_schema_of_names_and_types(sample: Sample) -> None:
    schema = AvroSchema(json.dumps(sample.schema))
    assert encode(sample.schema_id, schema, sample.record) == sample.value


@every_sample
def test_value_is_the_same_bytes_with_our_own_schema(sample: Sample) -> None:
    schema = sal_schema(load_dictionary().get(sal_topic(sample.kafka_topic)))
    assert encode(sample.schema_id, schema, sample.record) == sample.value


@every_sample
def test_value_is_read_as_it_was_meant(sample: Sample) -> None:
    assert schema_id(sample.value) == sample.schema_id
    schema = AvroSchema(json.dumps(sample.schema))
    assert schema.full_name == full_name(*sample.kafka_topic.split(".")[2:])
    assert same(decode(sample.value, schema), sample.record)


@every_sample
def test_key_is_the_same_bytes(sample: Sample) -> None:
    topic = replace(sal_topic(sample.kafka_topic), index=sample.record.get("salIndex", 0))
    indexed = load_dictionary().is_indexed(topic.component)
    assert message_key(topic, indexed=indexed) == sample.key


@every_sample
def test_names_are_those_of_the_bus(sample: Sample) -> None:
    topic = sal_topic(sample.kafka_topic)
    assert kafka_topic("rig", topic) == sample.kafka_topic
    assert subject(sample.kafka_topic) == f"{sample.kafka_topic}-value"


def test_mirrored_bus_with_a_prefix_is_understood() -> None:
    topic = sal_topic("summit.lsst.sal.MTCamera.logevent_startIntegration")
    assert topic == Topic("MTCamera", "logevent_startIntegration")


def test_name_that_is_no_sal_topic_is_refused() -> None:
    with pytest.raises(WireError, match="events is no SAL topic"):
        sal_topic("events")


def test_index_stands_in_the_middle_of_the_key_even_when_it_is_zero() -> None:
    key = message_key(Topic("ScriptQueue", "command_start", 0), indexed=True)
    assert key == b'{ "name": "ScriptQueue", "index": 0, "topic": "command_start" }'


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "no value"),
        (b"", "only 0 bytes"),
        (b"\x00\x00\x00\x01", "only 4 bytes"),
        (b"\x01\x00\x00\x00\x01", "begins with byte 0x01"),
    ],
)
def test_frame_that_is_none_is_named(value: bytes | None, says: str) -> None:
    with pytest.raises(WireError, match=says):
        schema_id(value)


def test_bytes_that_are_left_over_are_refused() -> None:
    sample = SAMPLES[0]
    schema = AvroSchema(json.dumps(sample.schema))
    with pytest.raises(WireError, match="2 bytes are left over"):
        decode(sample.value + b"\x00\x00", schema)


@every_sample
def test_cut_value_is_refused_wherever_it_is_cut(sample: Sample) -> None:
    schema = AvroSchema(json.dumps(sample.schema))
    for length in range(5, len(sample.value)):
        with pytest.raises(WireError):
            decode(sample.value[:length], schema)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_wire_error(body: bytes) -> None:
    schema = AvroSchema(json.dumps(SAMPLES[-1].schema))
    try:
        record = decode(b"\x00\x00\x00\x00\x01" + body, schema)
    except WireError:
        return
    assert set(record) == set(SAMPLES[-1].record)


def test_field_that_the_writer_does_not_have_is_absent_not_zero() -> None:
    sample = SAMPLES[1]
    fields = sample.fields[:-1]
    schema = AvroSchema(json.dumps(replace(sample, fields=fields).schema))
    value = encode(7, schema, sample.record)
    assert "summaryState" not in decode(value, schema)


def test_value_that_does_not_fit_is_refused_on_writing() -> None:
    schema = AvroSchema(json.dumps(SAMPLES[1].schema))
    with pytest.raises(WireError, match="logevent_summaryState cannot be written"):
        encode(1, schema, {**SAMPLES[1].record, "summaryState": "five"})
