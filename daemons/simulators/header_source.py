"""Where the camera gets the header of an exposure from."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, Self

import aiohttp
import structlog

from daemons.runtime.executors import BlockingExecutor
from daemons.simulators.header_document import HeaderDocument, read_header

_log = structlog.get_logger(__name__)

_ANSWER_MARGIN_S = 5.0
_PAUSE_S = 0.25
_FOUND = 200


class HeaderSource(Protocol):
    """Somebody who knows the header of an exposure."""

    async def fetch(self, obs_id: str) -> HeaderDocument | None:
        """Return the header of an exposure.

        Waits for a header that is not there yet, but not for ever: None when it did not
        come within the time that the source gives it.

        Raises
        ------
        HeaderDocumentError
            What came is no header.
        """
        ...


class HttpHeaderSource:
    """Asks a header service over HTTP, `GET /headers/{obs_id}?wait=seconds`.

    The header service may not be there, not know the exposure yet, or have an early
    header only; it is asked again until the time is over, and an early header is better
    than none. Use it as an asynchronous context manager.

    Parameters
    ----------
    url
        Root of the header service's API.
    patience_s
        How long a header is waited for.
    poll_s
        How long one request may wait on the server.
    """

    def __init__(self, url: str, *, patience_s: float = 15.0, poll_s: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._patience_s = patience_s
        self._poll_s = poll_s
        self._session: aiohttp.ClientSession | None = None
        self._parser = BlockingExecutor("header-parser", 1)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._poll_s + _ANSWER_MARGIN_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._parser.close()

    async def fetch(self, obs_id: str) -> HeaderDocument | None:
        """Return the header of an exposure; see `HeaderSource.fetch`."""
        early: HeaderDocument | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    document = await self._ask(obs_id)
                    if document is not None and not document.early:
                        return document
                    early = document or early
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            return early

    async def _ask(self, obs_id: str) -> HeaderDocument | None:
        """Ask once; None where there is no header yet, or no header service."""
        if self._session is None:
            raise RuntimeError("use the header source as a context manager: `async with source`")
        url = f"{self._url}/headers/{obs_id}"
        try:
            async with self._session.get(
                url, params={"wait": self._poll_s}, headers={"Accept": "text/yaml"}
            ) as answer:
                if answer.status != _FOUND:
                    _log.debug("header_not_there", obs_id=obs_id, status=answer.status)
                    return None
                payload = await answer.read()
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            _log.debug("header_service_away", obs_id=obs_id, error=repr(error))
            return None
        return await self._parser.run(read_header, payload)


class NoHeaderSource:
    """For a camera without a header service: every header is undefined."""

    async def fetch(self, obs_id: str) -> HeaderDocument | None:  # noqa: ARG002 - the Protocol's
        """Return None."""
        return None
