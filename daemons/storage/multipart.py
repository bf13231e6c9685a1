"""Uploads in parts, which a restart of the process does not begin anew.

The store itself knows which parts it has (`ListParts`); what has to be remembered
here is only which upload it was, and of what. With no one to remember it, an upload
that fails is aborted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from daemons.storage.bodies import Payload, opened
from daemons.storage.interface import (
    IntegrityError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    StoreError,
)
from daemons.storage.s3_upload import Part, Sender, Upload, date_in, stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Ask = Callable[[str, Callable[[], Any]], Coroutine[Any, Any, Any]]
"""Runs a blocking call in a thread of the store, with our errors."""

_MAX_PARTS = 10_000
"""S3's limit for the parts of one upload."""
_AT_ONCE = 4
"""Parts of one file under way at once: over 200 ms one after the other wastes half the time."""
_READ_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was begun, as it is remembered."""

    upload_id: str
    """The store's name of it."""
    part_bytes: int
    size_bytes: int
    """Size of the whole file."""
    sha256: str
    """Digest of the whole file: another file under the same key is another upload."""


class UploadRecord(Protocol):
    """Remembers uploads in parts, so that a restart goes on with them.

    Durable when a call returns. Keys have the store's prefix.
    """

    async def find(self, store: str, key: str) -> UnfinishedUpload | None:
        """Return the upload that was begun for a key of a store and not ended."""
        ...

    async def begun(self, store: str, key: str, upload: UnfinishedUpload) -> None:
        """Remember an upload; it takes the place of another one of the same key."""
        ...

    async def ended(self, store: str, key: str) -> None:
        """Forget the upload of a key: it was completed or aborted. Idempotent."""
        ...


class MemoryUploadRecord:
    """An `UploadRecord` that lasts as long as the process."""

    def __init__(self) -> None:
        self._uploads: dict[tuple[str, str], UnfinishedUpload] = {}

    async def find(self, store: str, key: str) -> UnfinishedUpload | None:
        """Return the upload that was begun for a key of a store and not ended."""
        return self._uploads.get((store, key))

    async def begun(self, store: str, key: str, upload: UnfinishedUpload) -> None:
        """Remember an upload."""
        self._uploads[store, key] = upload

    async def ended(self, store: str, key: str) -> None:
        """Forget the upload of a key."""
        self._uploads.pop((store, key), None)


class MultipartUploader:
    """Sends large files in parts.

    Parameters
    ----------
    name
        Name of the store.
    client
        Begins, completes and aborts uploads.
    sender
        Sends the parts.
    ask
        Runs a blocking call.
    part_bytes
        Size of a part.
    record
        Remembers uploads, or None.
    etag_is_md5
        Whether the ETag of a part is its MD5.
    """

    def __init__(
        self,
        name: str,
        client: S3Client,
        sender: Sender,
        ask: Ask,
        *,
        part_bytes: int,
        record: UploadRecord | None,
        etag_is_md5: bool,
    ) -> None:
        self._name = name
        self._client = client
        self._sender = sender
        self._ask = ask
        self._part_bytes = part_bytes
        self._record = record
        self._etag_is_md5 = etag_is_md5

    def remember(self, record: UploadRecord) -> None:
        """Remember uploads from now on."""
        self._record = record

    async def put(self, upload: Upload, *, if_absent: bool) -> ObjectInfo:
        """Send a body in parts.

        An upload that can be resumed is left as it is when the store is away or the
        caller is cancelled; any other that fails is aborted.
        """
        sha256 = upload.metadata.get("sha256", "")
        record = self._record if sha256 else None
        with opened(upload.body, upload.label) as whole:
            shape, size = whole.shape, whole.size
        plan, known = await self._begin(upload, size, record, sha256)
        target = {"Bucket": upload.bucket, "Key": upload.key, "UploadId": plan.upload_id}
        try:
            parts = await self._parts(upload, plan, shape, known)
            answer = await self._complete(target, parts, if_absent=if_absent)
        except BaseException as error:
            upload.given_up.set()
            if record is None or not _resumable(error):
                await asyncio.shield(self._abort(target, record))
            raise
        if record is not None:
            await record.ended(self._name, upload.key)
        return stored(upload, size, str(answer.get("ETag", "")), date_in(answer))

    async def _begin(
        self, upload: Upload, size: int, record: UploadRecord | None, sha256: str
    ) -> tuple[UnfinishedUpload, Mapping[int, Any]]:
        """Return the upload to send parts for, and the parts that the store has already."""
        found = await record.find(self._name, upload.key) if record is not None else None
        if record is not None and found is not None:
            known = await self._known(upload, found, size, sha256)
            if known is not None:
                _log.info(
                    "store_upload_resumed", store=self._name, key=upload.key, parts=len(known)
                )
                return found, known
            target = {"Bucket": upload.bucket, "Key": upload.key, "UploadId": found.upload_id}
            await self._abort(target, record)
        begun = await self._ask(
            f"begin {upload.key}",
            lambda: self._client.create_multipart_upload(
                Bucket=upload.bucket,
                Key=upload.key,
                ContentType=upload.content_type,
                Metadata=dict(upload.metadata),
            ),
        )
        part_bytes = max(self._part_bytes, -(-size // _MAX_PARTS))
        plan = UnfinishedUpload(begun["UploadId"], part_bytes, size, sha256)
        if record is not None:
            await record.begun(self._name, upload.key, plan)
        return plan, {}

    async def _known(
        self, upload: Upload, found: UnfinishedUpload, size: int, sha256: str
    ) -> Mapping[int, Any] | None:
        """Return the parts that the store has, or None where the upload cannot be resumed."""
        if (found.size_bytes, found.sha256) != (size, sha256):
            return None

        def list_parts() -> dict[int, Any]:
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=upload.bucket, Key=upload.key, UploadId=found.upload_id
            )
            return {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}

        try:
            return dict(await self._ask(f"list the parts of {upload.key}", list_parts))
        except ObjectNotFoundError:
            return None

    async def _parts(
        self,
        upload: Upload,
        plan: UnfinishedUpload,
        shape: tuple[int, int],
        known: Mapping[int, Any],
    ) -> list[Any]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def send(number: int) -> Any:
            async with gate:
                call = partial(self._part, upload, plan, number, shape, known.get(number))
                return await self._ask(f"put part {number} of {upload.key}", call)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(send(number), name=f"store-{self._name}-part-{number}")
                    for number in range(1, -(-plan.size_bytes // plan.part_bytes) + 1)
                ]
        except BaseExceptionGroup as errors:
            raise _worst(errors) from None
        return [task.result() for task in tasks]

    def _part(
        self,
        upload: Upload,
        plan: UnfinishedUpload,
        number: int,
        shape: tuple[int, int],
        known: Any,
    ) -> Any:
        """Send a part unless the store has it; blocking."""
        start = (number - 1) * plan.part_bytes
        with opened(upload.body, upload.label) as whole:
            whole.shape = shape  # what it was when the first part was sent
            whole.check_unchanged()
            payload = whole.part(start, min(plan.part_bytes, plan.size_bytes - start))
            if known is not None and self._same(payload, known):
                sums = {name: value for name, value in known.items() if name.startswith("Checksum")}
                return {"PartNumber": number, "ETag": known["ETag"], **sums}
            return self._sender.put_part(upload, Part(plan.upload_id, number, payload))

    def _same(self, payload: Payload, known: Any) -> bool:
        if known["Size"] != payload.size or not self._etag_is_md5:
            return False
        digest = hashlib.md5(usedforsecurity=False)
        buffer, at = memoryview(bytearray(_READ_BYTES)), 0
        while at < payload.size:
            chunk = payload.read_into(buffer, at)
            digest.update(chunk)
            at += len(chunk)
        return bool(known["ETag"].strip('"') == digest.hexdigest())

    async def _complete(
        self, target: Mapping[str, Any], parts: list[Any], *, if_absent: bool
    ) -> Mapping[str, Any]:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        answer: Mapping[str, Any] = await self._ask(
            f"put {target['Key']}",
            lambda: self._client.complete_multipart_upload(
                Bucket=target["Bucket"],
                Key=target["Key"],
                UploadId=target["UploadId"],
                MultipartUpload={"Parts": parts},
                **condition,
            ),
        )
        return answer

    async def _abort(self, target: Mapping[str, Any], record: UploadRecord | None) -> None:
        """Abort an upload; the error that led here is the one to tell."""
        with suppress(ObjectNotFoundError):
            try:
                await self._ask(
                    f"abort {target['Key']}",
                    lambda: self._client.abort_multipart_upload(
                        Bucket=target["Bucket"], Key=target["Key"], UploadId=target["UploadId"]
                    ),
                )
            except ObjectNotFoundError:
                raise
            except StoreError as error:
                _log.warning(
                    "store_multipart_not_aborted",
                    key=target["Key"],
                    upload_id=target["UploadId"],
                    error=str(error),
                )
        if record is not None:
            await record.ended(self._name, target["Key"])


def abort_stale(client: S3Client, bucket: str, prefix: str, *, older_than: timedelta) -> int:
    """Abort uploads in parts below a prefix that were begun longer ago; return how many."""
    oldest = datetime.now(tz=UTC) - older_than
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    stale = [
        (found["Key"], found["UploadId"])
        for page in pages
        for found in page.get("Uploads", [])
        if found["Initiated"] < oldest
    ]
    for key, upload_id in stale:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    return len(stale)


def _resumable(error: BaseException) -> bool:
    if isinstance(error, (IntegrityError, ObjectExistsError)):
        return False
    return isinstance(error, asyncio.CancelledError) or getattr(error, "retryable", False)


def _worst(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that decides: one that does not pass before one that may."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [errors]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            flat.append(error)
    return min(flat, key=_resumable)
