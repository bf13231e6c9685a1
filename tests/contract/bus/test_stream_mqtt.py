"""The event stream on MQTT: acknowledgements, queues, rights, TLS, what foreign clients see."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiomqtt
import pytest

from daemons.bus import BusDeniedError, BusUnavailableError
from daemons.bus.address import parse_address
from daemons.bus.metrics import bus_metrics
from daemons.bus.mqtt_client import MqttBroker, MqttMessage, MqttSession
from daemons.bus.report import ConnectionReport
from daemons.bus.security import BusSecurity
from daemons.runtime.health import HealthBoard
from daemons.runtime.secrets import SecretRef
from tests.contract.bus.stream_reader import doomed_reader, line
from tests.contract.bus.stream_worlds import (
    MQTT_TIMING,
    PATIENCE_S,
    MqttWorld,
    make_event,
    numbers,
    opened,
    take,
    take_acked,
    until,
)
from tests.support.fixtures import Starter
from tests.support.servers import Mosquitto

pytestmark = pytest.mark.server


@pytest.fixture
async def world(mosquitto: Mosquitto) -> AsyncIterator[MqttWorld]:
    world = MqttWorld(mosquitto)
    async with opened(world):
        yield world


@pytest.fixture
async def private(start_mosquitto: Starter[Mosquitto]) -> AsyncIterator[MqttWorld]:
    world = MqttWorld(start_mosquitto())
    async with opened(world):
        yield world


def make_session(
    world: MqttWorld,
    identifier: str,
    *,
    filters: Sequence[str] = (),
    queue_size: int = 1000,
    security: BusSecurity | None = None,
    url: str | None = None,
) -> MqttSession:
    return MqttSession(
        MqttBroker(
            parse_address(url or world.server.mqtt_url), security or BusSecurity(), MQTT_TIMING
        ),
        identifier=f"{world.topic}-{identifier}",
        persistent=True,
        filters=filters,
        report=ConnectionReport(world.health, identifier, world.metrics, "event_stream"),
        queue_size=queue_size,
    )


async def receive(session: MqttSession, count: int) -> list[MqttMessage]:
    async with asyncio.timeout(PATIENCE_S):
        return [await session.receive() for _ in range(count)]


# Acknowledged when dealt with, not when received


async def test_what_a_killed_reader_had_queued_comes_again(world: MqttWorld) -> None:
    stream = world.stream()
    async with doomed_reader(world.server.mqtt_url, world.topic, world.group) as reader:
        async with asyncio.timeout(PATIENCE_S):
            assert await line(reader) == "ready"
            for number in range(5):
                await stream.publish(make_event(number))
            assert [await line(reader) for _ in range(5)] == ["0", "1", "2", "3", "4"]

    async with stream.subscribe(world.group) as subscription:
        assert await take_acked(subscription, 5) == [0, 1, 2, 3, 4]


async def test_what_was_received_and_not_dealt_with_comes_again_after_a_lost_connection(
    private: MqttWorld,
) -> None:
    stream = private.stream(publish_timeout_s=PATIENCE_S)
    async with stream.subscribe(private.group) as subscription:
        await subscription.ready()
        for number in range(5):
            await stream.publish(make_event(number))
        held = await take(subscription, 3)  # two more wait in the queue
        await held[0].ack()
        await asyncio.sleep(0.3)  # for the acknowledgement

        await private.broker_stops()
        await until(lambda: not private.read_health()[0])
        await held[1].ack()  # too late: the connection is gone
        await private.broker_starts()
        assert await take_acked(subscription, 4) == [1, 2, 3, 4]


async def test_an_old_acknowledgement_is_not_taken_for_a_new_message(private: MqttWorld) -> None:
    topic = f"{private.topic}/x"
    async with make_session(private, "reader", filters=[topic]) as reader:
        await reader.ready()
        async with make_session(private, "writer") as writer:
            await writer.publish(topic, b"first", timeout_s=PATIENCE_S)
            [first] = await receive(reader, 1)
            await private.broker_stops()
            await until(lambda: not private.health.dependencies["reader"].ok)
            await private.broker_starts()
            [again] = await receive(reader, 1)
            assert again.payload == b"first"
            assert again._message.mid == first._message.mid
            first.ack()  # of the connection before
            await asyncio.sleep(0.3)

    async with make_session(private, "reader", filters=[topic]) as reader:
        [still_there] = await receive(reader, 1)
        assert still_there.payload == b"first"
        still_there.ack()


async def test_more_than_the_queue_holds_arrives_in_order(
    start_mosquitto: Starter[Mosquitto],
) -> None:
    world = MqttWorld(start_mosquitto(settings=["max_inflight_messages 0"]))
    topic = f"{world.topic}/x"
    async with make_session(world, "reader", filters=[topic]) as reader:
        await reader.ready()
    async with make_session(world, "writer") as writer:
        for number in range(50):
            await writer.publish(topic, b"%d" % number, timeout_s=PATIENCE_S)

    seen = []
    async with make_session(world, "reader", filters=[topic], queue_size=8) as reader:
        await asyncio.sleep(0.5)  # so that the queue overflows before the first is taken
        while len(seen) < 50:
            [message] = await receive(reader, 1)
            seen.append(int(message.payload))
            message.ack()
    assert seen == list(range(50))


async def test_one_slow_delivery_does_not_hold_back_the_others(world: MqttWorld) -> None:
    stream = world.stream()
    async with stream.subscribe(world.group) as subscription:
        await subscription.ready()
        await stream.publish(make_event(0))
        [slow] = await take(subscription, 1)
        for number in range(1, 60):  # three times what mosquitto leaves unacknowledged
            await stream.publish(make_event(number))
        assert await take_acked(subscription, 59) == list(range(1, 60))
        assert slow.message.source == "/arriero/test"

    async with stream.subscribe(world.group) as subscription:
        assert numbers(await take(subscription, 1)) == [0]


# A broker that does not answer, and others that use our name


async def test_a_frozen_broker_is_noticed_and_waited_for(private: MqttWorld) -> None:
    stream = private.stream(publish_timeout_s=2.0)
    async with stream.subscribe(private.group) as subscription:
        await subscription.ready()
        private.server.pause()
        with pytest.raises(BusUnavailableError, match="does not answer"):
            await stream.publish(make_event(0))
        await until(lambda: not private.read_health()[0])
        private.server.resume()

        patient = private.stream("patient", publish_timeout_s=PATIENCE_S)
        await patient.publish(make_event(1))
        seen = []
        while not seen or seen[-1] != 1:
            seen += await take_acked(subscription, 1)
        assert set(seen) <= {0, 1}
        await until(lambda: private.health.ready)


async def test_a_second_member_of_a_group_is_named_as_the_likely_trouble(
    world: MqttWorld,
) -> None:
    one, two = world.stream("one"), world.stream("two")
    reasons: list[str] = []
    world.health.on_change(lambda change: reasons.append(change.reason))
    async with one.subscribe(world.group) as first:
        await first.ready()
        async with two.subscribe(world.group):
            await until(lambda: any("another client uses the identifier" in r for r in reasons))


async def test_closing_while_connecting_is_quick_and_leaves_nothing(world: MqttWorld) -> None:
    before = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session = make_session(world, "hasty", url=f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        session.start()
        await asyncio.sleep(0.2)
        await session.close()
    await until(lambda: asyncio.all_tasks() == before)


# What foreign clients see


async def test_a_foreign_client_reads_a_cloud_event_by_its_type(world: MqttWorld) -> None:
    event = make_event(3)
    async with world.foreign_client() as client:
        await client.subscribe(f"{world.topic}/image.quarantined", qos=1)
        await world.stream().publish(event)
        async with asyncio.timeout(PATIENCE_S):
            message: aiomqtt.Message = await anext(client.messages)

    assert message.qos == 1
    assert not message.retain
    assert json.loads(bytes(message.payload))["id"] == event.id


# Rights and TLS


def secret(path: Path, text: str) -> SecretRef:
    path.write_text(text)
    path.chmod(0o600)
    return SecretRef(file=path)


@pytest.fixture
def guarded(tmp_path: Path) -> MqttWorld:
    """A mosquitto that asks who is there; `reader` may read and write below `open/`."""
    passwords, rights = tmp_path / "passwords", tmp_path / "rights"
    passwords.write_text("")
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), "reader", "right"], check=True, timeout=30
    )
    rights.write_text("user reader\ntopic readwrite open/#\n")
    for path in (passwords, rights, tmp_path):
        path.chmod(0o755)
    settings = [f"password_file {passwords}", f"acl_file {rights}"]
    return MqttWorld(GuardedMosquitto(tmp_path / "guarded", settings=settings))


class GuardedMosquitto(Mosquitto):
    def prepare(self) -> None:
        super().prepare()
        text = self._config.read_text().replace("allow_anonymous true", "allow_anonymous false")
        self._config.write_text(text)

    def answers(self) -> bool:
        return b"running" in self.log_since_start()


async def test_a_wrong_password_is_called_so(guarded: MqttWorld, tmp_path: Path) -> None:
    with guarded.server:
        security = BusSecurity(username="reader", password=secret(tmp_path / "secret", "wrong"))
        async with make_session(guarded, "writer", security=security) as session:
            with pytest.raises(BusDeniedError, match="refuses user `reader`"):
                await session.publish("open/x", b"1", timeout_s=2.0)
            secret(tmp_path / "secret", "right")
            await session.publish("open/x", b"2", timeout_s=PATIENCE_S)
            assert guarded.health.ready


@pytest.fixture
def dynamic_security() -> Path:
    plugins = list(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("this mosquitto comes without its dynamic security plugin")
    return plugins[0]


async def test_a_denied_subscription_is_called_so(
    start_mosquitto: Starter[Mosquitto], tmp_path: Path, dynamic_security: Path
) -> None:
    # mosquitto's own access list answers every subscription alike; its plugin says no.
    allowed = {"acltype": "subscribePattern", "topic": "open/#", "allow": True}
    rules = {
        "defaultACLAccess": {"subscribe": False, "unsubscribe": True}
        | {"publishClientSend": True, "publishClientReceive": True},
        "roles": [{"rolename": "anyone", "acls": [allowed]}],
        "groups": [{"groupname": "everybody", "roles": [{"rolename": "anyone"}]}],
        "anonymousGroup": "everybody",
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    for path in (tmp_path / "rules.json", tmp_path):
        path.chmod(0o777)
    settings = [f"plugin {dynamic_security}", f"plugin_opt_config_file {tmp_path}/rules.json"]
    world = MqttWorld(start_mosquitto(settings=settings))
    async with make_session(world, "reader", filters=["open/#", "closed/#"]):
        await until(lambda: "reader" in world.health.dependencies)
        assert not world.health.ready
        assert "closed/#" in world.health.dependencies["reader"].reason


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with the certificate of an authority, and a server's of 127.0.0.1."""
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["openssl", "x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key"]
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=broker", "-keyout", "broker.key", "-out", "broker.csr"],
        [*sign, "-CAcreateserial", "-extfile", "names", "-in", "broker.csr", "-out", "broker.pem"],
        [*new, "-x509", "-days", "2", "-subj", "/CN=X", "-keyout", "x.key", "-out", "other.pem"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


class TlsMosquitto(Mosquitto):
    @property
    def mqtts_url(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return b"running" in self.log_since_start()


async def test_tls_checks_the_broker_and_says_what_is_wrong(
    certificates: Path, tmp_path: Path
) -> None:
    certificate, key = certificates / "broker.pem", certificates / "broker.key"
    settings = [f"certfile {certificate}", f"keyfile {key}"]
    with TlsMosquitto(tmp_path / "tls-broker", settings=settings) as server:
        world = MqttWorld(server)
        good = BusSecurity(ca_file=certificates / "ca.pem")
        bad = BusSecurity(ca_file=certificates / "other.pem")
        async with make_session(world, "good", security=good, url=server.mqtts_url) as session:
            await session.publish("x", b"1", timeout_s=PATIENCE_S)
        async with make_session(world, "bad", security=bad, url=server.mqtts_url) as session:
            with pytest.raises(BusUnavailableError, match="certificate verify failed"):
                await session.publish("x", b"1", timeout_s=2.0)


async def test_a_ca_file_that_is_absent_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    health = HealthBoard()
    session = MqttSession(
        MqttBroker(
            parse_address(f"mqtts://127.0.0.1:{mosquitto.port}"),
            BusSecurity(ca_file=tmp_path / "absent.pem"),
            MQTT_TIMING,
        ),
        identifier="nobody",
        persistent=False,
        report=ConnectionReport(health, "broker", bus_metrics(None), "event_stream"),
    )
    async with session:
        with pytest.raises(BusUnavailableError, match=r"absent\.pem"):
            await session.publish("x", b"1", timeout_s=1.0)
