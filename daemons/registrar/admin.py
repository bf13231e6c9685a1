"""The registrar's part of the admin API.

::

    GET  /registrar/waiting   images that were refused or are held, with the reason
    POST /registrar/retry     try them again
"""

from __future__ import annotations

from aiohttp import web

from daemons.registrar.service import Registrar


def add_routes(app: web.Application, registrar: Registrar) -> None:
    """Add the registrar's routes to the admin API."""

    async def waiting(_request: web.Request) -> web.Response:
        return web.json_response({"waiting": await registrar.waiting()})

    async def retry(_request: web.Request) -> web.Response:
        return web.json_response({"retried": await registrar.retry()})

    app.router.add_get("/registrar/waiting", waiting)
    app.router.add_post("/registrar/retry", retry)
