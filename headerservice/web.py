"""Headers over HTTP: fetched, waited for, listed.

::

    GET /headers/{obs_id}               the latest header; ?format=yaml|json|fits, or by Accept
    GET /headers/{obs_id}?wait=20       waits for the final one, and takes what there is then
    GET /headers/{obs_id}?status=S      only early (any), final or complete; with wait: until then
    GET /headers/{obs_id}?revision=N    only revision N or a later one; with wait: until then
    GET /headers/{obs_id}/provenance    where each value came from, JSON
    GET /headers?day_obs=YYYYMMDD       what there is of a day, JSON
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import yaml
from aiohttp import web

from daemons.runtime.executors import BlockingExecutor
from headerservice.board import Board
from headerservice.errors import HeaderServiceError
from headerservice.exposure import Phase, Status
from headerservice.journal_records import HeaderEntry, StoredHeader, Todo
from headerservice.journal_thread import JournalThread
from headerservice.render import YAML_TYPE, from_mapping, to_fits_text, to_json
from headerservice.sensors import Hdu
from headerservice.settings import HttpSettings

_TYPES = {"yaml": YAML_TYPE, "json": "application/json", "fits": "text/plain"}
_FORMATS = {
    "text/yaml": "yaml",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "application/json": "json",
    "text/plain": "fits",
    "application/fits": "fits",
    "text/*": "yaml",
    "application/*": "yaml",
    "*/*": "yaml",
}
_DAY = re.compile(r"\d{8}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WANTED = ("early", "final", "complete")
_WAITING_MAX = 1000
"""Requests that may wait at the same time."""
_CLOSING_S = 2.0
"""How long requests in hand may take when the server stops."""

Found = tuple[StoredHeader, tuple[Hdu, ...] | None]
"""A header, and its content where that is in memory."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request asks for."""

    wait_s: float
    status: str | None
    revision: int | None
    form: str

    @property
    def lenient(self) -> bool:
        """True where any header is better than none."""
        return self.status is None and self.revision is None

    def granted_by(self, header: StoredHeader) -> bool:
        """Return whether a header is what is asked for."""
        early = header.status is Status.EARLY
        if self.revision is not None and (early or header.revision < self.revision):
            return False
        if self.status == "complete":
            return header.status is Status.COMPLETE
        if self.status == "final" or (self.lenient and self.wait_s):
            return not early
        return True


class HeaderServer:
    """Serves headers.

    Parameters
    ----------
    settings
        Where to listen.
    board
        The latest headers.
    journal
        All others.
    renderer
        Threads that write the other formats.
    phase_of
        Tells where an open exposure is in its life; None for one that is not open.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        board: Board,
        journal: JournalThread,
        renderer: BlockingExecutor,
        phase_of: Callable[[str], str | None],
    ) -> None:
        self._settings = settings
        self._board = board
        self._journal = journal
        self._renderer = renderer
        self._phase_of = phase_of
        self._base: str | None = None

    def url(self, obs_id: str) -> str | None:
        """Return the URL of the header of an exposure; None while the server does not run."""
        return None if self._base is None else f"{self._base}/headers/{obs_id}"

    @property
    def base_url(self) -> str | None:
        """Where the server answers; None while it does not run."""
        return self._base

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within the context.

        Raises
        ------
        HeaderServiceError
            The port is in use, or the address is not ours.
        """
        application = web.Application()
        application.add_routes(
            [
                web.get("/headers", self._list),
                web.get("/headers/{obs_id}", self._header),
                web.get("/headers/{obs_id}/provenance", self._provenance),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING_S)
        await runner.setup()
        try:
            await self._listen(runner)
            self._base = self._settings.public_url or _base_url(self._settings.host, runner)
            yield
        finally:
            self._base = None
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise HeaderServiceError(
                f"cannot serve headers on {host}:{port} ({error.strerror}): choose another address "
                "in `http`"
            ) from error

    async def _header(self, request: web.Request) -> web.Response:
        obs_id = request.match_info["obs_id"]
        wish = self._wish(request)
        if wish.wait_s and self._board.waiting >= _WAITING_MAX:
            raise web.HTTPServiceUnavailable(
                text=f"{_WAITING_MAX} requests wait already: ask again later, or without wait\n"
            )
        found = await self._wait_for(obs_id, wish)
        if found is None:
            return self._not_found(obs_id, wish)
        header, hdus = found
        described = {
            "ETag": _etag(header, wish.form),
            "X-Header-Revision": str(header.revision),
            "X-Header-Status": header.status.value,
            "X-Header-Missing": ",".join(header.missing),
            "Cache-Control": "no-cache",
            "Vary": "Accept",
        }
        if _knows_already(request, described["ETag"]):
            return web.Response(status=304, headers=described)
        body = header.body
        if wish.form != "yaml":
            body = await self._renderer.run(_rendered, header.body, hdus, wish.form)
        return web.Response(
            body=body,
            content_type=_TYPES[wish.form],
            charset="ascii" if wish.form == "fits" else None,
            headers=described,
        )

    async def _wait_for(self, obs_id: str, wish: _Wish) -> Found | None:
        found = await self._find(obs_id, wish)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wish.wait_s):
                while found is None or not wish.granted_by(found[0]):
                    await self._board.changed(obs_id)
                    found = self._board.latest(obs_id) or found
        if found is not None and (wish.lenient or wish.granted_by(found[0])):
            return found
        return None

    async def _find(self, obs_id: str, wish: _Wish) -> Found | None:
        shown = self._board.latest(obs_id)
        if shown is not None and (wish.wait_s or wish.granted_by(shown[0])):
            return shown
        stored = await self._journal.run(lambda journal: journal.latest(obs_id))
        # It may have been shown meanwhile.
        return self._board.latest(obs_id) or (None if stored is None else (stored, None))

    def _wish(self, request: web.Request) -> _Wish:
        query = request.query
        status = query.get("status")
        if status is not None and status not in _WANTED:
            raise _bad_request(f"status must be one of {', '.join(_WANTED)}, not {status!r}")
        revision = _whole_number(query.get("revision"), "revision")
        form = query.get("format") or _accepted(request.headers.get("Accept", ""))
        if form not in _TYPES:
            raise _bad_request(f"format must be one of {', '.join(_TYPES)}, not {form!r}")
        wait = _number(query.get("wait"), "wait") or 0.0
        return _Wish(
            wait_s=min(wait, self._settings.longest_wait_s),
            status=status,
            revision=revision,
            form=form,
        )

    def _not_found(self, obs_id: str, wish: _Wish) -> web.Response:
        phase = self._phase_of(obs_id)
        if phase is not None and phase != Phase.PUBLISHED:
            sentence = f"{obs_id} is {phase.replace('_', ' ')}: ask again, or with ?wait=20"
        elif wish.lenient:
            sentence = f"there is no header of {obs_id}, and no such exposure is going on"
        else:
            sentence = (
                f"there is no such header of {obs_id}; without status and revision there may be"
            )
        return web.Response(status=404, text=sentence + "\n")

    async def _provenance(self, request: web.Request) -> web.Response:
        obs_id = request.match_info["obs_id"]
        found = await self._find(obs_id, self._wish(request))
        if found is None:
            return self._not_found(obs_id, self._wish(request))
        return web.Response(body=found[0].provenance, content_type="application/json")

    async def _list(self, request: web.Request) -> web.Response:
        day = request.query.get("day_obs")
        if day is None or not _DAY.fullmatch(day):
            raise _bad_request(f"day_obs must be given as YYYYMMDD, not {day!r}")
        entries = await self._journal.run(lambda journal: journal.headers(day_obs=int(day)))
        told = {"day_obs": int(day), "headers": [self._told(each) for each in entries]}
        return web.json_response(told)

    def _told(self, entry: HeaderEntry) -> dict[str, object]:
        return {
            "obs_id": entry.obs_id,
            "revision": entry.revision,
            "status": entry.status.value,
            "missing": list(entry.missing),
            "sha256": entry.sha256,
            "size_bytes": entry.size_bytes,
            "waiting_for": [step.name.lower() for step in Todo if step & entry.todo and step.name],
            "error": entry.error,
            "url": self.url(entry.obs_id),
        }


def _rendered(body: bytes, hdus: tuple[Hdu, ...] | None, form: str) -> bytes:
    if hdus is None:
        hdus = from_mapping(yaml.load(body, Loader=_LOADER))  # noqa: S506 - both are safe loaders
    return to_json(hdus) if form == "json" else to_fits_text(hdus)


def _accepted(accept: str) -> str:
    """Return the form that a request prefers; YAML where it does not care.

    Raises
    ------
    web.HTTPNotAcceptable
        It takes none of ours.
    """
    wanted: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        quality = _quality(parameters)
        form = _FORMATS.get(kind.strip().lower())
        if quality and form is not None:
            wanted.append((quality, form))
    if not wanted:
        if accept.strip():
            raise web.HTTPNotAcceptable(
                text=f"a header is served as {', '.join(sorted(set(_TYPES.values())))}; ask for "
                "one of them in Accept, or with ?format=yaml, json or fits\n"
            )
        return "yaml"
    return max(wanted, key=lambda each: each[0])[1]


def _quality(parameters: str) -> float:
    """Return how much a media type is wanted, 0 to 1."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def _etag(header: StoredHeader, form: str) -> str:
    return f'"{header.sha256}"' if form == "yaml" else f'"{header.sha256}-{form}"'


def _knows_already(request: web.Request, etag: str) -> bool:
    """Return whether the client has just this."""
    known = request.headers.get("If-None-Match", "")
    return etag in [each.strip().removeprefix("W/") for each in known.split(",")]


def _number(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise _bad_request(f"{name} must be a number that is not negative, not {text!r}")
    return number


def _whole_number(text: str | None, name: str) -> int | None:
    number = _number(text, name)
    if number is not None and not number.is_integer():
        raise _bad_request(f"{name} must be a whole number, not {text!r}")
    return None if number is None else int(number)


def _bad_request(sentence: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=sentence + "\n")


def _base_url(host: str, runner: web.AppRunner) -> str:
    port = runner.addresses[0][1]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - it is recognised here, not bound to
        host = socket.getfqdn()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
