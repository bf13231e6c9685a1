"""The blocking half of an upload: what is sent, and boto3's way to send it.

A body stops by itself: when the caller was cancelled, when the file has become
shorter or longer than it was or was written to. The request then ends in the middle,
and a store keeps nothing of it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from daemons.storage.bodies import Abandonment, HeldFile, Payload, label_of, opened, size_of
from daemons.storage.interface import Body, IntegrityError, ObjectInfo, StoreUnavailableError
from daemons.storage.limits import Throttle
from daemons.storage.s3_errors import GivenUpError, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MD5_HEX = 32
"""An ETag of this length is an MD5, unless the object is encrypted with KMS."""
_KMS = "aws:kms"
"""What AWS says of an object whose ETag is no MD5 although it looks like one."""
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in hand."""

    bucket: str
    key: str
    """With the store's prefix."""
    body: Body | HeldFile
    metadata: Mapping[str, str]
    content_type: str
    given_up: Abandonment
    """Set when the caller was cancelled."""

    @property
    def label(self) -> str:
        """What the body is called in messages."""
        return label_of(self.body, self.key)

    def size(self) -> int:
        """Return the body's size, bytes."""
        return size_of(self.body)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload in parts."""

    upload_id: str
    number: int
    """From 1."""
    payload: Payload
    """A stretch of the whole."""


class Sender(Protocol):
    """What sends uploads; blocking, for many threads.

    Every call may raise what `s3_errors.told` turns into our errors.
    """

    def put_whole(self, upload: Upload, *, if_absent: bool) -> ObjectInfo:
        """Send a body in one request; the key in the answer has the store's prefix."""
        ...

    def put_part(self, upload: Upload, part: Part) -> dict[str, Any]:
        """Send a part; return what completing the upload has to say of it."""
        ...

    def head(self, bucket: str, full_key: str) -> ObjectInfo | None:
        """Return what is known of an object; the key in the answer has the store's prefix."""
        ...

    def close(self) -> None:
        """Give back connections. Idempotent."""
        ...


class Section(io.RawIOBase):
    """A payload as a file, for boto3.

    Parameters
    ----------
    payload
        What to send.
    given_up
        Set when the caller was cancelled.
    throttle
        Says how fast.
    """

    def __init__(self, payload: Payload, given_up: Abandonment, throttle: Throttle) -> None:
        super().__init__()
        self._payload = payload
        self._given_up = given_up
        self._throttle = throttle
        self._digest = hashlib.md5(usedforsecurity=False)
        self._at = 0

    def __len__(self) -> int:
        return self._payload.size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; going anywhere but to the beginning leaves the MD5 meaningless."""
        return True

    def tell(self) -> int:
        """Return how far the section was read, bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move within the section; at the beginning the MD5 starts anew."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self)}[whence]
        self._at = base + offset
        if self._at == 0:
            self._digest = hashlib.md5(usedforsecurity=False)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most up to the section's end.

        Raises
        ------
        IntegrityError
            The file is another than at the beginning.
        """
        if self._given_up.is_set():
            raise GivenUpError
        left = len(self) - self._at
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        if size >= 0:
            wanted = self._throttle.take(wanted, self._given_up)
        if wanted == left:
            self._payload.check_unchanged()
        chunk = bytes(self._payload.read_into(memoryview(bytearray(wanted)), self._at))
        if len(chunk) < wanted:
            self._payload.check_unchanged()
        self._at += len(chunk)
        self._digest.update(chunk)
        return chunk

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with the next bytes; the signer of awscrt reads so."""
        view = memoryview(buffer)
        chunk = self.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def check_answer(self, answer: Mapping[str, Any]) -> bool:
        """Compare what was sent with what the store says that it received.

        Returns
        -------
        equal
            False where the store does not say.

        Raises
        ------
        IntegrityError
            They differ.
        """
        if self._at != len(self):
            label = self._payload.label
            raise IntegrityError(f"{label}: {self._at} of {len(self)} bytes were sent")
        return check_etag(
            self._payload.label,
            self._digest.hexdigest(),
            str(answer.get("ETag", "")),
            str(answer.get("ServerSideEncryption", "")),
        )


class Boto3Sender:
    """Sends with boto3.

    Parameters
    ----------
    client
        boto3's client.
    throttle
        Says how fast.
    etag_is_md5
        Whether the ETags of answers are compared with what was sent.
    """

    def __init__(self, client: S3Client, throttle: Throttle, *, etag_is_md5: bool) -> None:
        self._client = client
        self._throttle = throttle
        self._etag_is_md5 = etag_is_md5

    def put_whole(self, upload: Upload, *, if_absent: bool) -> ObjectInfo:
        """Send a body in one request."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with opened(upload.body, upload.label) as payload:
            body = Section(payload, upload.given_up, self._throttle)
            content: Any = body if payload.size else b""
            answer = self._client.put_object(
                Bucket=upload.bucket,
                Key=upload.key,
                Body=content,
                ContentLength=payload.size,
                ContentType=upload.content_type,
                Metadata=upload.metadata,
                **condition,
            )
            proven = self._etag_is_md5 and body.check_answer(answer)
        etag = str(answer.get("ETag", ""))
        return stored(upload, payload.size, etag, date_in(answer), proven=proven)

    def put_part(self, upload: Upload, part: Part) -> dict[str, Any]:
        """Send a part."""
        section = Section(part.payload, upload.given_up, self._throttle)
        content: Any = section
        answer: Mapping[str, Any] = self._client.upload_part(
            Bucket=upload.bucket,
            Key=upload.key,
            UploadId=part.upload_id,
            PartNumber=part.number,
            Body=content,
            ContentLength=len(section),
        )
        if self._etag_is_md5:
            section.check_answer(answer)
        kept = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        kept.pop("ChecksumType", None)
        return {"PartNumber": part.number, "ETag": answer["ETag"], **kept}

    def head(self, bucket: str, full_key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        try:
            answer: Mapping[str, Any] = self._client.head_object(Bucket=bucket, Key=full_key)
        except ClientError as error:
            if status_of(error) == _NOT_FOUND:
                return None
            raise
        if "ETag" not in answer or "LastModified" not in answer:
            raise no_s3(full_key)
        return ObjectInfo(
            key=full_key,
            size_bytes=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            modified=answer["LastModified"].astimezone(UTC),
            metadata={name.lower(): value for name, value in answer["Metadata"].items()},
        )

    def close(self) -> None:
        """Do nothing: who made the client closes it."""


def no_s3(key: str) -> StoreUnavailableError:
    """Return what to raise where a question was answered by something else than S3."""
    return StoreUnavailableError(
        f"cannot look at {key}: what answers is no S3; look at `endpoint_url`"
    )


def check_etag(label: str, md5: str, etag: str, encryption: str) -> bool:
    """Compare the MD5 of what was sent with the ETag of what was stored, if that is one.

    Returns
    -------
    equal
        False where the ETag is no MD5.

    Raises
    ------
    IntegrityError
        They differ.
    """
    told = etag.strip('"')
    if told == md5:
        return True
    if len(told) != _MD5_HEX or encryption == _KMS:
        return False
    raise IntegrityError(
        f"{label} was sent with MD5 {md5} and stored with ETag {told}; if this store's ETag is no "
        "MD5, set `etag: opaque`"
    )


def stored(
    upload: Upload, size: int, etag: str, date: datetime | None, *, proven: bool = False
) -> ObjectInfo:
    """Return what is known of an upload that a store accepted.

    Raises
    ------
    IntegrityError
        What answered is no S3.
    """
    if not etag.strip('"'):
        raise IntegrityError(
            f"{upload.label} was sent, and what answers is no S3: it gave no ETag; look at "
            "`endpoint_url`"
        )
    return ObjectInfo(
        key=upload.key,
        size_bytes=size,
        etag=etag.strip('"'),
        modified=date or datetime.now(tz=UTC),
        metadata=dict(upload.metadata),
        proven=proven,
    )


def date_in(answer: Mapping[str, Any]) -> datetime | None:
    """Return when a store gave boto3 an answer, by its own clock."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
