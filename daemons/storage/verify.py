"""Proof that a store holds what was meant."""

from __future__ import annotations

import asyncio
import hashlib

from daemons.storage.interface import IntegrityError, ObjectInfo, ObjectNotFoundError, ObjectStore


async def verify(
    store: ObjectStore, key: str, *, size_bytes: int, sha256: str, read_back: bool = False
) -> ObjectInfo:
    """Return what a store knows of an object that is what it should be.

    Parameters
    ----------
    store
        Where the object is.
    key
        Its key.
    size_bytes, sha256
        What it should be. The digest is compared with the metadata `sha256`, which
        its sender wrote; that the store received these very bytes was shown at the
        put, by the ETag.
    read_back
        Get the object and digest it too: proof that rests on nobody's word, for the
        price of a download.

    Raises
    ------
    ObjectNotFoundError
        There is no object.
    IntegrityError
        Size or digest are other than they should be.
    """
    info = await store.head(key)
    if info is None:
        raise ObjectNotFoundError(f"{store.uri(key)} is not there")
    if info.size_bytes != size_bytes:
        raise IntegrityError(
            f"{store.uri(key)} has {info.size_bytes} bytes and should have {size_bytes}"
        )
    declared = info.metadata.get("sha256")
    if declared != sha256:
        raise IntegrityError(
            f"{store.uri(key)} is declared with SHA-256 {declared} and should be {sha256}"
        )
    if read_back:
        content = await store.get(key)
        found = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        if found != sha256:
            raise IntegrityError(
                f"{store.uri(key)} was read back with SHA-256 {found} and should be {sha256}"
            )
    return info
