"""The servers of the tests are real ones, and behave as the fixtures say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from tests.support.fixtures import Starter
from tests.support.servers import Apicurio, Mosquitto, Postgres, SeaweedFS, SmallRegistry
from tests.support.servers.errors import ServerError
from tests.support.servers.together import Running, start_all

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).parents[3]


def client_of(mosquitto: Mosquitto, name: str) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", mosquitto.port, identifier=name, clean_session=False)


async def test_mosquitto_keeps_what_is_queued_for_a_client_across_a_kill(
    start_mosquitto: Starter[Mosquitto],
) -> None:
    mosquitto = start_mosquitto()
    async with client_of(mosquitto, "reader") as reader:
        await reader.subscribe("observatory/#", qos=1)
    async with client_of(mosquitto, "writer") as writer:
        await writer.publish("observatory/event", b"kept", qos=1, retain=True)
    saved = mosquitto.directory / "data" / "mosquitto.db"
    mosquitto.save()
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(saved.exists):  # noqa: ASYNC110 - a file of another process
            await asyncio.sleep(0.01)
    mosquitto.kill()
    mosquitto.start()
    async with asyncio.timeout(20), client_of(mosquitto, "reader") as reader:
        message = await anext(reader.messages)
        assert message.payload == b"kept"


def test_postgres_outlives_a_kill_and_can_be_frozen(start_postgres: Starter[Postgres]) -> None:
    postgres = start_postgres()
    postgres.query("create table images (id integer primary key)")
    postgres.query("insert into images values (1), (2)")
    postgres.kill()
    postgres.start()
    assert postgres.query("select count(*) from images") == "2"
    postgres.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["psql", "-c", "select 1", postgres.dsn], check=True, timeout=0.5)
    postgres.resume()
    assert postgres.query("select 1") == "1"


def test_each_database_has_what_the_butler_needs(postgres: Postgres) -> None:
    postgres.create_database("one-test")
    for database in (postgres.database, "one-test"):
        extensions = postgres.query("select extname from pg_extension", database=database)
        assert "btree_gist" in extensions.split()


def test_seaweedfs_keeps_objects_across_a_kill(start_seaweedfs: Starter[SeaweedFS]) -> None:
    seaweedfs = start_seaweedfs()
    bucket = seaweedfs.create_bucket()
    seaweedfs.client.put_object(Bucket=bucket, Key="image", Body=b"pixels")
    seaweedfs.kill()
    seaweedfs.start()
    answer = seaweedfs.client.get_object(Bucket=bucket, Key="image")
    assert answer["Body"].read() == b"pixels"


def ask(url: str, body: Any = None) -> Any:
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())


def test_the_small_registry_answers_as_apicurio_does(
    apicurio: Apicurio, schema_registry: SmallRegistry
) -> None:
    schemas = [json.dumps({"type": kind}) for kind in ("string", "long")]
    seen = []
    for registry in (apicurio, schema_registry):
        subject = f"{registry.registry_url}/subjects/support-test-value"
        ids = [ask(f"{subject}/versions", {"schema": schema})["id"] for schema in schemas]
        assert ask(f"{subject}/versions", {"schema": schemas[0]})["id"] == ids[0]
        latest = ask(f"{subject}/versions/latest")
        assert latest["id"] == ids[1]
        by_id = [ask(f"{registry.registry_url}/schemas/ids/{number}") for number in ids]
        assert "support-test-value" in ask(f"{registry.registry_url}/subjects")
        seen.append(
            (
                latest["version"],
                latest["subject"],
                json.loads(latest["schema"]),
                [json.loads(found["schema"]) for found in by_id],
                ask(f"{subject}/versions"),
            )
        )
    assert seen[0] == seen[1]


def test_apicurio_forgets_when_it_is_restarted(start_apicurio: Starter[Apicurio]) -> None:
    apicurio = start_apicurio()
    subject = f"{apicurio.registry_url}/subjects/a-value/versions"
    assert ask(subject, {"schema": '{"type": "string"}'})["id"] == 1
    apicurio.restart()
    assert ask(f"{apicurio.registry_url}/subjects") == []


def test_servers_start_together_and_stop_together(tmp_path: Path) -> None:
    with start_all(tmp_path, {"mosquitto", "postgres", "registry"}) as running:
        assert running.postgres.query("select 1") == "1"
        assert ask(f"{running.registry.registry_url}/subjects") == []
        endpoints = running.endpoints()
        assert endpoints["mosquitto"] == running.mosquitto.mqtt_url
        with pytest.raises(ServerError, match="kafka was not started"):
            _ = running.kafka
        pids = [running.postgres.pid, running.mosquitto.pid]
    assert isinstance(running, Running)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_command_starts_servers_and_stops_them_when_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.servers", str(tmp_path), "mosquitto", "registry"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        endpoints = json.loads(command.stdout.readline())
        assert ask(f"{endpoints['registry']}/subjects") == []
        command.terminate()
        assert command.wait(20) == 0
