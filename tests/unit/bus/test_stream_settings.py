"""Settings of the event stream, and what is said of those that cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemons.bus.address import BusKind
from daemons.bus.security import BusSecurity
from daemons.bus.settings_stream import EventStreamSettings
from daemons.runtime.errors import SettingsError


def test_by_default_the_stream_is_in_memory() -> None:
    settings = EventStreamSettings()
    assert settings.address.kind is BusKind.MEMORY
    assert settings.dead_letters == "arriero.events.dead"


def test_a_dead_letter_topic_of_ones_own_is_taken() -> None:
    assert EventStreamSettings(dead_letter_topic="lost.events").dead_letters == "lost.events"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"url": "kafka://a"}, "port of `a` is missing"),
        ({"topic": "a/b"}, "match pattern"),
        ({"topic": "events", "dead_letter_topic": "events"}, "must not be `topic`"),
        ({"partitions": 0}, "greater than or equal to 1"),
        ({"publish_timeout_s": 0}, "greater than 0"),
        ({"acks": 0}, "Extra inputs are not permitted"),
        ({"security": {"protocol": "SASL_SSL"}}, "needs `username` and `password`"),
        ({"security": {"username": "night"}}, "both `username` and `password`"),
        ({"security": {"key_file": "key.pem"}}, "both `certificate_file` and `key_file`"),
        ({"url": "mqtt://a:1883", "security": {"protocol": "SSL"}}, "write mqtts://"),
    ],
)
def test_what_cannot_be_used_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EventStreamSettings.model_validate(given)


def test_every_setting_has_a_sentence() -> None:
    for model in (EventStreamSettings, BusSecurity):
        source = Path(str(model.__module__).replace(".", "/") + ".py")
        text = (Path(__file__).parents[3] / source).read_text()
        for name in model.model_fields:
            line = next(line for line in text.splitlines() if line.startswith(f"    {name}: "))
            following = text.splitlines()[text.splitlines().index(line) + 1]
            assert following.startswith('    """'), name


def test_a_password_is_read_each_time(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    secret.chmod(0o600)
    security = BusSecurity.model_validate({"username": "night", "password": {"file": secret}})
    assert security.read_password() == "old"
    secret.write_text("new\n")
    assert security.read_password() == "new"
    assert BusSecurity().read_password() is None


def test_tls_checks_names_and_certificates() -> None:
    context = BusSecurity().tls_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_ca_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        BusSecurity(ca_file=file).tls_context()
