"""The three forms over HTTP: what is asked for, what is known already, what makes no sense."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import yaml

from tests.unit.headerservice.rig import OBS_ID, Image, Rig

MakeRig = Callable[..., Rig]
Ask = Callable[..., Any]


@pytest.fixture
async def ask(make_rig: MakeRig) -> AsyncIterator[Ask]:
    rig = make_rig()
    async with rig.running(), aiohttp.ClientSession() as session:
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()

        async def get(path: str = f"/headers/{OBS_ID}", **headers: str) -> Any:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(f"{rig.service.base_url}{path}", headers=named) as answer:
                return answer.status, answer.headers, await answer.read()

        yield get


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("application/json;q=0.5, text/yaml", "text/yaml"),
        ("text/yaml;q=0.1, application/json;q=0.9", "application/json"),
        ("text/plain", "text/plain"),
        ("application/fits", "text/plain"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/yaml"),
        ("*/*", "text/yaml"),
        ("application/json;q=0, */*", "text/yaml"),
        ("application/json;q=much, text/plain;q=0.2", "text/plain"),
    ],
)
async def test_the_form_is_what_the_client_prefers(ask: Ask, accept: str, kind: str) -> None:
    status, headers, _body = await ask(Accept=accept)
    assert status == 200
    assert headers["Content-Type"].partition(";")[0] == kind
    assert headers["Vary"] == "Accept"


async def test_a_client_that_takes_none_of_the_forms_is_told_which_there_are(ask: Ask) -> None:
    status, _headers, body = await ask(Accept="image/png")
    assert status == 406
    assert b"application/json" in body


async def test_each_form_has_its_own_tag_and_is_not_sent_twice(ask: Ask) -> None:
    tags = {}
    for form in ("yaml", "json", "fits"):
        status, headers, body = await ask(f"/headers/{OBS_ID}?format={form}")
        assert status == 200
        assert body
        tags[form] = headers["ETag"]
        path = f"/headers/{OBS_ID}?format={form}"
        status, headers, body = await ask(path, If_None_Match=f'"other", {tags[form]}')
        assert (status, body) == (304, b"")
        assert headers["X-Header-Revision"] == "1"
    assert len(set(tags.values())) == 3
    status, _headers, _body = await ask(
        f"/headers/{OBS_ID}?format=json", If_None_Match=tags["yaml"]
    )
    assert status == 200


async def test_the_three_forms_over_http_agree(ask: Ask) -> None:
    bodies = {
        form: (await ask(f"/headers/{OBS_ID}?format={form}"))[2]
        for form in ("yaml", "json", "fits")
    }
    document = yaml.load(bodies["yaml"], Loader=yaml.CSafeLoader)
    assert json.loads(bodies["json"]) == document
    lines = bodies["fits"].decode("ascii").splitlines()
    assert sum(line.rstrip() == "END" for line in lines) == len(document)
    assert {len(line) for line in lines} == {80}


@pytest.mark.parametrize("query", ["revision=1.5", "revision=1e400", "wait=1e400", "revision="])
async def test_numbers_that_are_none_are_refused(ask: Ask, query: str) -> None:
    status, _headers, body = await ask(f"/headers/{OBS_ID}?{query}")
    assert status == 400
    assert b"must be" in body


async def test_a_name_that_cannot_be_one_is_not_found(ask: Ask) -> None:
    for name in ("%2e%2e%2fetc", "a%20b", "%00", "x" * 2000):
        status, _headers, _body = await ask(f"/headers/{name}")
        assert status in {400, 404}
