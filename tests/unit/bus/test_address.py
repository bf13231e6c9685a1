"""Bus URLs, and what is said of those that cannot be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus.address import AddressError, BusAddress, BusKind, Endpoint, parse_address
from daemons.runtime.errors import SettingsError

HOSTS = st.from_regex(r"\A[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5})?\Z")
ENDPOINTS = st.builds(Endpoint, host=HOSTS, port=st.integers(1, 65535))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("memory:", BusAddress(BusKind.MEMORY)),
        ("memory:night", BusAddress(BusKind.MEMORY, name="night")),
        ("kafka://a:9092", BusAddress(BusKind.KAFKA, (Endpoint("a", 9092),))),
        (
            "kafka://a:9092,b.example.org:9093",
            BusAddress(BusKind.KAFKA, (Endpoint("a", 9092), Endpoint("b.example.org", 9093))),
        ),
        ("KAFKA://a:9092/", BusAddress(BusKind.KAFKA, (Endpoint("a", 9092),))),
        ("mqtt://127.0.0.1:1883", BusAddress(BusKind.MQTT, (Endpoint("127.0.0.1", 1883),))),
        ("mqtts://[::1]:8883", BusAddress(BusKind.MQTT, (Endpoint("::1", 8883),), tls=True)),
    ],
)
def test_known_forms_are_taken_apart(url: str, address: BusAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "no bus URL"),
        ("memory", "no bus URL"),
        ("http://a:80", "no bus URL"),
        ("memory://a", "has no host"),
        ("kafka:a:9092", "`//` is missing"),
        ("kafka://", "host is missing"),
        ("kafka://a", "port of `a` is missing"),
        ("kafka://a:9092,b", "port of `b` is missing"),
        ("kafka://a:9092,", "host is missing"),
        ("kafka://a:0", "port of `a` is missing"),
        ("kafka://a:99999", "is no HOST:PORT"),
        ("kafka://a:many", "is no HOST:PORT"),
        ("kafka://a:9092/topic", "nothing may follow the port"),
        ("kafka://a:9092?acks=0", "nothing may follow the port"),
        ("mqtt://a:1883,b:1883", "takes one broker, not 2"),
        ("mqtt://a", "port of `a` is missing"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint):
        parse_address(url)


def test_a_password_in_a_url_is_refused_without_being_repeated() -> None:
    with pytest.raises(AddressError, match="`security`") as caught:
        parse_address("kafka://night:hunter2@a:9092")
    assert "hunter2" not in str(caught.value)


def test_the_error_is_a_settings_error_that_pydantic_can_place() -> None:
    assert issubclass(AddressError, SettingsError)
    assert issubclass(AddressError, ValueError)
    assert AddressError.exit_code == 78


@given(st.lists(ENDPOINTS, min_size=1, max_size=4))
def test_an_address_reads_as_it_is_written(endpoints: list[Endpoint]) -> None:
    address = BusAddress(BusKind.KAFKA, tuple(endpoints))
    assert parse_address(str(address)) == address


@given(st.text(max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address
