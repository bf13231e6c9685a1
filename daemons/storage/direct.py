"""Our own sender: HTTP/1.1 on tuned connections, with no library between file and kernel.

botocore only signs. What a general client does besides (a second digest of the body, a
copy of it in small pieces, a round trip to ask for permission) costs five times the CPU
of the sending itself.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from awscrt.checksums import crc64nvme
from botocore.awsrequest import AWSRequest

from daemons.storage.answers import Answer
from daemons.storage.bodies import Abandonment, Payload, opened
from daemons.storage.connection import Connection
from daemons.storage.interface import ObjectInfo
from daemons.storage.limits import Throttle
from daemons.storage.pool import Pool
from daemons.storage.s3_client import FileCredentials
from daemons.storage.s3_errors import ConnectionLostError, RefusalError
from daemons.storage.s3_upload import Part, Upload, check_etag, no_s3, stored
from daemons.storage.settings import StoreSettings
from daemons.storage.signing import (
    CLOCK,
    UNSIGNED,
    DeclaredDigestAuth,
    SigningClock,
    decide_payload,
    is_sha256,
)
from daemons.storage.sockets import SocketTuner

SMALL_BYTES = 64 * 1024
"""What is not larger has connections of its own, and takes no wide one from a file."""
_READ_BYTES = 1 << 20
_META = "x-amz-meta-"
_NOT_FOUND = 404
_PRECONDITION_FAILED = 412
_OK = range(200, 300)
_EMPTY_SHA256 = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class _Job:
    """A request in hand."""

    request: bytes
    payload: Payload
    given_up: Abandonment
    bodiless: bool = False
    summed: bool = False
    """The MD5 of what is sent is wanted."""
    conditional: bool = False

    @property
    def small(self) -> bool:
        """Whether the width of a connection's window does not matter for it."""
        return self.payload.size <= SMALL_BYTES


class DirectSender:
    """Sends with our own connections.

    Parameters
    ----------
    settings
        The destination.
    credentials
        Keys to sign with.
    clock
        Time to sign with.
    tuner
        Sets the options of connections.
    throttle
        The ceiling that they share.
    """

    def __init__(
        self,
        settings: StoreSettings,
        credentials: FileCredentials,
        *,
        clock: SigningClock,
        tuner: SocketTuner,
        throttle: Throttle,
    ) -> None:
        self.pool = Pool(settings, tuner, throttle)
        """Connections for files, which are kept wide."""
        self._aside = Pool(settings, tuner, throttle)
        """Connections for questions and small objects, as they come."""
        self._checked: frozenset[str] = frozenset()
        proof = settings.proof
        self.proof: str = (
            ("md5" if settings.etag == "md5" else "none") if proof == "auto" else proof
        )
        """How uploads are proved to have arrived; until the store was probed by its ETag."""
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        endpoint = urlsplit(settings.endpoint_url or "")
        virtual = settings.addressing == "virtual"
        self._host = f"{settings.bucket}.{endpoint.netloc}" if virtual else endpoint.netloc
        self._root = endpoint.path.rstrip("/") + ("" if virtual else f"/{settings.bucket}")
        self._origin = f"{endpoint.scheme}://{self._host}"

    def choose_proof(self, checked: Collection[str]) -> None:
        """Prove uploads by what the store is known to check, where the settings leave it open."""
        self._checked = frozenset(checked)
        if self._settings.proof != "auto":
            return
        candidates = ("sha256", "crc64nvme") if self._settings.sign_payload else ("crc64nvme",)
        self.proof = next((name for name in candidates if name in checked), self.proof)

    def put_whole(self, upload: Upload, *, if_absent: bool) -> ObjectInfo:
        """Send a body in one request."""
        headers = {"content-type": upload.content_type}
        headers |= {_META + name: value for name, value in upload.metadata.items()}
        if if_absent:
            headers["if-none-match"] = "*"
        with opened(upload.body, upload.label) as payload:
            payload_hash = self._protect(headers, payload, upload.metadata)
            request = self.request("PUT", upload.key, headers, payload, payload_hash=payload_hash)
            answer, proven = self._send(request, payload, upload.given_up, conditional=if_absent)
        etag = answer.headers.get("etag", "")
        return stored(upload, payload.size, etag, answer.date, proven=proven)

    def put_part(self, upload: Upload, part: Part) -> dict[str, Any]:
        """Send a part."""
        headers: dict[str, str] = {}
        payload_hash = self._protect(headers, part.payload, {})
        query = {"partNumber": str(part.number), "uploadId": part.upload_id}
        request = self.request(
            "PUT", upload.key, headers, part.payload, payload_hash=payload_hash, query=query
        )
        answer, _ = self._send(request, part.payload, upload.given_up)
        told = {"PartNumber": part.number, "ETag": answer.headers.get("etag", "")}
        for name in ("CRC64NVME", "CRC32"):
            checksum = answer.headers.get(f"x-amz-checksum-{name.lower()}")
            if checksum is not None:
                told[f"Checksum{name}"] = checksum
        return told

    def head(self, bucket: str, full_key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        del bucket  # it is in every address
        answer = self.ask(self.request("HEAD", full_key, {}), bodiless=True)
        if answer.status == _NOT_FOUND:
            return None
        _check(answer)
        headers = answer.headers
        try:
            modified = parsedate_to_datetime(headers["last-modified"]).astimezone(UTC)
            size, etag = int(headers["content-length"]), headers["etag"].strip('"')
        except (KeyError, ValueError) as error:
            raise no_s3(full_key) from error
        metadata = {
            name.removeprefix(_META): value
            for name, value in headers.items()
            if name.startswith(_META)
        }
        return ObjectInfo(full_key, size, etag, modified, metadata)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self.pool.close()
        self._aside.close()

    # Requests

    def request(
        self,
        method: str,
        key: str | None,
        headers: Mapping[str, str],
        payload: Payload | None = None,
        *,
        payload_hash: str = _EMPTY_SHA256,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the signed head of a request about an object, or about the bucket.

        Parameters
        ----------
        method, headers, query
            What is asked.
        key
            Of the object, with the store's prefix; None for the bucket.
        payload
            The body.
        payload_hash
            SHA-256 of the body, or `UNSIGNED`.
        """
        target = self._root + (f"/{quote(key, safe='/~')}" if key is not None else "") or "/"
        if query:
            pairs = (f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
            target = f"{target}?{'&'.join(pairs)}"
        size = {"content-length": str(payload.size)} if payload is not None else {}
        request = AWSRequest(
            method, self._origin + target, headers={**headers, **size, "host": self._host}
        )
        request.context[CLOCK] = self._clock
        decide_payload(request, payload_hash)
        keys = self._credentials.get_frozen_credentials()
        DeclaredDigestAuth(keys, "s3", self._settings.region).add_auth(request)
        lines = [f"{method} {target} HTTP/1.1", "user-agent: arriero"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def ask(
        self,
        request: bytes,
        payload: Payload | None = None,
        *,
        bodiless: bool = False,
        connection: Connection | None = None,
    ) -> Answer:
        """Make a request on some connection or on a given one; return whatever is answered."""
        job = _Job(request, payload or Payload("nothing", 0), Abandonment(), bodiless=bodiless)
        if connection is None:
            return self._exchange(job)[0]
        answer = connection.exchange(
            request, job.payload, bodiless=bodiless, abandoned=job.given_up
        )
        self._clock.saw(answer.date)
        return answer

    def open(self) -> Connection:
        """Return a new connection for files."""
        return self._take(self.pool, fresh=True)

    def _take(self, pool: Pool, *, fresh: bool = False) -> Connection:
        try:
            return pool.take(fresh=fresh)
        except OSError as error:
            raise ConnectionLostError(_reason(error)) from error

    def _send(
        self, request: bytes, payload: Payload, given_up: Abandonment, *, conditional: bool = False
    ) -> tuple[Answer, bool]:
        """Send an upload; return whether the answer proves that it arrived as it was meant."""
        summed = self.proof == "md5"
        job = _Job(request, payload, given_up, summed=summed, conditional=conditional)
        answer, md5 = self._exchange(job)
        _check(answer)
        if not summed:
            return answer, self.proof in self._checked
        encryption = answer.headers.get("x-amz-server-side-encryption", "")
        etag = answer.headers.get("etag", "")
        return answer, check_etag(payload.label, md5, etag, encryption)

    def _exchange(self, job: _Job) -> tuple[Answer, str]:
        """Exchange a request for an answer; on a new connection where an old one was dead."""
        pool = self._aside if job.small else self.pool
        try:
            return self._attempt(job, pool, self._take(pool))
        except _StaleError:
            answer, md5 = self._attempt(job, pool, self._take(pool, fresh=True))
        if job.conditional and answer.status == _PRECONDITION_FAILED:
            # Perhaps it is our own object, of the first time: whoever repeats this looks.
            raise ConnectionLostError("the connection was closed before an answer came")
        return answer, md5

    def _attempt(self, job: _Job, pool: Pool, connection: Connection) -> tuple[Answer, str]:
        """Return the answer, and the MD5 of what was sent where that is wanted."""
        reused = connection.reused
        digest = hashlib.md5(usedforsecurity=False) if job.summed else None
        try:
            answer = connection.exchange(
                job.request,
                job.payload,
                bodiless=job.bodiless,
                digest=digest,
                abandoned=job.given_up,
            )
        except ConnectionLostError as error:
            if reused and error.stale:
                raise _StaleError from error
            raise
        finally:
            pool.give_back(connection)
        self._clock.saw(answer.date)
        return answer, digest.hexdigest() if digest is not None else ""

    # Proof

    def _protect(
        self, headers: dict[str, str], payload: Payload, metadata: Mapping[str, str]
    ) -> str:
        """Add the checksums that are asked for; return what the signature covers."""
        if self.proof == "crc64nvme":
            headers["x-amz-checksum-crc64nvme"] = _crc64nvme(payload, metadata)
        if self._settings.checksums == "when_supported":
            crc = 0
            for chunk in _chunks(payload):
                crc = zlib.crc32(chunk, crc)
            headers["x-amz-checksum-crc32"] = _base64(crc, 4)
        if not self._settings.sign_payload:
            return UNSIGNED
        declared = metadata.get("sha256", "")
        if is_sha256(declared):
            return declared
        sha256 = hashlib.sha256()
        for chunk in _chunks(payload):
            sha256.update(chunk)
        return sha256.hexdigest()


class _StaleError(Exception):
    """A connection that had been idle turned out to be dead."""


def _check(answer: Answer) -> None:
    if answer.status not in _OK:
        raise RefusalError(answer)


def _crc64nvme(payload: Payload, metadata: Mapping[str, str]) -> str:
    declared = metadata.get("crc64nvme")
    if declared is not None:
        return base64.b64encode(bytes.fromhex(declared)).decode()
    crc = 0
    for chunk in _chunks(payload):
        crc = crc64nvme(chunk, crc)
    return _base64(crc, 8)


def _base64(number: int, size: int) -> str:
    return base64.b64encode(number.to_bytes(size, "big")).decode()


def _chunks(payload: Payload) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(_READ_BYTES, payload.size)))
    at = 0
    while at < payload.size:
        chunk = payload.read_into(buffer, at)
        at += len(chunk)
        yield chunk


def _reason(error: OSError) -> str:
    return str(error.strerror or error)
