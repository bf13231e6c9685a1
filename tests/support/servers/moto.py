"""moto's server: an S3 that keeps everything in memory and believes every key."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program
from tests.support.servers.seaweedfs import plain_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Moto(ServerProcess):
    """moto's server; a restart forgets all."""

    name = "moto"
    access_key = "any"
    secret_key = "any-at-all"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = 0

    @property
    def endpoint_url(self) -> str:
        """`http://host:port`."""
        return f"http://{LOOPBACK}:{self.port}"

    @cached_property
    def client(self) -> S3Client:
        """A plain boto3 client, for a test's own look at the store."""
        return plain_client(self.endpoint_url, self.access_key, self.secret_key)

    def create_bucket(self, name: str | None = None) -> str:
        """Create a bucket (by default with a name of its own) and return its name."""
        bucket = name or f"bucket-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    def choose_ports(self) -> None:
        release(self.port)
        self.port = free_port()
        self.__dict__.pop("client", None)

    def command(self) -> Sequence[str]:
        source = "the PyPI package `moto[server]` (dependency group `dev`)"
        moto = program("moto_server", source, extra=[Path(sys.executable).parent])
        return [moto, "-H", LOOPBACK, "-p", str(self.port)]

    def answers(self) -> bool:
        address = f"{self.endpoint_url}/moto-api/data.json"
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
