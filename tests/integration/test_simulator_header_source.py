"""The camera's question to a header service, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from daemons.simulators.errors import HeaderDocumentError
from daemons.simulators.header_source import HttpHeaderSource, NoHeaderSource

OBS_ID = "MC_O_20261103_000001"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def _header(status: str, name: str = "COSMOS") -> str:
    return (
        "PRIMARY:\n"
        f"- {{keyword: OBJECT, value: {name}, comment: target}}\n"
        f"- {{keyword: HDRSTAT, value: {status}, comment: status}}\n"
    )


@contextlib.asynccontextmanager
async def _serving(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.get("/headers/{obs_id}", handler)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_header_is_fetched_and_the_server_asked_to_wait() -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.match_info["obs_id"], request.query["wait"]))
        return web.Response(text=_header("complete"))

    async with _serving(answer) as url, HttpHeaderSource(f"{url}/", poll_s=7.0) as source:
        header = await source.fetch(OBS_ID)
    assert header is not None
    assert header.primary["OBJECT"].value == "COSMOS"
    assert asked == [(OBS_ID, "7.0")]


async def test_an_early_header_is_not_the_last_word() -> None:
    answers = [_header("early", "early"), _header("early", "early"), _header("partial", "final")]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=answers.pop(0))

    async with _serving(answer) as url, HttpHeaderSource(url) as source:
        header = await source.fetch(OBS_ID)
    assert header is not None
    assert header.primary["OBJECT"].value == "final"


async def test_an_early_header_is_better_than_none() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=_header("early"))

    async with _serving(answer) as url, HttpHeaderSource(url, patience_s=0.6) as source:
        header = await source.fetch(OBS_ID)
    assert header is not None
    assert header.early


async def test_a_header_that_does_not_come_is_given_up() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=404, text="no such exposure")

    async with _serving(answer) as url, HttpHeaderSource(url, patience_s=0.6) as source:
        assert await source.fetch(OBS_ID) is None


async def test_a_server_that_hangs_is_given_up() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response(text=_header("complete"))

    async with _serving(answer) as url, HttpHeaderSource(url, patience_s=0.4) as source:
        assert await source.fetch(OBS_ID) is None


async def test_a_header_service_that_starts_late_is_waited_for() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=_header("complete"))

    port = _free_port()
    async with HttpHeaderSource(f"http://127.0.0.1:{port}", patience_s=30.0) as source:
        fetching = asyncio.create_task(source.fetch(OBS_ID))
        await asyncio.sleep(0.4)
        assert not fetching.done()
        async with _serving(answer, port):
            header = await fetching
    assert header is not None


async def test_an_answer_that_is_no_header_is_refused() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>it works</html>")

    async with _serving(answer) as url, HttpHeaderSource(url) as source:
        with pytest.raises(HeaderDocumentError, match="PRIMARY"):
            await source.fetch(OBS_ID)


async def test_without_a_header_service_there_is_no_header() -> None:
    assert await NoHeaderSource().fetch(OBS_ID) is None


async def test_a_source_that_was_not_opened_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await HttpHeaderSource("http://127.0.0.1:1").fetch(OBS_ID)
