"""An object store that speaks S3: AWS, Ceph, SeaweedFS and others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import structlog

from daemons.storage.bodies import Abandonment, held
from daemons.storage.direct import SMALL_BYTES, DirectSender
from daemons.storage.interface import (
    AccessRefusedError,
    Body,
    ObjectExistsError,
    ObjectInfo,
    StoreError,
    StoreUnavailableError,
)
from daemons.storage.keys import HIDDEN, check_key, check_metadata, quote_key
from daemons.storage.limits import Throttle
from daemons.storage.multipart import MultipartUploader, UploadRecord, abort_stale
from daemons.storage.pressure import Gate
from daemons.storage.report import NetworkReport
from daemons.storage.s3_client import FileCredentials, make_client
from daemons.storage.s3_errors import (
    ConditionUnsupportedError,
    date_of,
    is_throttling,
    status_of,
    told,
)
from daemons.storage.s3_listing import Listing
from daemons.storage.s3_upload import Boto3Sender, Sender, Upload
from daemons.storage.settings import StoreSettings
from daemons.storage.signing import SigningClock
from daemons.storage.sockets import SocketTuner, Transport
from daemons.storage.traits import StoreTraits, find_traits
from daemons.storage.warmth import Warmth
from daemons.storage.workers import Workers

ResultT = TypeVar("ResultT")

_CONDITIONAL_PROBE = f"{HIDDEN}/conditional-probe"
"""Small object of our own that stays in the bucket; it tells what the endpoint can do."""
_WARM_PROBE = f"{HIDDEN}/warm-{{number}}"
"""Objects of our own that are overwritten to keep boto3's connections warm."""
_LOOK_AFTER_S = 2.0
"""How soon a connection that the far end closed is replaced, ahead of the next file."""
_TIME_REFUSED = timedelta(minutes=5)
"""Nobody refuses a signature whose time is closer than this to the store's."""

_log = structlog.get_logger(__name__)


class S3Store:
    """Objects in a bucket, optionally below a prefix.

    Warm connections, one thread per connection. Files up to the single-put limit go in
    one request without `Expect`, larger ones in parts. That what arrived is what was sent
    is shown by the store's check of a digest, or by its ETag. Keys that are refused
    are read again from their files, and if they changed the call is made once more; so
    is one whose time the store refused, with the store's time.

    Parameters
    ----------
    name
        Name of this destination in the configuration.
    settings
        An `s3://` destination.
    uploads
        Remembers uploads in parts over restarts; without it those that fail are aborted.
    clock
        Time to sign with; by default the machine's, corrected where the store says so.
    """

    def __init__(
        self,
        name: str,
        settings: StoreSettings,
        *,
        uploads: UploadRecord | None = None,
        clock: SigningClock | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._tuner = SocketTuner(settings)
        self._throttle = Throttle(settings.bandwidth_bytes_per_s)
        self._clock = clock or SigningClock()
        self._credentials = FileCredentials(settings)
        self._client = make_client(settings, self._credentials, self._tuner, self._clock)
        # As many again for questions and small objects, which have connections of their own.
        self._workers = Workers(name, 2 * settings.connections)
        self._gate = Gate(settings.connections)
        self._direct = self._direct_sender()
        self._warmth: Warmth | None = None
        if self._direct is not None:
            self._warmth = Warmth(name, settings, self._direct, tuner=self._tuner, ask=self._ask)
        self._sender: Sender = self._direct or Boto3Sender(
            self._client, self._throttle, etag_is_md5=settings.etag == "md5"
        )
        self._multipart = MultipartUploader(
            name,
            self._client,
            self._sender,
            self._ask,
            part_bytes=settings.part_bytes,
            record=uploads,
            etag_is_md5=settings.etag == "md5",
        )
        self._native: bool | None = {"native": True, "head": False}.get(settings.conditional)
        self._traits: StoreTraits | None = None
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

    @property
    def puts_conditionally(self) -> bool:
        """Whether the store is known to refuse a conditional put of a key that exists."""
        return self._native is True

    def network(self) -> NetworkReport:
        """Return what the connections are like, and what the kernel granted them."""
        return NetworkReport(
            sender="direct" if self._direct else "boto3",
            proof=self._direct.proof if self._direct else "md5",
            bandwidth_bytes_per_s=self._throttle.bytes_per_s,
            uploads_at_once=self._gate.allowed,
            clock_skew_s=self._clock.skew_s,
            traits=self._traits,
            refusals=self._tuner.refusals,
            transports=self._tuner.transports,
        )

    def limit(self, bytes_per_s: float | None) -> None:
        """Set the ceiling of all uploads together, for those under way too; None for none."""
        self._throttle.limit(bytes_per_s)

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
            if status_of(error.__cause__) == HTTPStatus.NOT_FOUND:
                raise StoreError(
                    f"there is no bucket {bucket} at {self._settings.endpoint_url}: create it or "
                    "correct the store's url"
                ) from error
            raise

    async def put(
        self,
        key: str,
        body: Body,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store bytes or a file under a key; see `ObjectStore.put`."""
        upload = self._upload(self._full(key), body, check_metadata(metadata), content_type)
        try:
            async with self._passing(upload):
                if if_absent:
                    info = await self._put_if_absent(key, upload)
                else:
                    info = await self._send(key, upload)
        except asyncio.CancelledError:
            upload.given_up.set()
            raise
        except StoreUnavailableError as error:
            if is_throttling(error) and self._gate.slow_down():
                _log.warning(
                    "store_asks_for_less", store=self._name, uploads_at_once=self._gate.allowed
                )
            raise
        self._gate.went_well()
        return info

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        full, bucket = self._full(key), self._settings.bucket
        info = await self._ask(f"look at {key}", lambda: self._sender.head(bucket, full))
        return replace(info, key=key) if info is not None else None

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

    async def probe(self) -> StoreTraits:
        """Find out what the endpoint can do, act on it and remember it.

        Asked again it asks the store again. With boto3 as the sender only conditional
        uploads are tried.
        """
        async with self._probing:
            conditional = await self.honours_conditions()
            if self._settings.conditional == "auto":
                self._native = conditional
            direct, prefix = self._direct, self._settings.prefix
            if direct is None:
                traits = StoreTraits(conditional_put=conditional)
            else:
                traits = await self._ask(
                    "probe",
                    lambda: find_traits(direct, f"{prefix}{_CONDITIONAL_PROBE}", conditional),
                )
                direct.choose_proof(traits.checked)
            skew_s = self._clock.skew_s
            self._traits = replace(traits, clock_skew_s=skew_s)
            _log.info(
                "store_probed",
                store=self._name,
                conditional_put=conditional,
                checked=traits.checked,
                clock_skew_s=skew_s,
            )
            return self._traits

    async def warm(self) -> None:
        """Open every connection, and on a long path widen its congestion window."""
        if self._warmth is not None:
            await self._warmth.warm()
            return
        body = bytes(self._settings.warm_bytes)
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.connections):
                probe = self._probe(_WARM_PROBE.format(number=number), body)
                group.create_task(
                    self._send(probe.key, probe), name=f"store-{self._name}-warm-{number}"
                )

    async def keep_warm(self) -> None:
        """Probe the endpoint, open the connections and keep them so, until cancelled.

        Returns at once where the settings do not ask for it.
        """
        interval = self._settings.warm_every_s
        if interval is None:
            return
        idle_s = 0.0  # at first whatever is open, then only what nobody used
        while True:
            try:
                if self._traits is None:
                    await self.probe()
                if self._warmth is not None:
                    await self._warmth.warm(idle_s=idle_s)
                elif time.monotonic() - self._sent_at >= interval:
                    await self.warm()
                idle_s = interval
            except* StoreError as errors:
                reason = str(errors.exceptions[0])
                _log.warning("store_not_warmed", store=self._name, error=reason)
            await asyncio.sleep(min(interval, _LOOK_AFTER_S) if self._warmth else interval)

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
        bucket, prefix = self._settings.bucket, self._settings.prefix
        return await self._ask(
            "abort unfinished uploads",
            lambda: abort_stale(self._client, bucket, prefix, older_than=older_than),
        )

    async def keep_swept(self) -> None:
        """Abort uploads that nobody finished, now and again, until cancelled."""
        interval = self._settings.sweep_every_s
        if interval is None:
            return
        while True:
            try:
                age = timedelta(seconds=self._settings.sweep_older_than_s)
                aborted = await self.abort_stale_uploads(age)
            except StoreError as error:
                _log.warning("store_not_swept", store=self._name, error=str(error))
            else:
                _log.info("store_swept", store=self._name, aborted=aborted)
            await asyncio.sleep(interval)

    async def close(self) -> None:
        """Wait for running calls and give back connections and threads."""
        await self._workers.close()
        self._sender.close()
        self._client.close()

    def remember_uploads(self, record: UploadRecord) -> None:
        """Remember uploads in parts from now on, so that a restart goes on with them."""
        self._multipart.remember(record)

    # Uploads

    def _passing(self, upload: Upload) -> AbstractAsyncContextManager[None]:
        """Return the gate, which small objects pass beside."""
        return nullcontext() if upload.size() <= SMALL_BYTES else self._gate.passing()

    def _direct_sender(self) -> DirectSender | None:
        wanted = self._settings.sender
        if wanted == "boto3" or (wanted == "auto" and self._settings.proxy_url is not None):
            return None
        return DirectSender(
            self._settings,
            self._credentials,
            clock=self._clock,
            tuner=self._tuner,
            throttle=self._throttle,
        )

    def _upload(
        self, full: str, body: Body, metadata: Mapping[str, str], content_type: str
    ) -> Upload:
        return Upload(
            bucket=self._settings.bucket,
            key=full,
            body=held(body),
            metadata=metadata,
            content_type=content_type,
            given_up=Abandonment(),
        )

    def _small_probe(self) -> Upload:
        return self._probe(_CONDITIONAL_PROBE, b"probe")

    def _probe(self, key: str, body: bytes) -> Upload:
        return self._upload(self._settings.prefix + key, body, {}, "application/octet-stream")

    async def _send(self, key: str, upload: Upload, *, if_absent: bool = False) -> ObjectInfo:
        if upload.size() <= self._settings.single_put_limit_bytes:
            info = await self._ask(
                f"put {key}", lambda: self._sender.put_whole(upload, if_absent=if_absent)
            )
        else:
            info = await self._multipart.put(upload, if_absent=if_absent)
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
        """Make a blocking call; once more where keys or time were refused and are others now."""
        described = f"{what} ({self._settings.url} at {self._settings.endpoint_url})"
        used = self._credentials.get_frozen_credentials()
        signed_at = self._clock.now()
        try:
            with told(described):
                return call()
        except AccessRefusedError as error:
            date = date_of(error.__cause__)
            late = date is not None and abs(date - signed_at) > _TIME_REFUSED
            if late and self._clock.correct(date):
                _log.info("store_call_signed_again", store=self._name)
            elif self._credentials.reread(used):
                _log.info("store_credentials_reread", store=self._name)
            else:
                raise
        with told(described):
            return call()
