"""One object into the store: conditional, verified, as long as it takes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemons.forwarder.errors import ConflictError, DeliveryError
from daemons.forwarder.live import LiveSettings
from daemons.forwarder.metrics import ForwarderMetrics
from daemons.forwarder.patience import Patience
from daemons.runtime.errors import ArrieroError
from daemons.storage import (
    AccessRefusedError,
    IntegrityError,
    ObjectExistsError,
    ObjectInfo,
    ObjectStore,
    StoreError,
    StoreUnavailableError,
)

SHA256 = "sha256"
"""Name of the digest in an object's metadata."""
IMAGE_SHA256 = "image-sha256"
"""In a sidecar's metadata, the digest of the image that it belongs to."""
_INTEGRITY_ATTEMPTS = 3
"""How often an object that arrives altered is sent again before a person is asked."""

_log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Raises where what is sent is no longer what it was."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object to store."""

    key: str
    body: bytes | Path
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    """Without the digest."""
    belongs_to: str | None = None
    """For a sidecar, digest of its image: one that is stored already for the same image is
    left as it is."""

    @property
    def full_metadata(self) -> dict[str, str]:
        """The metadata to store, with the digest."""
        full = {**self.metadata, SHA256: self.sha256}
        return full if self.belongs_to is None else {**full, IMAGE_SHA256: self.belongs_to}


@dataclass(frozen=True, slots=True)
class Delivered:
    """An object that is stored and verified."""

    info: ObjectInfo
    sha256: str
    """Digest of what is stored."""
    fresh: bool
    """This very call put it there."""


class Delivery:
    """Puts objects into one store.

    Parameters
    ----------
    store
        The store.
    patience
        How a store that is away is waited for.
    live
        The settings.
    metrics
        Measures.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        patience: Patience,
        live: LiveSettings,
        metrics: ForwarderMetrics,
    ) -> None:
        self.store = store
        self.patience = patience
        self._live = live
        self._metrics = metrics

    async def deliver(self, parcel: Parcel, *, check: Check, look_first: bool = False) -> Delivered:
        """Store an object unless it is there, and verify it.

        Parameters
        ----------
        parcel
            The object.
        check
            Called before each attempt.
        look_first
            It may be there already: ask before sending the bytes.

        Raises
        ------
        ConflictError
            The key holds other content.
        DeliveryError
            The store refuses it for good, or what arrives is altered each time.
        DrainingError
            The store is away and the service ends.
        """
        altered = 0
        while True:
            await check()
            try:
                delivered = await self._attempt(parcel, look_first=look_first)
            except (StoreUnavailableError, AccessRefusedError, TimeoutError) as error:
                self._count("store", error)
                look_first = True  # an answer that was lost may have been a yes
                await self.patience.failed(_named(error, parcel, self.store))
            except IntegrityError as error:
                self._count("store", error)
                altered += 1
                look_first = True
                if altered == _INTEGRITY_ATTEMPTS:
                    raise DeliveryError(f"{error}; look at the network and the store") from error
            except (StoreError, ValueError) as error:
                raise DeliveryError(
                    f"the store {self.store.name} refuses {parcel.key}: {error}"
                ) from error
            else:
                self.patience.succeeded(f"reached, {self.store.uri(parcel.key)}")
                return delivered

    async def withdraw(self, key: str) -> None:
        """Remove an object that this service put there a moment ago and never announced."""
        try:
            async with asyncio.timeout(self._live.settings.attempt_timeout_s):
                await self.store.delete(key)
        except (StoreError, TimeoutError) as error:
            _log.warning("object_not_withdrawn", key=key, error=str(error))

    async def existing(self, key: str, *, digest: bool = True) -> Delivered | None:
        """Return what the store holds under a key, with its digest where that is wanted."""
        try:
            info = await self._head(key)
            if info is None:
                return None
            sha256 = info.metadata.get(SHA256)
            if sha256 is None and digest:
                sha256 = await self._read_digest(info)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"the store {self.store.name} gave no answer in time about {key}"
            ) from error
        return Delivered(info, sha256 or "", fresh=False)

    async def _attempt(self, parcel: Parcel, *, look_first: bool) -> Delivered:
        fresh = False
        info = await self._head(parcel.key) if look_first else None
        if info is None:
            put = await self._put(parcel)
            fresh = put is not None
            if put is not None and self._is_proof(parcel, put):
                return Delivered(put, parcel.sha256, fresh=True)
            with self._metrics.timed("verify"):
                info = await self._head(parcel.key)
        if info is None:
            raise IntegrityError(f"{parcel.key} is not in the store although it was just put there")
        return await self._verified(parcel, info, fresh=fresh)

    def _is_proof(self, parcel: Parcel, put: ObjectInfo) -> bool:
        """Return whether a store's answer needs no look after it, which costs a round trip.

        A sidecar can be made again, so any answer will do.
        """
        proven = put.proven and self._live.settings.verify == "auto"
        return put.size_bytes == parcel.size_bytes and (proven or parcel.belongs_to is not None)

    async def _put(self, parcel: Parcel) -> ObjectInfo | None:
        """Put an object; None where the key holds one already."""
        settings = self._live.settings
        allowed_s = settings.attempt_timeout_s + parcel.size_bytes / settings.slowest_rate
        try:
            async with asyncio.timeout(allowed_s):
                return await self.store.put(
                    parcel.key,
                    parcel.body,
                    metadata=parcel.full_metadata,
                    content_type=parcel.content_type,
                    if_absent=True,
                )
        except ObjectExistsError:
            return None

    async def _head(self, key: str) -> ObjectInfo | None:
        async with asyncio.timeout(self._live.settings.attempt_timeout_s):
            return await self.store.head(key)

    async def _verified(self, parcel: Parcel, info: ObjectInfo, *, fresh: bool) -> Delivered:
        """Compare what the store holds with what was to be sent."""
        stored = await self._stored_digest(parcel, info)
        if stored == parcel.sha256 and info.size_bytes == parcel.size_bytes:
            return Delivered(info, parcel.sha256, fresh=fresh)
        if fresh:
            await self.withdraw(parcel.key)
            raise IntegrityError(
                f"{parcel.key} arrived with {info.size_bytes} bytes and digest {stored}, sent were "
                f"{parcel.size_bytes} and {parcel.sha256}"
            )
        same_image = info.metadata.get(IMAGE_SHA256) == parcel.belongs_to
        if parcel.belongs_to is not None and same_image and stored is not None:
            return Delivered(info, stored, fresh=False)
        raise ConflictError(
            f"{self.store.uri(parcel.key)} holds other content already ({info.size_bytes} bytes, "
            f"digest {stored or 'unknown'}; this file has {parcel.size_bytes} bytes, digest "
            f"{parcel.sha256}); nothing was overwritten. Find out which of the two is right",
            key=parcel.key,
            stored_sha256=stored,
        )

    async def _stored_digest(self, parcel: Parcel, info: ObjectInfo) -> str | None:
        """Return the digest of what is stored; reading it only where nothing else tells."""
        told = info.metadata.get(SHA256)
        if told is not None or info.size_bytes != parcel.size_bytes:
            return told
        return await self._read_digest(info)

    async def _read_digest(self, info: ObjectInfo) -> str:
        """Get an object and digest it."""
        settings = self._live.settings
        allowed_s = settings.attempt_timeout_s + info.size_bytes / settings.slowest_rate
        async with asyncio.timeout(allowed_s):
            content = await self.store.get(info.key)
        return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())

    def _count(self, stage: str, error: Exception) -> None:
        code = error.code if isinstance(error, ArrieroError) else "timeout"
        self._metrics.failure(stage, code)


def _named(error: Exception, parcel: Parcel, store: ObjectStore) -> Exception:
    """Say which store it was where the error has no words of its own."""
    if isinstance(error, ArrieroError):
        return error
    return StoreUnavailableError(
        f"the store {store.name} gave no answer in time for {parcel.key} "
        f"({parcel.size_bytes} bytes); look at the network, it is tried again"
    )
