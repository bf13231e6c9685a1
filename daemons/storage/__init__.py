"""Object stores behind one small interface: S3, and a directory as its twin."""

from daemons.storage.interface import (
    AccessRefusedError,
    IntegrityError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreError,
    StoreUnavailableError,
)

__all__ = [
    "AccessRefusedError",
    "IntegrityError",
    "ObjectExistsError",
    "ObjectInfo",
    "ObjectNotFoundError",
    "ObjectStore",
    "StoreError",
    "StoreUnavailableError",
]
