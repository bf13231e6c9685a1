"""A small schema registry in this process, on the Confluent paths that SAL clients use.

It keeps what it is given and numbers it; compatibility is not judged. It can be
stopped, made to forget (as a registry in memory does on restart), to fail, and
counts what it was asked, so that a test can tell that a client caches.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

from tests.support.servers.ports import LOOPBACK, free_port

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_SUBJECT_NOT_FOUND = 40401
_VERSION_NOT_FOUND = 40402
_SCHEMA_NOT_FOUND = 40403
_INVALID_SCHEMA = 42201


class _RefusalError(Exception):
    def __init__(self, status: HTTPStatus, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class _Shelf:
    """Schemas by id, and per subject the ids in the order of their versions."""

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)

    def register(self, subject: str, body: dict[str, Any]) -> int:
        entry = _entry(body)
        known = next((number for number, old in self.schemas.items() if old == entry), None)
        number = known or len(self.schemas) + 1
        self.schemas[number] = entry
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def lookup(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        entry = _entry(body)
        for version, number in enumerate(self._versions(subject), start=1):
            if self.schemas[number] == entry:
                return self._described(subject, version, number)
        raise _RefusalError(HTTPStatus.NOT_FOUND, _SCHEMA_NOT_FOUND, "Schema not found")

    def version(self, subject: str, version: str) -> dict[str, Any]:
        versions = self._versions(subject)
        wanted = len(versions) if version == "latest" else int(version)
        if not 1 <= wanted <= len(versions):
            raise _RefusalError(HTTPStatus.NOT_FOUND, _VERSION_NOT_FOUND, "Version not found")
        return self._described(subject, wanted, versions[wanted - 1])

    def by_id(self, number: int) -> dict[str, Any]:
        if number not in self.schemas:
            raise _RefusalError(HTTPStatus.NOT_FOUND, _SCHEMA_NOT_FOUND, "Schema not found")
        return self.schemas[number]

    def versions(self, subject: str) -> list[int]:
        return list(range(1, len(self._versions(subject)) + 1))

    def remove(self, subject: str) -> list[int]:
        gone = self.versions(subject)
        del self.subjects[subject]
        return gone

    def _versions(self, subject: str) -> list[int]:
        if subject not in self.subjects:
            raise _RefusalError(
                HTTPStatus.NOT_FOUND, _SUBJECT_NOT_FOUND, f"Subject '{subject}' not found"
            )
        return self.subjects[subject]

    def _described(self, subject: str, version: int, number: int) -> dict[str, Any]:
        return {"subject": subject, "version": version, "id": number, **self.schemas[number]}


class SmallRegistry:
    """The registry; a context manager that is started on entering.

    It stays on its port across `stop` and `start`.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: Counter[str] = Counter()
        """How often each `METHOD /path` was asked."""
        self.failing: HTTPStatus | None = None
        """Answer everything with this status until it is None again."""
        self._shelf = _Shelf()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def registry_url(self) -> str:
        """URL below which Confluent's paths are, such as `/subjects`."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Listen; what was registered before a `stop` is still known."""
        if self._server is None:
            self._server = _server(self.port, self._answer)
            threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.02},
                name="small-registry",
                daemon=True,
            ).start()
        return self

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def forget(self) -> None:
        """Lose every schema; ids count from 1 again."""
        with self._lock:
            self._shelf = _Shelf()

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that have a schema."""
        with self._lock:
            return tuple(self._shelf.subjects)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, Any]:
        with self._lock:
            self.asked[f"{method} {path}"] += 1
            if self.failing is not None:
                return self.failing, {"error_code": 50001, "message": "told to fail"}
            try:
                return HTTPStatus.OK, _route(self._shelf, method, path, body)
            except _RefusalError as refusal:
                return refusal.status, {"error_code": refusal.code, "message": str(refusal)}


def _route(shelf: _Shelf, method: str, path: str, body: bytes) -> Any:
    for wanted, pattern, action in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match and wanted == method:
            return action(shelf, body, *match.groups())
    raise _RefusalError(HTTPStatus.NOT_FOUND, 404, f"no {method} {path} here")


_Action = Callable[..., Any]
_ROUTES: tuple[tuple[str, str, _Action], ...] = (
    ("GET", "/subjects", lambda shelf, _: list(shelf.subjects)),
    ("POST", "/subjects/([^/]+)", lambda shelf, body, name: shelf.lookup(name, _json(body))),
    ("DELETE", "/subjects/([^/]+)", lambda shelf, _, name: shelf.remove(name)),
    ("GET", "/subjects/([^/]+)/versions", lambda shelf, _, name: shelf.versions(name)),
    (
        "POST",
        "/subjects/([^/]+)/versions",
        lambda shelf, body, name: {"id": shelf.register(name, _json(body))},
    ),
    (
        "GET",
        r"/subjects/([^/]+)/versions/(\d+|latest)",
        lambda shelf, _, name, version: shelf.version(name, version),
    ),
    ("GET", r"/schemas/ids/(\d+)", lambda shelf, _, number: shelf.by_id(int(number))),
    ("GET", "/config", lambda _shelf, _: {"compatibilityLevel": "NONE"}),
)


def _json(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise _RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, _INVALID_SCHEMA, "no JSON object")
    return read


def _entry(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a registration; the schema must itself be JSON (Avro)."""
    schema = body.get("schema")
    try:
        json.loads(schema if isinstance(schema, str) else "")
    except ValueError:
        message = f"Invalid schema {schema!r}"
        raise _RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, _INVALID_SCHEMA, message) from None
    kind = body.get("schemaType", "AVRO")
    return {"schema": schema, **({} if kind == "AVRO" else {"schemaType": kind})}


def _server(
    port: int, answer: Callable[[str, str, bytes], tuple[HTTPStatus, Any]]
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(self.path.partition("?")[0])
            status, told = answer(self.command, path, body)
            payload = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Keep the test's output free of a line per request."""

    return _Server((LOOPBACK, port), Handler)


class _Server(ThreadingHTTPServer):
    """An HTTP server that closes the connections it has when it is closed."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
