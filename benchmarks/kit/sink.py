"""An object store that forgets: it answers as S3 does and discards what it is sent.

    python -m benchmarks.kit.sink --address A --port P [--verify]

The far side of the transfer benchmarks: correct towards every client (conditions, sizes,
metadata, uploads in parts, `Expect`), and so cheap that the client and the path are
measured. Bodies are thrown away inside the kernel; with `--verify` they are read, every digest
that the client sent is checked, and the ETag is the MD5. Requests are not authenticated.
Prints "ready PORT", then a line of JSON for each object that is complete, with the
moment on the machine's monotonic clock. One thread; ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import hashlib
import itertools
import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from awscrt import checksums

_MSG_TRUNC = 0x20
"""For TCP on Linux: take bytes off the socket without copying them anywhere."""
_AT_ONCE = 8 << 20
_KEPT_BYTES = 64 << 10
"""Objects up to this size are kept whole, so that they can be read back."""
_HEAD_LIMIT = 64 << 10
_HEX_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_XML = "application/xml"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.recv.restype = ctypes.c_ssize_t
_libc.recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@dataclass(frozen=True)
class Request:
    """One request without its body."""

    method: str
    key: str
    """Bucket and key, as in the path; empty for requests about the service."""
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def length(self) -> int:
        """Bytes of the body as it comes over the wire."""
        return int(self.headers.get("content-length", "0"))

    @property
    def size(self) -> int:
        """Bytes of the object: without the frames of `aws-chunked`."""
        return int(self.headers.get("x-amz-decoded-content-length", self.length))


@dataclass(frozen=True)
class Answer:
    """What the sink says."""

    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = _XML


@dataclass
class Stored:
    """What is known of an object."""

    size: int
    etag: str
    headers: dict[str, str]
    body: bytes | None


class Body:
    """What is remembered of a body while it comes in."""

    def __init__(self, request: Request, *, verify: bool) -> None:
        self.size = request.size
        self.content: bytes | None = None
        plain = "aws-chunked" not in request.headers.get("content-encoding", "")
        self.verifies = plain and (verify or request.length <= _KEPT_BYTES)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._crc64 = 0
        self._crc32 = 0

    def add(self, piece: bytes) -> None:
        """Take a piece into the digests."""
        self._md5.update(piece)
        self._sha256.update(piece)
        self._crc64 = checksums.crc64nvme(piece, self._crc64)
        self._crc32 = checksums.crc32(piece, self._crc32)

    @property
    def md5(self) -> str:
        """MD5 as an ETag has it."""
        return self._md5.hexdigest()

    def wrong(self, headers: dict[str, str]) -> str | None:
        """Return the name of a header whose digest is not that of the body."""
        if not self.verifies:
            return None
        told = {
            "content-md5": _b64(self._md5.digest()),
            "x-amz-checksum-sha256": _b64(self._sha256.digest()),
            "x-amz-checksum-crc64nvme": _b64(self._crc64.to_bytes(8, "big")),
            "x-amz-checksum-crc32": _b64(self._crc32.to_bytes(4, "big")),
        }
        if _HEX_SHA256.fullmatch(headers.get("x-amz-content-sha256", "")):
            told["x-amz-content-sha256"] = self._sha256.hexdigest()
        return next((name for name, own in told.items() if headers.get(name, own) != own), None)


class Bucket:
    """Everything that was stored, without its bytes."""

    def __init__(self, *, verify: bool) -> None:
        self.verify = verify
        self._objects: dict[str, Stored] = {}
        self._uploads: dict[str, dict[int, int]] = {}
        self._numbers = itertools.count()

    def refuse(self, request: Request) -> Answer | None:
        """Return why a body is not wanted."""
        if "transfer-encoding" in request.headers:
            return _error("501 Not Implemented", "NotImplemented")
        conditional = request.headers.get("if-none-match") == "*"
        if conditional and request.method in {"PUT", "POST"} and request.key in self._objects:
            return _error("412 Precondition Failed", "PreconditionFailed")
        return None

    def answer(self, request: Request, body: Body) -> Answer:
        """Do what a request asks for."""
        wrong = body.wrong(request.headers)
        if wrong is not None:
            return _error("400 Bad Request", "BadDigest")
        if "uploadId" in request.query or "uploads" in request.query:
            return self._parts(request, body)
        match request.method:
            case "PUT":
                return self._put(request, body.size, body) if "/" in request.key else Answer()
            case "GET" | "HEAD":
                return self._get(request)
            case "DELETE":
                self._objects.pop(request.key, None)
                return Answer("204 No Content")
        return _error("501 Not Implemented", "NotImplemented")

    def _put(self, request: Request, size: int, body: Body) -> Answer:
        etag = body.md5 if body.verifies and body.size == size else f"discarded-{size:x}-1"
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.startswith(("x-amz-meta-", "content-type"))
        }
        self._objects[request.key] = Stored(size, etag, kept, body.content)
        line = {"key": request.key, "bytes": size, "at": time.monotonic()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return Answer(headers={"ETag": f'"{etag}"'})

    def _get(self, request: Request) -> Answer:
        if "/" not in request.key:
            return self._list(request)
        found = self._objects.get(request.key)
        if found is None:
            return _error("404 Not Found", "NoSuchKey")
        headers = {"ETag": f'"{found.etag}"', "Last-Modified": _date(), **found.headers}
        kind = headers.pop("content-type", "binary/octet-stream")
        if request.method == "HEAD":
            headers["Content-Length"] = str(found.size)
            return Answer(headers=headers, content_type=kind)
        if found.body is None:
            return _error("501 Not Implemented", "NotImplemented")
        return Answer(headers=headers, body=found.body, content_type=kind)

    def _list(self, request: Request) -> Answer:
        bucket, prefix = request.key, request.query.get("prefix", "")
        keys = sorted(key for key in self._objects if key.startswith(f"{bucket}/{prefix}"))
        entries = "".join(
            f"<Contents><Key>{escape(key.removeprefix(bucket + '/'))}</Key>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self._objects[key].etag}&quot;</ETag>"
            f"<Size>{self._objects[key].size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in keys
        )
        return _xml(
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<KeyCount>{len(keys)}</KeyCount><MaxKeys>{len(keys) + 1}</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        )

    def _parts(self, request: Request, body: Body) -> Answer:
        upload = request.query.get("uploadId", "")
        bucket, _, key = request.key.partition("/")
        if "uploads" in request.query:
            upload = f"upload-{next(self._numbers)}"
            self._uploads[upload] = {}
            return _xml(
                f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
                f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        if upload not in self._uploads:
            return _error("404 Not Found", "NoSuchUpload")
        if request.method == "PUT":
            self._uploads[upload][int(request.query["partNumber"])] = body.size
            return Answer(headers={"ETag": f'"part-{request.query["partNumber"]}-1"'})
        sizes = self._uploads.pop(upload)
        if request.method == "DELETE":
            return Answer("204 No Content")
        done = self._put(request, sum(sizes.values()), body)
        return _xml(
            f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
            f"<ETag>{escape(done.headers['ETag'])}</ETag></CompleteMultipartUploadResult>"
        )


class Connection:
    """One client's connection, served step by step whenever bytes come."""

    def __init__(self, connection: socket.socket, bucket: Bucket) -> None:
        self.socket = connection
        self._bucket = bucket
        self._steps = self._serve()
        self._ahead = b""

    def go_on(self) -> bool:
        """Work until there are no more bytes; False where the client has gone."""
        try:
            next(self._steps)
        except (StopIteration, ConnectionError):
            return False
        return True

    def _serve(self) -> Generator[None, None, None]:
        while True:
            head = yield from self._head()
            if head is None:
                return
            request = _parse(head)
            answer = self._bucket.refuse(request)
            body = Body(request, verify=self._bucket.verify)
            if "100-continue" in request.headers.get("expect", "").lower():
                if answer is not None:
                    self._send(answer, request, close=True)
                    return
                self._out(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not (yield from self._body(request, body)):
                return
            self._send(answer or self._bucket.answer(request, body), request)

    def _head(self) -> Generator[None, None, str | None]:
        while b"\r\n\r\n" not in self._ahead:
            if len(self._ahead) > _HEAD_LIMIT:
                return None
            piece = yield from self._some(4096)
            if not piece:
                return None
            self._ahead += piece
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _body(self, request: Request, body: Body) -> Generator[None, None, bool]:
        left = request.length
        early, self._ahead = self._ahead[:left], self._ahead[left:]
        left -= len(early)
        reads = body.verifies or request.length <= _KEPT_BYTES
        if not reads:
            return (yield from self._discard(left))
        pieces = [early] if request.length <= _KEPT_BYTES else []
        body.add(early)
        while left:
            piece = yield from self._some(min(left, 1 << 20))
            if not piece:
                return False
            left -= len(piece)
            body.add(piece)
            if request.length <= _KEPT_BYTES:
                pieces.append(piece)
        if request.length <= _KEPT_BYTES:
            body.content = b"".join(pieces)
        return True

    def _discard(self, left: int) -> Generator[None, None, bool]:
        descriptor = self.socket.fileno()
        while left:
            taken = _libc.recv(descriptor, None, min(left, _AT_ONCE), _MSG_TRUNC)
            if taken > 0:
                left -= taken
            elif taken < 0 and ctypes.get_errno() in {11, 4}:
                yield
            else:
                return False
        return True

    def _some(self, most: int) -> Generator[None, None, bytes]:
        while True:
            try:
                return self.socket.recv(most)
            except BlockingIOError:
                yield

    def _send(self, answer: Answer, request: Request, *, close: bool = False) -> None:
        headers = {
            "Content-Length": str(len(answer.body)),
            "Content-Type": answer.content_type,
            "Date": _date(),
            "Server": "discarding-sink",
            "x-amz-request-id": "0",
            **answer.headers,
            **({"Connection": "close"} if close else {}),
        }
        lines = [
            f"HTTP/1.1 {answer.status}",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        self._out(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if request.method != "HEAD":
            self._out(answer.body)

    def _out(self, data: bytes) -> None:
        """Send an answer; it is small and fits into the socket's buffer."""
        if data:
            self.socket.setblocking(True)
            self.socket.sendall(data)
            self.socket.setblocking(False)


def serve(address: str, port: int, *, verify: bool) -> None:
    """Serve until SIGTERM."""
    bucket = Bucket(verify=verify)
    with socket.create_server((address, port), backlog=512) as listener:
        listener.setblocking(False)
        ready = selectors.DefaultSelector()
        ready.register(listener, selectors.EVENT_READ)
        print("ready", listener.getsockname()[1], flush=True)
        while True:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    _accept(listener, ready, bucket)
                elif not key.data.go_on():
                    ready.unregister(key.fileobj)
                    key.data.socket.close()


def _accept(listener: socket.socket, ready: selectors.BaseSelector, bucket: Bucket) -> None:
    connection, _ = listener.accept()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ready.register(connection, selectors.EVENT_READ, Connection(connection, bucket))


def _parse(head: str) -> Request:
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    parts = urlsplit(target)
    query = {
        name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
    }
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    return Request(method, unquote(parts.path).strip("/"), query, headers)


def _error(status: str, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Answer(status, body=body.encode())


def _xml(text: str) -> Answer:
    return Answer(body=f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _date() -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())


def _end(*_: Any) -> None:
    os._exit(0)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--verify", action="store_true", help="read bodies and check digests")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    serve(options.address, options.port, verify=options.verify)


if __name__ == "__main__":
    main()
