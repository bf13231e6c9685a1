from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import yaml

from daemons.runtime.errors import ArrieroError
from tests.unit.headerservice.rig import OBS_ID, Image, Rig, cards

MakeRig = Callable[..., Rig]


class Client:
    """Asks a header service."""

    def __init__(self, rig: Rig, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self._session = session

    async def get(
        self, path: str = f"/headers/{OBS_ID}", accept: str = "*/*", **query: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = f"{self.rig.service.base_url}{path}"
        async with self._session.get(url, params=query, headers={"Accept": accept}) as answer:
            return answer.status, answer.headers, await answer.read()


@pytest.fixture
async def client(make_rig: MakeRig) -> AsyncIterator[Client]:
    rig = make_rig()
    async with rig.running(), aiohttp.ClientSession() as session:
        await rig.set_the_scene(rig.t0 - 1)
        yield Client(rig, session)


async def test_a_header_is_served_as_yaml_json_and_fits(client: Client) -> None:
    rig = client.rig
    await rig.expose(Image(OBS_ID, rig.t0))
    await rig.header_of()
    status, headers, body = await client.get()
    assert (status, headers["Content-Type"]) == (200, "text/yaml")
    assert headers["ETag"] == f'"{rig.final()[0].sha256}"'
    assert yaml.safe_load(body) == rig.stored()
    for ask in ({"format": "json"}, {"accept": "application/json"}):
        _status, headers, body = await client.get(**ask)
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body) == rig.stored()
    _status, headers, body = await client.get(format="fits")
    assert headers["Content-Type"].startswith("text/plain")
    assert b"OBSID   = 'MC_O_20251121_000156'" in body


async def test_waiting_ends_with_the_final_header(client: Client) -> None:
    rig, image = client.rig, Image(OBS_ID, client.rig.t0)
    waiting = asyncio.create_task(client.get(wait=20))
    await rig.point(rig.t0 - 1, rig.t0)
    await rig.start(image)
    await rig.point(rig.t0, image.readout)
    await rig.readout(image)
    await rig.until(lambda: rig.events)
    assert not waiting.done()
    status, headers, body = await client.get(wait=20, status="early")
    assert (status, headers["X-Header-Status"]) == (200, "early")
    assert cards(yaml.safe_load(body))["HDRSTAT"] == "early"
    await rig.point(image.readout, image.end)
    await rig.end(image)
    status, headers, body = await waiting
    assert (status, headers["X-Header-Status"], headers["X-Header-Revision"]) == (
        *(200, "complete", "1"),
    )


async def test_a_wait_that_ends_takes_what_there_is(client: Client) -> None:
    rig, image = client.rig, Image(OBS_ID, client.rig.t0)
    await rig.start(image)
    await rig.readout(image)
    await rig.until(lambda: rig.events)
    status, headers, _body = await client.get(wait=0.2)
    assert (status, headers["X-Header-Status"]) == (200, "early")
    status, _headers, body = await client.get(wait=0.2, status="complete")
    assert status == 404
    assert b"reading out" in body


async def test_a_revision_can_be_waited_for(client: Client) -> None:
    rig, image = client.rig, Image(OBS_ID, client.rig.t0)
    await rig.start(image)
    await rig.readout(image)
    await rig.end(image)
    await rig.header_of()
    assert rig.final()[0].status == "partial"
    waiting = asyncio.create_task(client.get(wait=20, revision=2))
    complete = asyncio.create_task(client.get(wait=20, status="complete"))
    for at in (rig.t0 - 0.5, rig.t0 + 0.5, image.readout - 0.5, image.readout + 0.5):
        await rig.say_all(rig.sky.telemetry(at), at=at)
    status, headers, _body = await waiting
    assert (status, headers["X-Header-Revision"]) == (200, "2")
    # How many revisions the late telemetry makes depends on how it falls between them.
    status, headers, _body = await complete
    assert (status, headers["X-Header-Status"]) == (200, "complete")
    assert int(headers["X-Header-Revision"]) >= 2
    status, _headers, body = await client.get(revision=7)
    assert status == 404
    assert b"no such header" in body


async def test_an_unknown_exposure_is_told_as_such(client: Client) -> None:
    status, _headers, body = await client.get("/headers/MC_O_20251121_000999")
    assert status == 404
    assert b"no header of MC_O_20251121_000999" in body
    await client.rig.start(Image(OBS_ID, client.rig.t0))
    await client.rig.integrating()
    status, _headers, body = await client.get()
    assert status == 404
    assert b"is integrating" in body


@pytest.mark.parametrize(
    "query",
    [
        {"wait": "soon"},
        {"wait": "-1"},
        {"wait": "nan"},
        {"revision": "x"},
        {"status": "good"},
        {"format": "xml"},
    ],
)
async def test_a_request_that_makes_no_sense_is_told_what_would(
    client: Client, query: dict[str, str]
) -> None:
    status, _headers, body = await client.get(**query)
    assert status == 400
    assert b"must be" in body
    assert next(iter(query.values())).encode() in body


async def test_a_day_is_listed(client: Client) -> None:
    rig = client.rig
    await rig.expose(Image(OBS_ID, rig.t0))
    await rig.header_of()
    await rig.service.drain()
    status, _headers, body = await client.get("/headers", day_obs="20251121")
    listed = json.loads(body)
    assert status == 200
    assert [(each["obs_id"], each["status"]) for each in listed["headers"]] == [
        (OBS_ID, "early"),
        (OBS_ID, "complete"),
    ]
    assert listed["headers"][1]["url"].endswith(f"/headers/{OBS_ID}")
    status, _headers, body = await client.get("/headers", day_obs="yesterday")
    assert (status, b"YYYYMMDD" in body) == (400, True)
    _status, _headers, body = await client.get("/headers", day_obs="20200101")
    assert json.loads(body)["headers"] == []


async def test_provenance_is_served(client: Client) -> None:
    rig = client.rig
    await rig.expose(Image(OBS_ID, rig.t0))
    await rig.header_of()
    _status, _headers, body = await client.get(f"/headers/{OBS_ID}/provenance")
    told = json.loads(body)
    assert told["keywords"]["ELSTART"]["source"] == "MTMount.elevation.actualPosition"
    status, _headers, _body = await client.get("/headers/MC_O_20251121_000999/provenance")
    assert status == 404


async def test_headers_of_before_the_restart_are_served_from_the_journal(
    make_rig: MakeRig,
) -> None:
    first = make_rig()
    async with first.running():
        await first.set_the_scene(first.t0 - 1)
        await first.expose(Image(OBS_ID, first.t0))
        await first.header_of()
    async with make_rig().running() as second, aiohttp.ClientSession() as session:
        for form in ("yaml", "json"):
            status, _headers, body = await Client(second, session).get(format=form)
            assert status == 200
            assert yaml.safe_load(body) == first.stored()


async def test_a_port_that_is_taken_is_a_sentence(make_rig: MakeRig, tmp_path: Any) -> None:
    first = make_rig()
    async with first.running():
        port = int(str(first.service.base_url).rpartition(":")[2])
        second = make_rig(
            state_directory=tmp_path / "other", http={"host": "127.0.0.1", "port": port}
        )
        with pytest.raises(ArrieroError, match=f"cannot serve headers on 127.0.0.1:{port}"):
            async with second.running():
                pass
        await second.service.close()


async def test_too_many_waiting_requests_are_sent_away(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headerservice.web._WAITING_MAX", 2)
    waiting = [asyncio.create_task(client.get(wait=20)) for _ in range(2)]
    await client.rig.eventually(lambda: client.rig.service.status()["requests_waiting"] == 2)
    status, _headers, body = await client.get(wait=20)
    assert status == 503
    assert b"ask again later" in body
    await client.rig.expose(Image(OBS_ID, client.rig.t0))
    assert [(await each)[0] for each in waiting] == [200, 200]
