"""The object store interface.

Exceptions::

    StoreError                     (ArrieroError)
    ├── StoreUnavailableError      out of reach, throttled, 5xx; retryable
    ├── AccessRefusedError         credentials or permissions; needs a person or a rotation
    ├── ObjectExistsError          conditional put: the key holds an object already
    ├── ObjectNotFoundError        no object under the key
    └── IntegrityError             what the store holds is not what was sent; retryable
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

from daemons.runtime.errors import ArrieroError


class StoreError(ArrieroError):
    """Root of what object stores raise."""

    code = "store.error"


class StoreUnavailableError(StoreError):
    """Out of reach, throttled or failing; it may come back."""

    code = "store.unavailable"
    retryable = True
    exit_code = 69


class AccessRefusedError(StoreError):
    """The store refuses our credentials or what we ask with them."""

    code = "store.access_refused"


class ObjectExistsError(StoreError):
    """A conditional put found an object under the key; nothing was written."""

    code = "store.object_exists"


class ObjectNotFoundError(StoreError):
    """There is no object under the key."""

    code = "store.object_not_found"


class IntegrityError(StoreError):
    """What the store holds is not what was sent."""

    code = "store.integrity"
    retryable = True


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of an object."""

    key: str
    size_bytes: int
    etag: str
    """As the store gives it, without quotes; for one-part S3 objects and in a directory the MD5."""
    modified: datetime
    metadata: Mapping[str, str]
    """User metadata: lower-case names without the `x-amz-meta-` prefix. Empty in listings."""
    proven: bool = field(default=False, compare=False)
    """The store's answer to a put shows that it holds the bytes that were meant: it compares a
    digest and was seen to refuse a wrong one, or its ETag is the MD5 of what was sent."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A stretch of a file that the caller holds open, so that several stores take the same bytes.

    The position of the descriptor is neither used nor moved: any number of uploads may
    share it. Whoever opened the file closes it after the uploads have returned.
    """

    handle: int
    """File descriptor, open for reading."""
    size_bytes: int
    label: str
    """What it is called in messages, such as its path."""
    offset: int = 0
    """Where the stretch begins, bytes."""


Body: TypeAlias = bytes | memoryview | Path | OpenFile
"""What can be stored. None of these is copied: a file goes from the kernel's cache to the
network, whatever the number of stores that it goes to."""


class ObjectStore(Protocol):
    """A place for immutable objects under keys.

    Guarantees: a `put` that returned is durable and visible to `head`, `get` and
    `list`; an object is never seen half written; a failed or cancelled `put`
    leaves the old state or the new one. Every call may raise
    `StoreUnavailableError` (safe to retry: `put` of the same bytes is idempotent,
    and after a lost answer a conditional `put` may raise `ObjectExistsError` for
    one's own object) and `AccessRefusedError`. Keys are relative, `/`-separated,
    without `.` or `..` parts; others raise `ValueError`.
    """

    @property
    def name(self) -> str:
        """Name of this destination in the configuration."""
        ...

    def uri(self, key: str) -> str:
        """Return the URI of an object, `s3://bucket/key` or `file:///...`."""
        ...

    async def check(self) -> None:
        """Return when the store is within reach and lets us in, else raise."""
        ...

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes, or a file, under a key.

        Parameters
        ----------
        key
            Where.
        body
            What. A file must not change meanwhile; a size that differs from the
            one at the beginning raises `IntegrityError`.
        metadata
            User metadata: lower-case ASCII names, printable ASCII values.
        content_type
            Media type.
        if_absent
            Refuse with `ObjectExistsError` when the key holds an object.
        """
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, with metadata, or None where there is none."""
        ...

    async def get(self, key: str) -> bytes:
        """Return an object's bytes or raise `ObjectNotFoundError`."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        ...

    async def close(self) -> None:
        """Give back connections and threads."""
        ...
