"""The stores that keep the same contract: a directory, SeaweedFS, moto."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from daemons.storage.factory import open_store
from daemons.storage.interface import ObjectStore
from daemons.storage.settings import RetrySettings, StoreSettings
from tests.support.fixtures import Starter
from tests.support.servers import Moto, SeaweedFS

Sender = Literal["direct", "boto3"]
ONCE = RetrySettings(attempts=1)


def secret(folder: Path, content: str) -> dict[str, Path]:
    path = folder / f"secret-{uuid4().hex}"
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return {"file": path}


class Backend(ABC):
    """A kind of store that a contract test opens, breaks and mends."""

    @abstractmethod
    def settings(self, **changes: Any) -> StoreSettings:
        """Settings of the store; each call means the same objects."""

    @abstractmethod
    def away(self) -> None:
        """Put the store out of reach, as bluntly as the world does."""

    @abstractmethod
    def back(self) -> None:
        """Put it within reach again."""


class DirectoryBackend(Backend):
    def __init__(self, folder: Path) -> None:
        self._root = folder / "objects"
        self._gone = folder / "unmounted"

    def settings(self, **changes: Any) -> StoreSettings:
        return StoreSettings(url=f"file://{self._root}", retry=ONCE).model_copy(update=changes)

    def away(self) -> None:
        self._root.rename(self._gone)

    def back(self) -> None:
        self._gone.rename(self._root)


class S3Backend(Backend):
    def __init__(self, server: SeaweedFS | Moto, folder: Path, sender: Sender = "direct") -> None:
        self.server = server
        self.sender = sender
        self.bucket = server.create_bucket()
        self._keys = {
            "access_key": secret(folder, server.access_key),
            "secret_key": secret(folder, server.secret_key),
        }

    def settings(self, **changes: Any) -> StoreSettings:
        fields: dict[str, Any] = {
            "url": f"s3://{self.bucket}/a prefix",
            "endpoint_url": self.server.endpoint_url,
            "retry": ONCE,
            "sender": self.sender,
            "hedge_percent": 0,
            "connect_timeout_s": 2,
            "read_timeout_s": 20,
            "listing": "folders" if isinstance(self.server, SeaweedFS) else "flat",
            **self._keys,
        }
        return StoreSettings(**{**fields, **changes})

    def remove(self) -> None:
        """Remove the bucket: SeaweedFS has a bounded number of volumes, and each takes some."""
        client = self.server.client
        with suppress(ClientError):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
                for found in page.get("Contents", []):
                    client.delete_object(Bucket=self.bucket, Key=found["Key"])
            client.delete_bucket(Bucket=self.bucket)

    def away(self) -> None:
        self.server.kill()

    def back(self) -> None:
        self.server.start()
        if isinstance(self.server, Moto):  # it forgets all
            self.server.create_bucket(self.bucket)


@dataclass(frozen=True)
class Image:
    """A file to store, and what is in it."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    content = os.urandom(4 << 20)
    path = tmp_path / "image.fits"
    path.write_bytes(content)
    return Image(path, content)


Opener = Callable[..., ObjectStore]

BACKENDS = [
    pytest.param(("directory", "direct"), id="directory"),
    *(
        pytest.param((server, sender), marks=pytest.mark.server, id=f"{server}-{sender}")
        for server in ("seaweedfs", "moto")
        for sender in ("direct", "boto3")
    ),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind, sender = request.param
    if kind == "directory":
        yield DirectoryBackend(tmp_path)
        return
    made = S3Backend(request.getfixturevalue(kind), tmp_path, sender)
    yield made
    made.remove()


@pytest.fixture(params=BACKENDS)
def private_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    kind, sender = request.param
    if kind == "directory":
        return DirectoryBackend(tmp_path)
    start: Starter[Any] = request.getfixturevalue(f"start_{kind}")
    return S3Backend(start(), tmp_path, sender)


@pytest.fixture(params=["direct", "boto3"])
def seaweed(
    request: pytest.FixtureRequest, seaweedfs: SeaweedFS, tmp_path: Path
) -> Iterator[S3Backend]:
    made = S3Backend(seaweedfs, tmp_path, request.param)
    yield made
    made.remove()


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        def opener(settings: StoreSettings, **options: Any) -> ObjectStore:
            store = open_store("facility", settings, **options)
            stack.push_async_callback(store.close)
            return store

        yield opener


@pytest.fixture
def store(backend: Backend, opened: Opener) -> ObjectStore:
    return opened(backend.settings())
