"""From settings to a store, and to what a store has besides being one.

What only some stores have (connections to keep warm, a ceiling, unfinished uploads) is
asked for here, whatever decorators are around the store; for one that lacks it nothing
happens.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from daemons.storage.decorators import (
    DryRunStore,
    MeteredStore,
    RetryingStore,
    StoreDecorator,
    metrics_of,
)
from daemons.storage.directory import DirectoryStore
from daemons.storage.hedging import HedgingStore
from daemons.storage.interface import ObjectStore
from daemons.storage.multipart import UploadRecord
from daemons.storage.report import NetworkReport
from daemons.storage.s3 import S3Store
from daemons.storage.settings import StoreSettings
from daemons.storage.traits import StoreTraits


def open_store(
    name: str,
    settings: StoreSettings,
    *,
    registry: CollectorRegistry | None = None,
    uploads: UploadRecord | None = None,
) -> ObjectStore:
    """Return a store that measures, repeats and, if so configured, only pretends.

    Nothing is asked of the network or of the directory yet; secrets are read.

    Parameters
    ----------
    name
        Name of the destination in the configuration.
    settings
        What the configuration says of it.
    registry
        Where its metrics are exposed; without one nothing is measured.
    uploads
        Remembers uploads in parts over restarts; without one those that fail are aborted.

    Raises
    ------
    SettingsError
        A secret cannot be read.
    """
    store: ObjectStore
    s3: S3Store | None = None
    if settings.scheme == "s3":
        store = s3 = S3Store(name, settings, uploads=uploads)
    else:
        store = DirectoryStore(
            name, settings.directory, create=settings.create, workers=settings.connections
        )
    metrics = metrics_of(registry) if registry is not None else None
    if metrics is not None:
        store = MeteredStore(store, metrics)
    if s3 is not None and settings.hedge_percent > 0:
        store = HedgingStore(
            store,
            percent=settings.hedge_percent,
            after_s=settings.hedge_after_s,
            is_safe=lambda: s3.puts_conditionally,
            metrics=metrics,
        )
    if settings.retry.attempts > 1:
        store = RetryingStore(store, settings.retry)
    if settings.dry_run:
        store = DryRunStore(store)
    return store


async def keep_warm(store: ObjectStore) -> None:
    """Probe a store's endpoint and keep its connections warm, until cancelled.

    Returns at once for a store that has no connections, is not to be warmed, or
    only pretends to write.
    """
    s3 = _s3_of(store, writes=True)
    if s3 is not None:
        await s3.keep_warm()


async def keep_swept(store: ObjectStore) -> None:
    """Abort uploads in parts that nobody finished, at once and then on a schedule, until cancelled.

    Returns at once for a store that knows no parts, is not to be swept, or only
    pretends to write.
    """
    s3 = _s3_of(store, writes=True)
    if s3 is not None:
        await s3.keep_swept()


async def probe(store: ObjectStore) -> StoreTraits | None:
    """Find out what a store's endpoint can do, and act on it; None where there is none.

    Raises
    ------
    StoreError
        It is away, or does not let us write.
    """
    s3 = _s3_of(store, writes=True)
    return await s3.probe() if s3 is not None else None


def remember_uploads(store: ObjectStore, record: UploadRecord) -> None:
    """Let a store remember uploads in parts, so that a restart goes on with them."""
    s3 = _s3_of(store)
    if s3 is not None:
        s3.remember_uploads(record)


def limit(store: ObjectStore, bytes_per_s: float | None) -> bool:
    """Set the ceiling of a store's uploads, for those under way too; None for none.

    Returns
    -------
    set
        False for a store that has no ceiling.
    """
    s3 = _s3_of(store)
    if s3 is not None:
        s3.limit(bytes_per_s)
    return s3 is not None


def network(store: ObjectStore) -> NetworkReport | None:
    """Return what a store's connections are like, and what the kernel granted; None without."""
    s3 = _s3_of(store)
    return s3.network() if s3 is not None else None


def _s3_of(store: ObjectStore, *, writes: bool = False) -> S3Store | None:
    """Return the S3 store below the decorators, unless it is only pretended to."""
    while not isinstance(store, S3Store):
        if not isinstance(store, StoreDecorator) or (writes and isinstance(store, DryRunStore)):
            return None
        store = store.inner
    return store
