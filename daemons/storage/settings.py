"""What the configuration says of an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemons.runtime.secrets import SecretRef
from daemons.storage.keys import check_key

MIB = 1 << 20
_S3_ONLY = ("endpoint_url", "access_key", "secret_key", "session_token")


class RetrySettings(BaseModel):
    """How calls are repeated that fail with an error that may pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How often a call is made before its error is passed on; 1 switches repeating off."""
    budget_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """No new attempt begins later than this many seconds after the first."""
    first_wait_s: Annotated[float, Field(ge=0, le=60)] = 0.1
    """Upper bound of the random wait before the second attempt; it doubles with each one more."""
    longest_wait_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Upper bound of any random wait between attempts."""


class StoreSettings(BaseModel):
    """One object store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Where objects go: `file:///path` for a directory, or `s3://bucket` or `s3://bucket/prefix`."""
    create: bool = True
    """Directory: make it when it is not there. False for a mount point, so that a missing mount
    is reported and not filled beneath."""
    endpoint_url: str | None = None
    """S3: `https://host:port` of the service. Nothing else is ever contacted, whatever the
    environment or `~/.aws` says; for AWS it is `https://s3.REGION.amazonaws.com`."""
    region: str = "us-east-1"
    """S3: region that requests are signed for; most stores other than AWS accept any."""
    access_key: SecretRef | None = None
    """S3: where the access key id is. Read again when the store refuses it."""
    secret_key: SecretRef | None = None
    """S3: where the secret access key is. Read again when the store refuses it."""
    session_token: SecretRef | None = None
    """S3: where the token of temporary credentials is; read again when the store refuses it."""
    butler_profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """S3: URIs are told as `s3://PROFILE@bucket/key`, for Butlers that name their stores so."""
    addressing: Literal["path", "virtual"] = "path"
    """S3: whether the bucket stands in the path or in the host name of requests."""
    ca_bundle: Path | None = None
    """S3: PEM file with the certificate authorities to trust; by default those of certifi."""
    proxy_url: str | None = None
    """S3: HTTP proxy to go through. The environment's `HTTPS_PROXY` is not used."""
    checksums: Literal["when_required", "when_supported"] = "when_required"
    """S3: whether boto3 adds CRC32 checksums to every upload. Several stores other than AWS refuse
    them, and over TLS they come as trailers; `arriero doctor` finds out what a store takes."""
    sign_payload: bool = True
    """S3: whether the signature covers the SHA-256 of what is uploaded, which most stores check. It
    is taken from the metadata `sha256`; uploads without it, and parts, are read twice."""
    conditional: Literal["auto", "native", "head"] = "auto"
    """S3: how an object that exists is not overwritten. `native`: `If-None-Match: *`. `head`: by
    looking first, which leaves a gap of milliseconds. `auto`: find out at the first use, with a
    small object `.arriero/conditional-probe`."""
    etag: Literal["md5", "opaque"] = "md5"
    """S3: `md5` compares the ETag of every upload with the MD5 of what was sent; `opaque` for
    stores whose ETag is something else."""
    listing: Literal["flat", "folders"] = "flat"
    """S3: `folders` for stores that do not list in key order, such as SeaweedFS; it costs a
    request per folder. With `flat` such a store is found out and refused."""
    single_put_limit_bytes: Annotated[int, Field(ge=5 * MIB, le=5 << 30)] = 64 * MIB
    """S3: larger files are sent in parts."""
    part_bytes: Annotated[int, Field(ge=5 * MIB, le=5 << 30)] = 64 * MIB
    """S3: size of a part; each part costs a round trip."""
    connections: Annotated[int, Field(ge=1, le=512)] = 24
    """How many calls run at once: threads, and with S3 also connections that are kept open. One
    per file in flight."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    """S3: how long making a connection may take."""
    read_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """S3: how long the store may be silent, or a connection take no more bytes."""
    sender: Literal["auto", "direct", "boto3"] = "auto"
    """S3: what sends files. `direct`: our own, which hands files from the kernel's cache to the
    network and needs least CPU. `boto3`: the library's. `auto`: `direct`, but `boto3` through a
    proxy."""
    proof: Literal["auto", "sha256", "crc64nvme", "md5", "none"] = "auto"
    """S3, direct sender: how an upload is proved to have arrived as it was sent. `sha256`: the
    store checks the signed digest. `crc64nvme`: it checks a checksum in a header. `md5`: its
    ETag is compared. `auto`: the first of these that the store is found to check."""
    congestion_control: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,15}$")] | None = "auto"
    """S3: TCP congestion control of each connection. `auto`: `bbr` where the far end is farther
    than `long_path_ms`, else the machine's default; null: always that default. What the kernel
    refuses is reported and not used."""
    send_buffer_bytes: Literal["auto"] | Annotated[int, Field(ge=4096, le=1 << 30)] | None = "auto"
    """S3: send buffer of each connection; used only when the kernel grants it in full
    (`net.core.wmem_max`), because a smaller one is slower than the kernel's own sizing. `auto`:
    4 MiB where the far end is farther than `long_path_ms`; null: the kernel's own sizing."""
    long_path_ms: Annotated[float, Field(ge=0, le=10_000)] = 10.0
    """S3: round trip from which on a path is long, measured at each connection's handshake."""
    pacing_bytes_per_s: Annotated[int, Field(ge=1 << 10)] | None = None
    """S3: no connection is sent faster by the kernel (`SO_MAX_PACING_RATE`)."""
    keepalive_s: Annotated[int, Field(ge=1, le=3600)] | None = 15
    """S3: TCP asks after a silent far end for the first time after so long, then each 5 s, and
    gives up after three; null: never."""
    bandwidth_bytes_per_s: Annotated[int, Field(ge=1 << 10)] | None = None
    """S3: ceiling of all uploads together; it can be changed while the service runs."""
    warm_every_s: Annotated[float, Field(gt=0, le=3600)] | None = 45.0
    """S3: open all connections before the first file, replace those that the store closes, and ask
    the store something on each that was idle for so long; null: no. Asking more often costs speed:
    BBR measures its path anew ten seconds after a pause, and an upload should not meet that."""
    warm_bytes: Annotated[int, Field(ge=1, le=64 * MIB)] = 8 * MIB
    """S3: size of the uploads `.arriero/warm-...` that open the congestion windows of connections
    on a long path; they are deleted at once. Nothing is uploaded on a short path."""
    warm_window_bytes: Annotated[int, Field(ge=0, le=1 << 30)] = 4 * MIB
    """S3: window that a connection should have: its share of bandwidth times round trip. Up to
    four uploads in a row open it; 0: only open connections, upload nothing."""
    warm_at_once: Annotated[int, Field(ge=1, le=512)] | None = None
    """S3: how many connections are widened at the same time; null: all, so that each learns its
    even share of the link. Fewer learn more, which suits files that do not come at the same
    instant; then a ceiling (`bandwidth_bytes_per_s`) must keep them from overflowing the path."""
    hedge_percent: Annotated[float, Field(ge=0, le=50)] = 5.0
    """S3: an upload that takes longer than this share of the last ones is begun a second time on
    another connection, and the first to arrive counts; only where conditional uploads make it
    safe. 0: never."""
    hedge_after_s: Annotated[float, Field(gt=0, le=600)] = 1.0
    """S3: no second attempt begins sooner."""
    sweep_every_s: Annotated[float, Field(gt=0, le=7 * 86400)] | None = 6 * 3600.0
    """S3: how often uploads in parts that nobody finished are looked for below the store's prefix
    and aborted; null: never."""
    sweep_older_than_s: Annotated[float, Field(ge=60)] = 48 * 3600.0
    """S3: only those that were begun longer ago, which nobody will resume any more."""
    retry: RetrySettings = RetrySettings()
    """How calls are repeated."""
    dry_run: bool = False
    """Write and delete nothing; say what would have been done."""

    @property
    def scheme(self) -> str:
        """`file` or `s3`."""
        return urlsplit(self.url).scheme

    @property
    def directory(self) -> Path:
        """Path of a `file` store."""
        return Path(unquote(urlsplit(self.url).path))

    @property
    def bucket(self) -> str:
        """Bucket of an `s3` store."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What stands before every key of an `s3` store: empty, or ending with a slash."""
        path = urlsplit(self.url).path.strip("/")
        return f"{path}/" if path else ""

    @model_validator(mode="after")
    def _url_is_whole(self) -> Self:
        parts = urlsplit(self.url)
        if parts.query or parts.fragment:
            raise ValueError(f"{self.url}: a store's URL has no `?` and no `#`")
        if parts.scheme == "file":
            self._check_file()
        elif parts.scheme == "s3":
            self._check_s3()
        else:
            raise ValueError(f"{self.url}: use file:///path or s3://bucket")
        return self

    def _check_file(self) -> None:
        parts = urlsplit(self.url)
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"{self.url}: three slashes and an absolute path, file:///path")
        given = [name for name in _S3_ONLY if getattr(self, name) is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: only for s3:// stores, and {self.url} is none")

    def _check_s3(self) -> None:
        if not self.bucket or "@" in self.bucket:
            raise ValueError(
                f"{self.url}: name the bucket, s3://bucket; a Butler profile is `butler_profile`"
            )
        if self.prefix:
            check_key(self.prefix.rstrip("/"))
        required = ("endpoint_url", "access_key", "secret_key")
        absent = [name for name in required if getattr(self, name) is None]
        if absent:
            raise ValueError(f"{self.url} needs {', '.join(absent)}")
        if self.sender == "direct" and self.proxy_url is not None:
            raise ValueError(f"{self.url}: a proxy_url needs `sender: boto3` (or `auto`)")
        endpoint = urlsplit(self.endpoint_url or "")
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
            raise ValueError(f"endpoint_url {self.endpoint_url}: use https://host or http://host")
