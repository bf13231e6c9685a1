"""From settings to a store."""

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
from daemons.storage.interface import ObjectStore
from daemons.storage.s3 import S3Store
from daemons.storage.settings import StoreSettings


def open_store(
    name: str, settings: StoreSettings, *, registry: CollectorRegistry | None = None
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

    Raises
    ------
    SettingsError
        A secret cannot be read.
    """
    store: ObjectStore
    if settings.scheme == "s3":
        store = S3Store(name, settings)
    else:
        store = DirectoryStore(
            name, settings.directory, create=settings.create, workers=settings.connections
        )
    if registry is not None:
        store = MeteredStore(store, metrics_of(registry))
    if settings.retry.attempts > 1:
        store = RetryingStore(store, settings.retry)
    if settings.dry_run:
        store = DryRunStore(store)
    return store


async def keep_warm(store: ObjectStore) -> None:
    """Keep the connections of a store warm as its settings say, until cancelled.

    Returns at once for a store that has no connections, is not to be warmed, or
    only pretends to write.
    """
    while isinstance(store, StoreDecorator):
        if isinstance(store, DryRunStore):
            return
        store = store.inner
    if isinstance(store, S3Store):
        await store.keep_warm()
