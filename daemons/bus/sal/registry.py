"""Client of a schema registry that speaks Confluent's API, with a cache that outlives outages.

What the registry has told is kept in memory and, where a folder is given, on disk.
Reading asks the registry only for ids that the cache lacks. Writing asks it once per
subject and process, and falls back to the disk when it does not answer, so an outage
does not stop a start.

Exceptions::

    BusError                      the registry refuses, for good
    ├── UnknownSchemaError        no such id, or of another record
    └── BusUnavailableError       no answer, or none that can be used now
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog

from daemons.bus.interface import BusError, BusUnavailableError
from daemons.bus.sal.schema import AvroSchema
from daemons.runtime.health import HealthBoard

DEPENDENCY = "schema_registry"
"""Name on the health board."""

_ASK_AGAIN_S = 30.0
"""How long an answer about an id that does not fit its topic is believed."""
_ASKED_MAX = 1000
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_RETRYABLE = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}
_log = structlog.get_logger(__name__)


class UnknownSchemaError(BusError):
    """The registry has no schema under an id, or one of another record."""

    code = "bus.unknown_schema"


def basic_authorization(username: str, password: str) -> str:
    """Return the header value for a user and password (RFC 7617, UTF-8)."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema and the id that messages name it by."""

    schema_id: int
    schema: AvroSchema


class SchemaRegistry:
    """The schemas of one registry.

    Parameters
    ----------
    url
        Where the Confluent API begins, such as `http://registry:8081`.
    cache
        Folder for what the registry has told; nothing is kept on disk without one.
    timeout_s
        Bound of one call.
    authorization
        Value of the `Authorization` header, where the registry asks for one.
    health
        Where its presence is reported, as `schema_registry`.
    """

    def __init__(
        self,
        url: str,
        *,
        cache: Path | None = None,
        timeout_s: float = 5.0,
        authorization: str | None = None,
        health: HealthBoard | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._cache = None if cache is None else _DiskCache(cache, self._url)
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._health = health or HealthBoard()
        self._health.expect(DEPENDENCY)
        self._by_id: dict[int, AvroSchema] = {}
        self._asked: dict[tuple[int, str], float] = {}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def by_id(self, schema_id: int, *, expected: str) -> AvroSchema:
        """Return the schema that messages name by an id.

        Parameters
        ----------
        schema_id
            From a message's frame.
        expected
            Full name of the record that the topic carries. A cached schema of another
            name (the registry was emptied and counts from one again) is asked for anew.

        Raises
        ------
        UnknownSchemaError
            The registry does not have it, or it is of another record.
        BusUnavailableError
            Neither the cache nor the registry can tell now.
        """
        known = self._by_id.get(schema_id)
        if known is None and self._cache is not None:
            known = self._cache.read_id(schema_id)
        if known is None or known.full_name != expected:
            known = await self._ask(schema_id, expected, known)
        self._by_id[schema_id] = known
        return known

    async def _ask(self, schema_id: int, expected: str, known: AvroSchema | None) -> AvroSchema:
        """Ask for an id, but not for each of many messages that carry the same wrong one."""
        now = asyncio.get_running_loop().time()
        asked = self._asked.get((schema_id, expected))
        if asked is None or now - asked >= _ASK_AGAIN_S:
            answer = await self._call("GET", f"/schemas/ids/{schema_id}")
            if len(self._asked) >= _ASKED_MAX:
                self._asked.clear()
            self._asked[schema_id, expected] = now
            known = None if answer is None else AvroSchema(str(answer.get("schema", "")))
            if known is not None and self._cache is not None:
                self._cache.write_id(schema_id, known)
        if known is None:
            raise UnknownSchemaError(f"the schema registry has no schema {schema_id}")
        if known.full_name != expected:
            raise UnknownSchemaError(
                f"schema {schema_id} is of {known.full_name}, the topic carries {expected}"
            )
        return known

    async def for_writing(self, subject: str, ours: AvroSchema) -> RegisteredSchema:
        """Return the schema to write a subject with.

        That is the subject's latest one when it covers ours, so that a topic keeps the
        schema of whoever owns it; otherwise ours, registered.

        Raises
        ------
        BusError
            The registry refuses our schema.
        BusUnavailableError
            The registry does not answer, and the disk has nothing that fits.
        """
        try:
            found = await self.latest(subject)
            if found is None or not found.schema.covers(ours):
                found = await self.register(subject, ours)
        except BusUnavailableError:
            kept = None if self._cache is None else self._cache.read_subject(subject)
            if kept is None or not kept.schema.covers(ours):
                raise
            _log.warning("schema_registry_away_using_cache", subject=subject, id=kept.schema_id)
            return kept
        if self._cache is not None:
            self._cache.write_subject(subject, found)
        self._by_id[found.schema_id] = found.schema
        return found

    async def latest(self, subject: str) -> RegisteredSchema | None:
        """Return the newest schema of a subject, or nothing when it has none.

        Raises
        ------
        BusUnavailableError
            The registry does not answer.
        """
        answer = await self._call("GET", f"/subjects/{quote(subject, safe='')}/versions/latest")
        if answer is None:
            return None
        return RegisteredSchema(_id(answer), AvroSchema(str(answer.get("schema", ""))))

    async def register(self, subject: str, schema: AvroSchema) -> RegisteredSchema:
        """Add a schema to a subject, if it is not there yet.

        Raises
        ------
        BusError
            The registry refuses it.
        BusUnavailableError
            The registry does not answer.
        """
        body = {"schema": schema.text, "schemaType": "AVRO", "references": []}
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = await self._call("POST", path, json.dumps(body))
        if answer is None:
            raise BusError(f"the schema registry {self._url} takes no schema for {subject}")
        return RegisteredSchema(_id(answer), schema)

    async def close(self) -> None:
        """Give back the connections; what is not in the cache cannot be asked for any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self, method: str, path: str, body: str | None = None
    ) -> Mapping[str, Any] | None:
        """Ask the registry; returns nothing for 404."""
        if self._closed:
            raise BusUnavailableError(
                f"the connection to the schema registry {self._url} is closed"
            )
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(method, self._url + path, data=body) as response,
            ):
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise self._away(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        return self._judge(method + " " + path, status, text)

    def _judge(self, call: str, status: int, text: str) -> Mapping[str, Any] | None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE:
            raise self._away(f"{call} answered {status}: {text[:200]}")
        if status == HTTPStatus.NOT_FOUND and "error_code" in text:
            self._present()
            return None
        if status == HTTPStatus.NOT_FOUND:
            raise self._away(f"{call} is not there: does the URL end where the API begins?")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            reason = f"{self._url} refuses us ({status}): check the registry's user and password"
            self._health.report(DEPENDENCY, ok=False, reason=reason)
            raise BusError(reason)
        if status == HTTPStatus.CONFLICT:
            raise BusError(
                f"{self._url}: {call}: our schema does not go with the one that is there; "
                f"extend the SAL dictionary ({text[:200]})"
            )
        if status >= HTTPStatus.BAD_REQUEST:
            raise BusError(f"{self._url}: {call} answered {status}: {text[:200]}")
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise self._away(f"{call} answered no JSON: {text[:80]}") from error
        if not isinstance(answer, dict):
            raise self._away(f"{call} answered no JSON object: {text[:80]}")
        self._present()
        return answer

    def _present(self) -> None:
        self._health.report(DEPENDENCY, ok=True, reason=self._url)

    def _away(self, reason: str) -> BusUnavailableError:
        sentence = f"schema registry {self._url}: {reason}"
        self._health.report(DEPENDENCY, ok=False, reason=sentence)
        return BusUnavailableError(sentence)


def _id(answer: Mapping[str, Any]) -> int:
    number = answer.get("id")
    if not isinstance(number, int):
        raise BusError(f"the schema registry answered without an id: {str(answer)[:200]}")
    return number


class _DiskCache:
    """One file per id and per subject; a file that cannot be used counts as absent."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder / sha256(url.encode()).hexdigest()[:16]

    def read_id(self, schema_id: int) -> AvroSchema | None:
        found = self._read(self._id_path(schema_id))
        return None if found is None else found.schema

    def write_id(self, schema_id: int, schema: AvroSchema) -> None:
        self._write(self._id_path(schema_id), RegisteredSchema(schema_id, schema))

    def read_subject(self, subject: str) -> RegisteredSchema | None:
        return self._read(self._subject_path(subject))

    def write_subject(self, subject: str, found: RegisteredSchema) -> None:
        self._write(self._subject_path(subject), found)
        self.write_id(found.schema_id, found.schema)

    def _id_path(self, schema_id: int) -> Path:
        return self._folder / "ids" / f"{schema_id}.json"

    def _subject_path(self, subject: str) -> Path:
        return self._folder / "subjects" / f"{quote(subject, safe='')}.json"

    def _read(self, path: Path) -> RegisteredSchema | None:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            found = RegisteredSchema(int(kept["id"]), AvroSchema(str(kept["schema"])))
            found.schema.parsed  # noqa: B018 - raises where the file was damaged
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, BusError) as error:
            _log.warning("schema_cache_file_unusable", path=str(path), error=str(error))
            return None
        return found

    def _write(self, path: Path, found: RegisteredSchema) -> None:
        text = json.dumps({"id": found.schema_id, "schema": found.schema.text})
        try:
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
                file.write(text)
            os.replace(file.name, path)  # noqa: PTH105 - the name is text already
        except OSError as error:
            _log.warning("schema_cache_not_written", path=str(path), error=str(error))
