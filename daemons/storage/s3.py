"""An object store that speaks S3: AWS, Ceph, SeaweedFS and others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import structlog
from botocore.exceptions import ClientError

from daemons.storage.interface import (
    AccessRefusedError,
    ObjectExistsError,
    ObjectInfo,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.keys import HIDDEN, check_key, check_metadata, quote_key
from daemons.storage.s3_client import FileCredentials, make_client
from daemons.storage.s3_errors import ConditionUnsupportedError, status_of, told
from daemons.storage.s3_listing import Listing
from daemons.storage.s3_upload import Upload, put_parts, put_whole
from daemons.storage.settings import StoreSettings
from daemons.storage.sockets import SocketTuner, Transport
from daemons.storage.workers import Workers

ResultT = TypeVar("ResultT")

_CONDITIONAL_PROBE = f"{HIDDEN}/conditional-probe"
"""Small object of our own that stays in the bucket; it tells what the endpoint can do."""
_WARM_PROBE = f"{HIDDEN}/warm-{{number}}"
"""Objects of our own that are overwritten to keep connections warm."""

_log = structlog.get_logger(__name__)


class S3Store:
    """Objects in a bucket, optionally below a prefix.

    One client with warm connections, one thread per connection. Files up to the
    single-put limit go in one request without `Expect`, larger ones in parts. What
    was sent is compared with the ETag where that is an MD5. Keys that are refused
    are read again from their files, and if they changed the call is made once more.

    Parameters
    ----------
    name
        Name of this destination in the configuration.
    settings
        An `s3://` destination.
    """

    def __init__(self, name: str, settings: StoreSettings) -> None:
        self._name = name
        self._settings = settings
        self._tuner = SocketTuner(
            settings.congestion_control,
            settings.send_buffer_bytes,
            stall_timeout_s=settings.read_timeout_s,
        )
        self._credentials = FileCredentials(settings)
        self._client = make_client(settings, self._credentials, self._tuner)
        self._workers = Workers(name, settings.connections)
        self._native: bool | None = {"native": True, "head": False}.get(settings.conditional)
        self._probing = asyncio.Lock()
        self._sent_at = float("-inf")

    @property
    def name(self) -> str:
        """Name of this destination in the configuration."""
        return self._name

    @property
    def socket_refusals(self) -> tuple[str, ...]:
        """What the kernel did not grant of the socket settings, with advice; for `doctor`."""
        return self._tuner.refusals

    @property
    def transports(self) -> tuple[Transport, ...]:
        """What the kernel told of each connection after its last answer."""
        return self._tuner.transports

    def uri(self, key: str) -> str:
        """Return the URI of an object, `s3://bucket/key`; the key is percent-encoded."""
        check_key(key)
        profile = self._settings.butler_profile
        authority = f"{profile}@{self._settings.bucket}" if profile else self._settings.bucket
        return f"s3://{authority}/{quote_key(self._settings.prefix + key)}"

    async def check(self) -> None:
        """Return when the bucket is there and lets us in, else raise."""
        bucket = self._settings.bucket
        try:
            await self._ask("reach", lambda: self._client.head_bucket(Bucket=bucket))
        except StoreError as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                raise StoreError(
                    f"there is no bucket {bucket} at {self._settings.endpoint_url}: create it or "
                    "correct the store's url"
                ) from error
            raise

    async def put(
        self,
        key: str,
        body: bytes | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes, or the file at a path, under a key; see `ObjectStore.put`."""
        upload = self._upload(key, body, check_metadata(metadata), content_type)
        try:
            if if_absent:
                return await self._put_if_absent(key, upload)
            return await self._send(key, upload)
        except asyncio.CancelledError:
            upload.given_up.set()
            raise

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        full = self._full(key)
        return await self._ask(f"look at {key}", lambda: self._head(key, full))

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        full = self._full(key)

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._settings.bucket, Key=full)
            with answer["Body"] as body:
                return body.read()

        return await self._ask(f"get {key}", read)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        bucket = self._settings.bucket

        def fetch(**options: Any) -> Any:
            call = partial(self._client.list_objects_v2, Bucket=bucket, **options)
            return self._call(f"list {prefix or 'all objects'}", call)

        listing = Listing(fetch, self._settings.prefix, self._settings.listing)
        batches = listing.batches(prefix)
        while batch := await self._workers.run(lambda: next(batches, None)):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        full = self._full(key)
        bucket = self._settings.bucket

        def remove() -> None:
            self._client.delete_object(Bucket=bucket, Key=full)

        await self._ask(f"delete {key}", remove)

    async def warm(self) -> None:
        """Open every connection and widen its congestion window.

        All connections at once upload an object `.arriero/warm-N` of zeros, which
        the store answers like any other.
        """
        body = bytes(self._settings.warm_bytes)
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers.count):
                probe = self._probe(_WARM_PROBE.format(number=number), body)
                group.create_task(
                    self._send(probe.key, probe), name=f"store-{self._name}-warm-{number}"
                )

    async def keep_warm(self) -> None:
        """Warm the connections now and whenever nothing was sent for long, until cancelled.

        Returns at once where the settings do not ask for it.
        """
        interval = self._settings.warm_every_s
        if interval is None:
            return
        while True:
            idle = time.monotonic() - self._sent_at
            if idle >= interval:
                try:
                    await self.warm()
                except* StoreError as errors:
                    reason = str(errors.exceptions[0])
                    _log.warning("store_not_warmed", store=self._name, error=reason)
                self._sent_at = time.monotonic()
                idle = 0.0
            await asyncio.sleep(interval - idle)

    async def honours_conditions(self) -> bool:
        """Find out whether `If-None-Match: *` is honoured, with `.arriero/conditional-probe`.

        The second of two conditional uploads of one key must be refused.
        """
        for _ in range(2):
            try:
                await self._send(_CONDITIONAL_PROBE, self._small_probe(), if_absent=True)
            except ObjectExistsError:
                return True
            except ConditionUnsupportedError:
                return False
        return False

    async def try_upload(self) -> None:
        """Upload the small object `.arriero/conditional-probe` as the settings say, or raise."""
        await self._send(_CONDITIONAL_PROBE, self._small_probe())

    async def abort_stale_uploads(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Abort multipart uploads below the prefix that nobody finished; return how many."""
        oldest = datetime.now(tz=UTC) - older_than
        bucket = self._settings.bucket

        def sweep() -> int:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=bucket, Prefix=self._settings.prefix
            )
            stale = [
                (found["Key"], found["UploadId"])
                for page in pages
                for found in page.get("Uploads", [])
                if found["Initiated"] < oldest
            ]
            for key, upload_id in stale:
                self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
            return len(stale)

        return await self._ask("abort unfinished uploads", sweep)

    async def close(self) -> None:
        """Wait for running calls and give back connections and threads."""
        await self._workers.close()
        self._client.close()

    # Uploads

    def _upload(
        self, key: str, body: bytes | Path, metadata: Mapping[str, str], content_type: str
    ) -> Upload:
        return Upload(
            bucket=self._settings.bucket,
            key=self._full(key),
            body=body,
            metadata=metadata,
            content_type=content_type,
            etag_is_md5=self._settings.etag == "md5",
            given_up=threading.Event(),
        )

    def _small_probe(self) -> Upload:
        return self._probe(_CONDITIONAL_PROBE, b"probe")

    def _probe(self, key: str, body: bytes) -> Upload:
        plain = self._upload("probe", body, {}, "application/octet-stream")
        return replace(plain, key=self._settings.prefix + key)

    async def _send(self, key: str, upload: Upload, *, if_absent: bool = False) -> ObjectInfo:
        def send() -> ObjectInfo:
            if upload.size() <= self._settings.single_put_limit_bytes:
                return put_whole(self._client, upload, if_absent=if_absent)
            return put_parts(
                self._client, upload, part_bytes=self._settings.part_bytes, if_absent=if_absent
            )

        info = await self._ask(f"put {key}", send)
        self._sent_at = time.monotonic()
        return replace(info, key=key)

    async def _put_if_absent(self, key: str, upload: Upload) -> ObjectInfo:
        native = await self._knows_conditions()
        in_parts = upload.size() > self._settings.single_put_limit_bytes
        if (in_parts or not native) and await self.head(key) is not None:
            raise ObjectExistsError(f"{key} is in {self._settings.url} already")
        if not native:
            return await self._send(key, upload)
        try:
            return await self._send(key, upload, if_absent=True)
        except ConditionUnsupportedError as error:
            raise StoreError(f"{error}; set `conditional: head` for this store") from error

    async def _knows_conditions(self) -> bool:
        """Find out once whether the store honours `If-None-Match: *`."""
        async with self._probing:
            if self._native is None:
                self._native = await self.honours_conditions()
                _log.info("store_conditional_put_probed", store=self._name, native=self._native)
            return self._native

    # Calls

    def _full(self, key: str) -> str:
        return self._settings.prefix + check_key(key)

    async def _ask(self, what: str, call: Callable[[], ResultT]) -> ResultT:
        return await self._workers.run(lambda: self._call(what, call))

    def _call(self, what: str, call: Callable[[], ResultT]) -> ResultT:
        """Make a blocking call; once more when the keys were refused and have changed."""
        described = f"{what} ({self._settings.url} at {self._settings.endpoint_url})"
        used = self._credentials.get_frozen_credentials()
        try:
            with told(described):
                return call()
        except AccessRefusedError:
            if not self._credentials.reread(used):
                raise
            _log.info("store_credentials_reread", store=self._name)
        with told(described):
            return call()

    def _head(self, key: str, full: str) -> ObjectInfo | None:
        try:
            answer: Mapping[str, Any] = self._client.head_object(
                Bucket=self._settings.bucket, Key=full
            )
        except ClientError as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        if "ETag" not in answer or "LastModified" not in answer:
            raise StoreUnavailableError(
                f"cannot look at {key}: what answers is no S3; look at `endpoint_url`"
            )
        return ObjectInfo(
            key=key,
            size_bytes=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            modified=answer["LastModified"].astimezone(UTC),
            metadata={name.lower(): value for name, value in answer["Metadata"].items()},
        )


def _status(error: StoreError) -> int:
    cause = error.__cause__
    return status_of(cause) if isinstance(cause, ClientError) else 0
