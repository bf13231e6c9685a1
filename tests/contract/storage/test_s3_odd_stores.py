"""S3Store against stores that are less than they should be.

The store here is a small one of the test's own: real HTTP, real bytes, and one
oddity at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemons.storage.interface import (
    AccessRefusedError,
    IntegrityError,
    ObjectExistsError,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.probe import probe_s3
from daemons.storage.s3 import S3Store
from daemons.storage.settings import MIB, StoreSettings
from daemons.storage.traits import StoreTraits
from tests.contract.storage.conftest import ONCE, Opener, S3Backend, secret


@dataclass
class OddStore:
    """Keeps what is put; knows no conditions."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: tuple[HTTPStatus, str] | None = None
    """Refuse everything with this status and code."""
    refuse_conditions: tuple[HTTPStatus, str] | None = None
    """Refuse requests with If-None-Match with this status and code."""
    refuse_checksums: tuple[HTTPStatus, str] | None = None
    """Refuse requests with a checksum with this status and code."""
    checks_signed_digest: bool = False
    """Compare the signed SHA-256 with the body."""
    etag: Callable[[bytes], str] = lambda body: hashlib.md5(body).hexdigest()  # noqa: S324
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of answers to PUT."""
    requests: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append(f"{handler.command} {handler.path}")
        conditional = handler.headers.get("If-None-Match") is not None
        summed = handler.headers.get("x-amz-checksum-crc32") is not None
        refusal = (
            self.refuse
            or (self.refuse_conditions if conditional else None)
            or (self.refuse_checksums if summed else None)
        )
        signed = handler.headers.get("x-amz-content-sha256", "")
        if self.checks_signed_digest and signed != hashlib.sha256(body).hexdigest():
            refusal = refusal or (HTTPStatus.BAD_REQUEST, "XAmzContentSHA256Mismatch")
        if refusal is not None:
            self._send(handler, refusal[0], f"<Error><Code>{refusal[1]}</Code></Error>".encode())
        elif handler.command == "PUT":
            self.objects[handler.path] = body
            self._send(handler, HTTPStatus.OK, b"", {"ETag": self.etag(body), **self.headers})
        elif handler.path in self.objects:
            kept = self.objects[handler.path]
            told = {"ETag": self.etag(kept), "Last-Modified": "Sat, 21 Nov 2026 00:00:00 GMT"}
            self._send(handler, HTTPStatus.OK, kept, told if told["ETag"] else {})
        else:
            self._send(handler, HTTPStatus.NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>")

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: HTTPStatus,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


@pytest.fixture
def odd() -> Iterator[OddStore]:
    odd = OddStore()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            odd.answer(self)

        do_GET = do_HEAD = do_POST = do_DELETE = do_PUT  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    odd.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield odd
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["direct", "boto3"])
def settings(
    request: pytest.FixtureRequest, odd: OddStore, tmp_path: Path
) -> Callable[..., StoreSettings]:
    def make(**changes: Any) -> StoreSettings:
        fields: dict[str, Any] = {
            "url": "s3://bucket",
            "endpoint_url": f"http://127.0.0.1:{odd.port}",
            "access_key": secret(tmp_path, "key"),
            "secret_key": secret(tmp_path, "secret"),
            "retry": ONCE,
            "sender": request.param,
            "hedge_percent": 0,
        }
        return StoreSettings(**{**fields, **changes})

    return make


Settings = Callable[..., StoreSettings]


async def test_a_store_that_ignores_conditions_is_found_out_and_looked_at_first(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    store = opened(settings())
    await store.put("image", b"first", if_absent=True)
    with pytest.raises(ObjectExistsError):
        await store.put("image", b"second", if_absent=True)
    assert odd.objects["/bucket/image"] == b"first"
    probes = [line for line in odd.requests if "conditional-probe" in line]
    assert probes == ["PUT /bucket/.arriero/conditional-probe"] * 2


@pytest.mark.parametrize(
    "refusal",
    [
        (HTTPStatus.NOT_IMPLEMENTED, "NotImplemented"),
        (HTTPStatus.BAD_REQUEST, "InvalidArgument"),
    ],
)
async def test_a_store_that_refuses_conditions_is_looked_at_first(
    odd: OddStore, settings: Settings, opened: Opener, refusal: tuple[HTTPStatus, str]
) -> None:
    odd.refuse_conditions = refusal
    store = opened(settings())
    await store.put("image", b"first", if_absent=True)
    with pytest.raises(ObjectExistsError):
        await store.put("image", b"second", if_absent=True)
    assert odd.objects["/bucket/image"] == b"first"


async def test_conditions_that_are_configured_and_refused_are_named(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    odd.refuse_conditions = (HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")
    store = opened(settings(conditional="native"))
    with pytest.raises(StoreError, match="conditional: head"):
        await store.put("image", b"first", if_absent=True)


async def test_looking_first_needs_no_probe(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    store = opened(settings(conditional="head"))
    await store.put("image", b"first", if_absent=True)
    assert odd.requests == ["HEAD /bucket/image", "PUT /bucket/image"]


async def test_a_probe_that_fails_for_another_reason_is_repeated_later(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    store = opened(settings())
    odd.refuse = (HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown")
    with pytest.raises(StoreUnavailableError):
        await store.put("image", b"first", if_absent=True)
    odd.refuse = None
    await store.put("image", b"first", if_absent=True)
    assert odd.objects["/bucket/image"] == b"first"


async def test_other_bytes_than_were_sent_are_found_by_their_etag(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    odd.etag = lambda _: "0" * 32
    with pytest.raises(IntegrityError, match=r"ETag 0{32}.*etag: opaque"):
        await opened(settings()).put("image", b"pixels")
    info = await opened(settings(etag="opaque")).put("image", b"pixels")
    assert info.etag == "0" * 32


async def test_an_etag_that_is_no_md5_proves_nothing_and_is_let_pass(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    odd.etag = lambda _: '"0123456789abcdef-1"'
    assert (await opened(settings()).put("image", b"x")).etag == "0123456789abcdef-1"
    odd.etag = lambda _: "0" * 32
    odd.headers = {"x-amz-server-side-encryption": "aws:kms"}
    await opened(settings()).put("image", b"x")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", StoreUnavailableError),
        (HTTPStatus.SERVICE_UNAVAILABLE, "", StoreUnavailableError),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", StoreUnavailableError),
        (HTTPStatus.BAD_GATEWAY, "", StoreUnavailableError),
        (HTTPStatus.TOO_MANY_REQUESTS, "", StoreUnavailableError),
        (HTTPStatus.BAD_REQUEST, "RequestTimeout", StoreUnavailableError),
        (HTTPStatus.CONFLICT, "OperationAborted", StoreUnavailableError),
        (HTTPStatus.FORBIDDEN, "AccessDenied", AccessRefusedError),
        (HTTPStatus.FORBIDDEN, "RequestTimeTooSkewed", AccessRefusedError),
        (HTTPStatus.BAD_REQUEST, "ExpiredToken", AccessRefusedError),
        (HTTPStatus.UNAUTHORIZED, "", AccessRefusedError),
        (HTTPStatus.BAD_REQUEST, "BadDigest", IntegrityError),
        (HTTPStatus.BAD_REQUEST, "XAmzContentSHA256Mismatch", IntegrityError),
        (HTTPStatus.LENGTH_REQUIRED, "MissingContentLength", StoreError),
        (HTTPStatus.NOT_FOUND, "NoSuchBucket", StoreError),
        (HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", StoreError),
        (HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", StoreError),
    ],
)
async def test_what_a_store_answers_becomes_our_error(
    odd: OddStore,
    settings: Settings,
    opened: Opener,
    status: HTTPStatus,
    code: str,
    kind: type[StoreError],
) -> None:
    odd.refuse = (status, code)
    with pytest.raises(kind) as caught:
        await opened(settings()).put("image", b"x")
    assert isinstance(caught.value, kind)
    retryable = kind in {StoreUnavailableError, IntegrityError}
    assert caught.value.retryable is retryable
    assert "put image" in str(caught.value)
    assert code in str(caught.value)


async def test_what_is_no_s3_at_all_is_unavailable(
    odd: OddStore, settings: Settings, opened: Opener
) -> None:
    store = opened(settings())
    odd.objects["/bucket?list-type=2&prefix=&encoding-type=url"] = b"<html>Welcome!</html>"
    with pytest.raises(StoreUnavailableError, match="no S3"):
        _ = [info async for info in store.list()]
    odd.etag = lambda _: ""
    odd.objects["/bucket/image"] = b"<html>Welcome!</html>"
    with pytest.raises(StoreUnavailableError, match="no S3"):
        await store.head("image")
    with pytest.raises(IntegrityError, match="no S3"):
        await store.put("image", b"x")


async def test_a_wrong_answer_to_one_part_aborts_the_upload(
    odd: OddStore, settings: Settings, opened: Opener, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(6 * MIB))
    key = "/bucket/large?uploads"
    odd.objects[key] = (
        b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
    )
    odd.etag = lambda _: "0" * 32
    store = opened(settings(single_put_limit_bytes=5 * MIB, part_bytes=5 * MIB))
    with pytest.raises(IntegrityError):
        await store.put("large", large)
    first, *parts, last = odd.requests
    assert first == "POST /bucket/large?uploads"
    assert parts
    assert all(part.startswith("PUT /bucket/large?") for part in parts)
    assert last == "DELETE /bucket/large?uploadId=u1"


async def test_probing_tells_what_an_odd_store_can_do_and_what_to_set(
    odd: OddStore, settings: Settings
) -> None:
    odd.objects["/bucket"] = b""
    odd.refuse_checksums = (HTTPStatus.LENGTH_REQUIRED, "MissingContentLength")
    wishful = settings(conditional="native", checksums="when_supported")
    traits = await probe_s3("facility", wishful)
    assert (traits.conditional_put, traits.checksums) == (False, False)
    first, second = traits.advice
    assert "conditional: head" in first
    assert "checksums: when_required" in second
    assert (await probe_s3("facility", settings())).advice == ()
    odd.refuse = (HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown")
    with pytest.raises(StoreUnavailableError):
        await probe_s3("facility", settings())


@pytest.mark.parametrize("checks", [True, False])
async def test_the_proof_is_what_the_store_is_found_to_check(
    odd: OddStore,
    settings: Settings,
    opened: Opener,
    checks: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    odd.checks_signed_digest = checks
    store = opened(settings(sender="direct"))
    assert isinstance(store, S3Store)
    assert store.network().proof == "md5"
    traits = await store.probe()
    assert traits.checked == (("sha256",) if checks else ())
    assert not store.puts_conditionally
    assert store.network().proof == ("sha256" if checks else "md5")
    odd.etag = lambda _: "0" * 32
    if checks:
        await store.put("image", b"x")
        with pytest.raises(IntegrityError, match="XAmzContentSHA256Mismatch"):
            await store.put("image", b"y", metadata={"sha256": "0" * 64})
    else:
        with pytest.raises(IntegrityError, match="ETag"):
            await store.put("image", b"x")


@pytest.mark.server
async def test_probing_finds_nothing_amiss_with_a_good_store(seaweed: S3Backend) -> None:
    traits = await probe_s3("facility", seaweed.settings())
    checked = ("crc64nvme", "crc32") if seaweed.sender == "direct" else ()
    assert traits == StoreTraits(
        conditional_put=True,
        checksums=True,
        checked=checked,
        clock_skew_s=0.0 if seaweed.sender == "direct" else None,
    )
