"""Every service of the suite obeys control software, on SAL and on MQTT."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import pytest

from tests.support.host import Host
from tests.support.sal_client import CONFIGURATION, GENERICS, SalClient
from tests.support.servers import Kafka, Mosquitto, SmallRegistry
from tests.support.waiting import until

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]

SERVICES = {
    "headerservice": "MTHeaderService",
    "forwarder": "MTForwarder",
    "registrar": "OCSRegistrar",
}
COMPONENTS = {name: each for name, each in SERVICES.items() if name != "headerservice"}
STATES = [5, 1, 2, 1, 5]
COMMANDS = ["start", "enable", "disable", "standby"]


def host_on(folder: Path, control_bus: dict[str, Any]) -> Host:
    return Host(
        folder / "host",
        control_bus=control_bus,
        components=COMPONENTS,
        initial_state="STANDBY",
        commanders=["*@control-*"],
        commanders_of={"registrar": ["facility@*"]},
        command_audit=str(folder / "audit.jsonl"),
    )


def audited(folder: Path) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    return [(line["component"], line["command"], line["outcome"]) for line in lines]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(name="sal_host")
def _sal_host(tmp_path: Path, kafka: Kafka, schema_registry: SmallRegistry) -> Iterator[Host]:
    host = host_on(
        tmp_path,
        {
            "url": kafka.url,
            "registry_url": schema_registry.registry_url,
            "subname": f"t{uuid4().hex[:8]}",
        },
    )
    yield host
    host.close()


async def test_existing_sal_client_commands_every_service(
    sal_host: Host, kafka: Kafka, schema_registry: SmallRegistry, folder: Path
) -> None:
    def remote(component: str, identity: str) -> SalClient:
        ours = component != "MTHeaderService"
        return SalClient(
            component,
            kafka.bootstrap,
            schema_registry.registry_url,
            sal_host.document["control_bus"]["subname"],
            index=0 if ours else None,
            identity=identity,
            topics={**GENERICS, **CONFIGURATION} if ours else GENERICS,
        )

    process = sal_host.run()
    for component in SERVICES.values():
        who = "facility@base" if component == "OCSRegistrar" else "operator@control-1"
        async with remote(component, "stranger@home") as stranger, remote(component, who) as known:
            await known.until_seen("logevent_heartbeat", 2)
            *_, refused = await stranger.command("start")
            assert refused.record["ack"] == -300
            for command in COMMANDS:
                *_, final = await known.command(command)
                assert final.record["ack"] == 303, (command, final.record["result"])
            await known.until_seen("logevent_summaryState", len(STATES))
        assert known.values("logevent_summaryState", "summaryState") == STATES
        assert known.values("logevent_errorCode", "errorCode") == [0]
        assert known.problems == []
        assert (component, "command_start", "NOPERM") in audited(folder)
        assert (component, "command_standby", "COMPLETE") in audited(folder)
    async with (
        remote("MTForwarder", "operator@control-1") as known,
        remote("MTHeaderService", "x") as other,
    ):
        assert (await known.command("exitControl"))[-1].record["ack"] == 303
        await known.until_seen("logevent_summaryState", summaryState=4)
        told = len(known.seen)
        await other.until_seen("logevent_heartbeat", len(other.of("logevent_heartbeat")) + 4)
        assert len(known.seen) <= told + 1  # a heartbeat may have been on its way
    assert process.running


@pytest.fixture(name="mqtt_host")
def _mqtt_host(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Host]:
    bus = {"url": mosquitto.mqtt_url, "prefix": f"t{uuid4().hex[:8]}"}
    host = host_on(tmp_path, bus)
    yield host
    host.close()


async def test_plain_mqtt_client_commands_every_service(
    mqtt_host: Host, mosquitto: Mosquitto, folder: Path
) -> None:
    mqtt_host.run()
    prefix = mqtt_host.document["control_bus"]["prefix"]
    seen: list[tuple[str, dict[str, Any]]] = []

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            seen.append(
                (str(message.topic).removeprefix(f"{prefix}/"), json.loads(message.payload))
            )

    def values(topic: str, field: str) -> list[Any]:
        return [payload[field] for name, payload in seen if name == topic]

    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        await client.subscribe(f"{prefix}/#", qos=1)
        listening = asyncio.create_task(listen(client))
        for number, component in enumerate(SERVICES.values(), start=1):
            who = "facility@base" if component == "OCSRegistrar" else "operator@control-1"
            beats = partial(values, f"{component}/logevent_heartbeat", "heartbeat")
            await until(lambda beats=beats: len(beats()) > 1, timeout_s=60)  # type: ignore[misc]
            answered = partial(values, f"{component}/ackcmd", "private_seqNum")
            for sequence, command in enumerate(COMMANDS, start=100 * number):
                for _ in range(2):  # QoS 1 may deliver twice: it must make no difference
                    await client.publish(
                        f"{prefix}/{component}/command_{command}",
                        json.dumps({"private_identity": who, "private_seqNum": sequence}),
                        qos=1,
                    )
                await until(
                    lambda answered=answered, wanted=sequence: wanted in answered(),  # type: ignore[misc]
                    timeout_s=60,
                )
            # A busy machine says once more that it is at it (301) before it is done.
            assert set(values(f"{component}/ackcmd", "ack")) - {301} == {303}
            states = partial(values, f"{component}/logevent_summaryState", "summaryState")
            await until(lambda states=states: len(states()) >= len(STATES), timeout_s=60)  # type: ignore[misc]
            assert states() == STATES
        listening.cancel()
        await asyncio.wait({listening})
    outcomes = audited(folder)
    assert len(outcomes) == len(SERVICES) * len(COMMANDS)
    assert {outcome for *_, outcome in outcomes} == {"COMPLETE"}


async def test_command_on_mqtt_outlives_a_kill_between_receipt_and_handling(
    mqtt_host: Host, mosquitto: Mosquitto, folder: Path
) -> None:
    prefix = mqtt_host.document["control_bus"]["prefix"]
    answers: list[dict[str, Any]] = []
    beats = 0

    async def listen(client: aiomqtt.Client) -> None:
        nonlocal beats
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if message.topic.matches(f"{prefix}/MTForwarder/ackcmd"):
                answers.append(json.loads(message.payload))
            elif message.topic.matches(f"{prefix}/MTForwarder/logevent_heartbeat"):
                beats += not message.retain

    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        await client.subscribe(f"{prefix}/MTForwarder/#", qos=1)
        listening = asyncio.create_task(listen(client))
        process = mqtt_host.run("forwarder")
        await until(lambda: beats > 1, timeout_s=60)
        process.signal(signal.SIGSTOP)  # what comes now is received and not handled
        await client.publish(
            f"{prefix}/MTForwarder/command_start",
            json.dumps({"private_identity": "operator@control-1", "private_seqNum": 7}),
            qos=1,
        )
        process.kill()
        assert answers == []
        mqtt_host.run("forwarder")
        await until(lambda: bool(answers), timeout_s=60)
        listening.cancel()
        await asyncio.wait({listening})
    assert [(answer["private_seqNum"], answer["ack"]) for answer in answers] == [(7, 303)]
    assert audited(folder) == [("MTForwarder", "command_start", "COMPLETE")]
