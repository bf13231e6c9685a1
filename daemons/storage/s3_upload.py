"""The blocking half of an upload: a body that counts, and the calls that send it.

The body stops by itself: when the caller was cancelled, when the file has become
shorter or longer than it was. The request then ends in the middle, and a store
keeps nothing of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from daemons.storage.interface import IntegrityError, ObjectInfo
from daemons.storage.s3_errors import GivenUpError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MAX_PARTS = 10_000
"""S3's limit for the parts of one upload."""
_MD5_HEX = 32
"""An ETag of this length is an MD5, unless the object is encrypted with KMS."""
_KMS = "aws:kms"
"""What AWS says of an object whose ETag is no MD5 although it looks like one."""

_log = structlog.get_logger(__name__)


class Section(io.RawIOBase):
    """A section of an open file, as the body of one request.

    Parameters
    ----------
    source
        The file; nobody else moves its position meanwhile.
    start, size
        The section, bytes.
    whole
        Size that the file had at the beginning, bytes.
    given_up
        Set when the caller was cancelled.
    label
        What the file is called in messages.
    """

    def __init__(
        self,
        source: BinaryIO,
        start: int,
        size: int,
        *,
        whole: int,
        given_up: threading.Event,
        label: str,
    ) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._size = size
        self._whole = whole
        self._given_up = given_up
        self._label = label
        self._digest = hashlib.md5(usedforsecurity=False)
        self._at = 0
        self.seek(0)

    def __len__(self) -> int:
        return self._size

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
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = base + offset
        if self._at == 0:
            self._digest = hashlib.md5(usedforsecurity=False)
        self._source.seek(self._start + self._at)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most up to the section's end.

        Raises
        ------
        IntegrityError
            The file has another size than at the beginning.
        """
        if self._given_up.is_set():
            raise GivenUpError
        left = self._size - self._at
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        chunk = self._source.read(wanted)
        if len(chunk) < wanted or (wanted == left and self._size_now() != self._whole):
            raise IntegrityError(
                f"{self._label} had {self._whole} bytes and has {self._size_now()} while it is "
                "sent: it is still being written"
            )
        self._at += len(chunk)
        self._digest.update(chunk)
        return chunk

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with the next bytes; the signer of awscrt reads so."""
        view = memoryview(buffer)
        chunk = self.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def check_answer(self, answer: Mapping[str, Any]) -> None:
        """Compare what was sent with what the store says that it received.

        Raises
        ------
        IntegrityError
            They differ.
        """
        if self._at != self._size:
            raise IntegrityError(f"{self._label}: {self._at} of {self._size} bytes were sent")
        etag = str(answer.get("ETag", "")).strip('"')
        if len(etag) != _MD5_HEX or answer.get("ServerSideEncryption") == _KMS:
            return
        md5 = self._digest.hexdigest()
        if etag != md5:
            raise IntegrityError(
                f"{self._label} was sent with MD5 {md5} and stored with ETag {etag}; if this "
                "store's ETag is no MD5, set `etag: opaque`"
            )

    def _size_now(self) -> int:
        with suppress(io.UnsupportedOperation):
            return os.fstat(self._source.fileno()).st_size
        return self._whole


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in hand."""

    bucket: str
    key: str
    """With the store's prefix."""
    body: bytes | Path
    metadata: Mapping[str, str]
    content_type: str
    etag_is_md5: bool
    given_up: threading.Event
    """Set when the caller was cancelled."""

    @property
    def label(self) -> str:
        """What the body is called in messages."""
        return str(self.body) if isinstance(self.body, Path) else self.key

    def size(self) -> int:
        """Return the body's size, bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    @contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the body; gives it with its size."""
        if isinstance(self.body, bytes):
            yield io.BytesIO(self.body), len(self.body)
            return
        with self.body.open("rb", buffering=0) as source:
            yield source, os.fstat(source.fileno()).st_size

    def section(self, source: BinaryIO, start: int, size: int, whole: int) -> Section:
        """Return a section of the opened body."""
        return Section(source, start, size, whole=whole, given_up=self.given_up, label=self.label)


def put_whole(client: S3Client, upload: Upload, *, if_absent: bool) -> ObjectInfo:
    """Send a body in one request."""
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
    with upload.open() as (source, size), upload.section(source, 0, size, size) as body:
        payload: Any = body if size else b""
        answer = client.put_object(
            Bucket=upload.bucket,
            Key=upload.key,
            Body=payload,
            ContentLength=size,
            ContentType=upload.content_type,
            Metadata=upload.metadata,
            **condition,
        )
        if upload.etag_is_md5:
            body.check_answer(answer)
    return _stored(upload, size, answer)


def put_parts(client: S3Client, upload: Upload, *, part_bytes: int, if_absent: bool) -> ObjectInfo:
    """Send a body in parts, one after the other; nothing is left of an upload that fails."""
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
    target: dict[str, Any] = {"Bucket": upload.bucket, "Key": upload.key}
    with upload.open() as (source, size):
        begun = client.create_multipart_upload(
            **target, ContentType=upload.content_type, Metadata=upload.metadata
        )
        target["UploadId"] = begun["UploadId"]
        try:
            parts = [
                _put_part(client, target, upload, number, section)
                for number, section in enumerate(_sections(upload, source, size, part_bytes), 1)
            ]
            answer = client.complete_multipart_upload(
                **target, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            _abort(client, target)
            raise
    return _stored(upload, size, answer)


def _sections(upload: Upload, source: BinaryIO, size: int, part_bytes: int) -> Iterator[Section]:
    step = max(part_bytes, -(-size // _MAX_PARTS))
    for start in range(0, size, step):
        yield upload.section(source, start, min(step, size - start), size)


def _put_part(
    client: S3Client, target: Mapping[str, Any], upload: Upload, number: int, section: Section
) -> Any:
    payload: Any = section
    with section:
        answer = client.upload_part(
            **target, PartNumber=number, Body=payload, ContentLength=len(section)
        )
        if upload.etag_is_md5:
            section.check_answer(answer)
    kept = {name: value for name, value in answer.items() if name.startswith("Checksum")}
    kept.pop("ChecksumType", None)
    return {"PartNumber": number, "ETag": answer["ETag"], **kept}


def _abort(client: S3Client, target: Mapping[str, Any]) -> None:
    try:
        client.abort_multipart_upload(**target)
    except (ClientError, BotoCoreError) as error:  # the first error is the one to tell
        _log.warning(
            "store_multipart_not_aborted",
            key=target["Key"],
            upload_id=target["UploadId"],
            error=str(error),
        )


def _stored(upload: Upload, size: int, answer: Mapping[str, Any]) -> ObjectInfo:
    etag = str(answer.get("ETag", "")).strip('"')
    if not etag:
        raise IntegrityError(
            f"{upload.label} was sent, and what answers is no S3: it gave no ETag; look at "
            "`endpoint_url`"
        )
    return ObjectInfo(
        key=upload.key,
        size_bytes=size,
        etag=etag,
        modified=_date(answer),
        metadata=dict(upload.metadata),
    )


def _date(answer: Mapping[str, Any]) -> datetime:
    """Return when the store answered, by its own clock."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    with suppress(KeyError, ValueError):
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    return datetime.now(tz=UTC)
