"""The schema registry's client against a registry that stops, fails, forgets and counts."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daemons.bus import BusError, BusUnavailableError, Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import SchemaRegistry, UnknownSchemaError, basic_authorization
from daemons.bus.sal.schema import AvroSchema, sal_schema
from daemons.runtime.health import HealthBoard
from tests.support.servers import Apicurio, SmallRegistry

pytestmark = pytest.mark.server

STATE = sal_schema(load_dictionary().get(Topic("MTCamera", "logevent_summaryState")))
HEART = sal_schema(load_dictionary().get(Topic("MTCamera", "logevent_heartbeat")))
SUBJECT = "lsst.sal.MTCamera.logevent_summaryState-value"
PATH = f"/subjects/{SUBJECT}/versions"


@pytest.fixture
def server(small_registry: SmallRegistry) -> SmallRegistry:
    return small_registry


@pytest.fixture
def health() -> HealthBoard:
    return HealthBoard()


@pytest.fixture
async def client(
    server: SmallRegistry, health: HealthBoard, tmp_path: Path
) -> AsyncIterator[SchemaRegistry]:
    made = SchemaRegistry(
        server.registry_url, cache=tmp_path / "cache", timeout_s=2.0, health=health
    )
    yield made
    await made.close()


def other(server: SmallRegistry, tmp_path: Path) -> SchemaRegistry:
    """Return the client of a process that starts later, on the same cache."""
    return SchemaRegistry(server.registry_url, cache=tmp_path / "cache", timeout_s=2.0)


async def test_schema_is_registered_once_and_found_by_id(
    client: SchemaRegistry, server: SmallRegistry, health: HealthBoard
) -> None:
    registered = await client.for_writing(SUBJECT, STATE)
    assert server.subjects == (SUBJECT,)
    assert await client.by_id(registered.schema_id, expected=STATE.full_name) == STATE
    again = await client.for_writing(SUBJECT, STATE)
    assert again.schema_id == registered.schema_id
    assert server.asked[f"POST {PATH}"] == 1
    assert not [call for call in server.asked if call.startswith("GET /schemas/ids")]
    assert health.dependencies["schema_registry"].ok


async def test_schema_of_the_topics_owner_is_kept(
    client: SchemaRegistry, server: SmallRegistry
) -> None:
    document = json.loads(STATE.text)
    document["description"] = "as the owner of the topic describes it"
    document["fields"].append({"name": "added", "type": "double", "default": 0.0})
    theirs = AvroSchema(json.dumps(document))
    owner = await client.register(SUBJECT, theirs)
    mine = await client.for_writing(SUBJECT, STATE)
    assert (mine.schema_id, mine.schema.revision) == (owner.schema_id, theirs.revision)
    assert server.asked[f"POST {PATH}"] == 1


async def test_schema_that_cannot_carry_ours_gets_a_new_version(client: SchemaRegistry) -> None:
    document = json.loads(STATE.text)
    del document["fields"][-1]
    await client.register(SUBJECT, AvroSchema(json.dumps(document)))
    mine = await client.for_writing(SUBJECT, STATE)
    assert mine.schema == STATE
    latest = await client.latest(SUBJECT)
    assert latest is not None
    assert latest.schema_id == mine.schema_id


async def test_id_is_asked_for_once(
    client: SchemaRegistry, server: SmallRegistry, tmp_path: Path
) -> None:
    registered = await client.register(SUBJECT, STATE)
    for _ in range(5):
        await client.by_id(registered.schema_id, expected=STATE.full_name)
    later = other(server, tmp_path)
    await later.by_id(registered.schema_id, expected=STATE.full_name)
    await later.close()
    assert server.asked[f"GET /schemas/ids/{registered.schema_id}"] == 1


async def test_outage_does_not_stop_a_start(
    client: SchemaRegistry, server: SmallRegistry, tmp_path: Path
) -> None:
    registered = await client.for_writing(SUBJECT, STATE)
    server.stop()
    health = HealthBoard()
    later = SchemaRegistry(
        server.registry_url, cache=tmp_path / "cache", timeout_s=2.0, health=health
    )
    assert await later.by_id(registered.schema_id, expected=STATE.full_name) == STATE
    assert (await later.for_writing(SUBJECT, STATE)).schema_id == registered.schema_id
    assert not health.dependencies["schema_registry"].ok
    with pytest.raises(BusUnavailableError, match=server.registry_url):
        await later.for_writing(SUBJECT.replace("summaryState", "heartbeat"), HEART)
    await later.close()


async def test_cached_schema_that_does_not_fit_ours_any_more_is_not_used(
    client: SchemaRegistry, server: SmallRegistry, tmp_path: Path
) -> None:
    document = json.loads(STATE.text)
    del document["fields"][-1]
    await client.for_writing(SUBJECT, AvroSchema(json.dumps(document)))
    server.stop()
    later = other(server, tmp_path)
    with pytest.raises(BusUnavailableError):
        await later.for_writing(SUBJECT, STATE)
    await later.close()


async def test_registry_that_forgot_everything_is_asked_anew(
    client: SchemaRegistry, server: SmallRegistry, tmp_path: Path
) -> None:
    registered = await client.for_writing(SUBJECT, STATE)
    server.forget()
    later = other(server, tmp_path)
    reused = await later.register("lsst.sal.MTCamera.logevent_heartbeat-value", HEART)
    assert reused.schema_id == registered.schema_id
    fresh = other(server, tmp_path)
    assert await fresh.by_id(reused.schema_id, expected=HEART.full_name) == HEART
    await later.close()
    await fresh.close()


async def test_id_of_another_record_is_refused_without_asking_for_each_message(
    client: SchemaRegistry, server: SmallRegistry
) -> None:
    registered = await client.register(SUBJECT, STATE)
    for _ in range(10):
        with pytest.raises(
            UnknownSchemaError, match=r"is of lsst\.sal\.MTCamera\.logevent_summary"
        ):
            await client.by_id(registered.schema_id, expected=HEART.full_name)
    assert server.asked[f"GET /schemas/ids/{registered.schema_id}"] == 1


async def test_unknown_id_is_refused_without_asking_for_each_message(
    client: SchemaRegistry, server: SmallRegistry
) -> None:
    for _ in range(10):
        with pytest.raises(UnknownSchemaError, match="has no schema 4711"):
            await client.by_id(4711, expected=STATE.full_name)
    assert server.asked["GET /schemas/ids/4711"] == 1


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (HTTPStatus.INTERNAL_SERVER_ERROR, BusUnavailableError, "answered 500"),
        (HTTPStatus.SERVICE_UNAVAILABLE, BusUnavailableError, "answered 503"),
        (HTTPStatus.TOO_MANY_REQUESTS, BusUnavailableError, "answered 429"),
        (HTTPStatus.UNAUTHORIZED, BusError, "check the registry's user and password"),
        (HTTPStatus.FORBIDDEN, BusError, "check the registry's user and password"),
        (HTTPStatus.CONFLICT, BusError, "extend the SAL dictionary"),
        (HTTPStatus.UNPROCESSABLE_ENTITY, BusError, "answered 422"),
    ],
)
async def test_answer_that_is_none_is_named(
    client: SchemaRegistry,
    server: SmallRegistry,
    status: HTTPStatus,
    error: type[BusError],
    says: str,
) -> None:
    server.failing = status
    with pytest.raises(BusError, match=says) as failure:
        await client.register(SUBJECT, STATE)
    assert type(failure.value) is error
    server.failing = None
    assert (await client.register(SUBJECT, STATE)).schema_id == 1


async def test_url_that_is_no_registry_is_said_so(server: SmallRegistry) -> None:
    lost = SchemaRegistry(f"{server.registry_url}/not/here", timeout_s=2.0)
    with pytest.raises(BusError):
        await lost.by_id(1, expected=STATE.full_name)
    await lost.close()


@pytest.mark.parametrize("content", ["", "{", '{"id": 1}', '{"id": 1, "schema": "{}"}', "[]"])
async def test_damaged_cache_file_counts_as_absent(
    client: SchemaRegistry, server: SmallRegistry, tmp_path: Path, content: str
) -> None:
    registered = await client.for_writing(SUBJECT, STATE)
    files = list((tmp_path / "cache").rglob("*.json"))
    assert len(files) == 2
    for file in files:
        file.write_text(content)
    later = other(server, tmp_path)
    assert await later.by_id(registered.schema_id, expected=STATE.full_name) == STATE
    assert (await later.for_writing(SUBJECT, STATE)).schema_id == registered.schema_id
    await later.close()
    assert all(file.read_text() != content for file in files)


async def test_cache_that_cannot_be_written_is_no_failure(
    server: SmallRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    client = SchemaRegistry(server.registry_url, cache=tmp_path / "file" / "cache", timeout_s=2.0)
    assert (await client.for_writing(SUBJECT, STATE)).schema_id == 1
    await client.close()


async def test_user_and_password_go_with_each_call() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"id": 7})

    application = web.Application()
    application.router.add_post("/{rest:.*}", answer)
    async with TestServer(application) as registry:
        client = SchemaRegistry(
            str(registry.make_url("/")), authorization=basic_authorization("arriero", "mulé")
        )
        assert (await client.register(SUBJECT, STATE)).schema_id == 7
        await client.close()
    assert [b64decode(header.removeprefix("Basic ")) for header in seen] == [
        "arriero:mulé".encode()
    ]


@pytest.mark.slow
async def test_real_registry_answers_as_the_small_one(apicurio: Apicurio, tmp_path: Path) -> None:
    client = SchemaRegistry(apicurio.registry_url, cache=tmp_path, timeout_s=10.0)
    assert await client.latest(SUBJECT) is None
    registered = await client.for_writing(SUBJECT, STATE)
    assert (await client.for_writing(SUBJECT, STATE)).schema_id == registered.schema_id
    fresh = SchemaRegistry(apicurio.registry_url, timeout_s=10.0)
    found = await fresh.by_id(registered.schema_id, expected=STATE.full_name)
    assert found.revision == STATE.revision
    latest = await fresh.latest(SUBJECT)
    assert latest is not None
    assert latest.schema.covers(STATE)
    with pytest.raises(UnknownSchemaError):
        await fresh.by_id(999_999, expected=STATE.full_name)
    await client.close()
    await fresh.close()
