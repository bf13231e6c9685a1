from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import BusError, ControlMessage, Topic
from daemons.bus.control.mqtt import MqttCodec, MqttDialect
from daemons.bus.control.private_fields import Stamper
from daemons.bus.sal.dictionary import load_dictionary
from daemons.runtime.clock import SystemClock

CODEC = MqttCodec(load_dictionary(), SystemClock())
DIALECT = MqttDialect(prefix="observatory/sal")
TEMPERATURE = Topic("ESS", "temperature", 301)


def message(topic: Topic, fields: dict[str, Any]) -> ControlMessage:
    return Stamper("me", SystemClock()).stamp(topic, fields)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (Topic("MTCamera", "logevent_startIntegration"), "MTCamera/logevent_startIntegration"),
        (Topic("ESS", "temperature", 301), "ESS/301/temperature"),
    ],
)
def test_names_of_topics(topic: Topic, name: str) -> None:
    assert DIALECT.name(topic) == f"observatory/sal/{name}"
    assert DIALECT.topic(DIALECT.name(topic)) == topic


def test_index_zero_reads_with_and_without_index() -> None:
    assert DIALECT.filters([Topic("ESS", "temperature"), Topic("DIMM", "x", 1)]) == [
        "observatory/sal/DIMM/1/x",
        "observatory/sal/ESS/+/temperature",
        "observatory/sal/ESS/temperature",
    ]


@pytest.mark.parametrize("component", ["a/b", "a+", "#", "a\0"])
def test_character_that_mqtt_reserves_is_refused(component: str) -> None:
    with pytest.raises(BusError, match="cannot be an MQTT topic"):
        DIALECT.name(Topic(component, "x"))


@pytest.mark.parametrize("name", ["observatory/sal/A/b/x", "observatory/sal/A/1/2/x", "x"])
def test_name_that_is_no_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DIALECT.topic(name)


@given(
    st.dictionaries(
        st.text("abcxyz", min_size=1),
        st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.lists(st.integers()),
    )
)
def test_any_payload_comes_back(fields: dict[str, Any]) -> None:
    topic = Topic("DomeOfOurs", "slit", 3)
    sent = message(topic, fields)
    assert CODEC.decode(topic, CODEC.encode(sent)) == sent


def test_number_that_is_none_is_null_in_json_and_nan_again_for_us() -> None:
    whole = load_dictionary().complete(
        TEMPERATURE, {"temperatureItem": [8.25, math.nan, math.inf], "timestamp": math.nan}
    )
    payload = CODEC.encode(message(TEMPERATURE, whole))
    assert json.loads(payload)["temperatureItem"] == [8.25, None, None]
    fields = CODEC.decode(TEMPERATURE, payload).fields
    assert fields["temperatureItem"][0] == 8.25
    assert [math.isnan(value) for value in fields["temperatureItem"][1:]] == [True, True]
    assert math.isnan(fields["timestamp"])


def test_payload_of_a_site_without_private_fields_counts_as_sent_now() -> None:
    before = SystemClock().tai()
    read = CODEC.decode(TEMPERATURE, b'{"temperatureItem": [8, 9.5], "timestamp": 5}')
    assert before <= read.sent <= SystemClock().tai()
    assert read.fields == {"temperatureItem": [8.0, 9.5], "timestamp": 5.0}
    assert type(read.fields["timestamp"]) is float
    assert read.topic == TEMPERATURE


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"7", b"\xff", b'{"private_seqNum": "x"}', b'{"private_sndStamp": []}'],
)
def test_payload_that_is_no_message_is_an_error_for_the_caller(payload: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        CODEC.decode(TEMPERATURE, payload)


def test_value_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(BusError, match="cannot be written as JSON"):
        CODEC.encode(message(Topic("DomeOfOurs", "slit"), {"raw": b"\x00"}))
