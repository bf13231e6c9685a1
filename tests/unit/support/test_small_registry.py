from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.servers import SmallRegistry

STRING = json.dumps({"type": "string"})
LONG = json.dumps({"type": "long"})


class Client:
    def __init__(self, registry: SmallRegistry) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def client(small_registry: SmallRegistry) -> Iterator[Client]:
    client = Client(small_registry)
    yield client
    client.connection.close()


def test_schemas_are_numbered_and_found_again(client: Client) -> None:
    subject = "/subjects/lsst.sal.MTCamera.logevent_startIntegration-value"
    assert client("POST", f"{subject}/versions", {"schema": STRING}) == (200, {"id": 1})
    assert client("POST", f"{subject}/versions", {"schema": LONG}) == (200, {"id": 2})
    assert client("POST", f"{subject}/versions", {"schema": STRING}) == (200, {"id": 1})
    assert client("POST", "/subjects/other-value/versions", {"schema": LONG}) == (200, {"id": 2})
    assert client("GET", "/schemas/ids/2") == (200, {"schema": LONG})
    assert client("GET", f"{subject}/versions") == (200, [1, 2])
    latest = client("GET", f"{subject}/versions/latest")[1]
    assert (latest["version"], latest["id"], latest["schema"]) == (2, 2, LONG)
    assert client("GET", f"{subject}/versions/1")[1]["schema"] == STRING
    assert client("POST", subject, {"schema": LONG})[1]["version"] == 2
    assert len(client("GET", "/subjects")[1]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/absent/versions/latest", None, 404, 40401),
        ("GET", "/subjects/absent/versions", None, 404, 40401),
        ("GET", "/subjects/known/versions/7", None, 404, 40402),
        ("GET", "/schemas/ids/7", None, 404, 40403),
        ("POST", "/subjects/known", {"schema": LONG}, 404, 40403),
        ("POST", "/subjects/known/versions", {"schema": "{"}, 422, 42201),
        ("POST", "/subjects/known/versions", [1], 422, 42201),
        ("GET", "/nothing", None, 404, 404),
    ],
)
def test_what_is_not_there_is_told_as_confluent_tells_it(
    client: Client, method: str, path: str, body: Any, status: int, code: int
) -> None:
    client("POST", "/subjects/known/versions", {"schema": STRING})
    told = client(method, path, body)
    assert (told[0], told[1]["error_code"]) == (status, code)


def test_a_registry_that_forgets_counts_from_one_again(
    client: Client, small_registry: SmallRegistry
) -> None:
    client("POST", "/subjects/a/versions", {"schema": STRING})
    small_registry.forget()
    assert client("GET", "/schemas/ids/1")[0] == 404
    assert client("POST", "/subjects/b/versions", {"schema": LONG}) == (200, {"id": 1})


def test_a_stopped_registry_drops_its_connections_and_comes_back_on_its_port(
    client: Client, small_registry: SmallRegistry
) -> None:
    client("POST", "/subjects/a/versions", {"schema": STRING})
    small_registry.stop()
    with pytest.raises((OSError, http.client.HTTPException)):
        client("GET", "/subjects")
    client.connection.close()
    with pytest.raises(ConnectionRefusedError):
        client("GET", "/subjects")
    client.connection.close()
    small_registry.start()
    assert client("GET", "/subjects") == (200, ["a"])


def test_a_failing_registry_answers_as_told(client: Client, small_registry: SmallRegistry) -> None:
    small_registry.failing = HTTPStatus.SERVICE_UNAVAILABLE
    assert client("GET", "/subjects")[0] == 503
    small_registry.failing = None
    assert client("GET", "/subjects")[0] == 200


def test_requests_are_counted(client: Client, small_registry: SmallRegistry) -> None:
    for _ in range(3):
        client("GET", f"/subjects/{quote('a b')}/versions")
    assert small_registry.asked["GET /subjects/a b/versions"] == 3
