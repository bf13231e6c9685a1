from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from daemons.bus.address import BusKind
from daemons.bus.settings_control import ControlBusSettings


def test_memory_is_the_default() -> None:
    settings = ControlBusSettings()
    assert settings.address.kind is BusKind.MEMORY
    assert settings.subname == "sal"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "amqp://x:1"}, "no bus URL"),
        ({"url": "kafka://broker:9092"}, "needs `registry_url`"),
        ({"subname": "a.b"}, "subname"),
        ({"prefix": "a/#"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"replication": 0}, "replication"),
        ({"identity": ""}, "identity"),
        ({"topic_prefix": "sal"}, "topic_prefix"),
        ({"registry_url": "registry:8081"}, "registry_url"),
        ({"registry_access": {"username": "x"}}, "password"),
    ],
)
def test_setting_that_cannot_be_used_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ControlBusSettings(**settings)


def test_kafka_with_a_registry_is_fine() -> None:
    settings = ControlBusSettings(
        url="kafka://a:9092,b:9092", registry_url="http://registry:8081/apis/ccompat/v7"
    )
    assert settings.address.servers == ("a:9092", "b:9092")
