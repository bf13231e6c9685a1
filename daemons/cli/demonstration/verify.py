"""The proof: what the camera wrote, against what the store holds and the Butler says."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from daemons.simulators.manifest import ManifestEntry
from daemons.storage import ObjectStore

_AT_ONCE = 4
"""Objects that are read back at the same time."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found; `faults` is empty when everything arrived."""

    made: int
    """Files that the camera wrote and recorded with their digest."""
    made_bytes: int
    stored: int
    """Of those, found in the store."""
    identical: int
    """Of those, byte-identical by sha256, read back from the store."""
    registered: int
    """Images that the Butler reports, each under the object that holds it."""
    images: int
    """Files that should be registered: all but the camera's JSON files."""
    faults: tuple[str, ...]
    """One sentence per file that is not where it should be."""

    @property
    def whole(self) -> bool:
        """True when every file was made, stored once, identical, and registered once."""
        return self.made > 0 and not self.faults


async def prove(
    store: ObjectStore,
    manifest: Iterable[ManifestEntry],
    registered: Iterable[str] | None,
) -> Proof:
    """Compare the camera's record with the store and the Butler.

    Parameters
    ----------
    store
        Where the images should be.
    manifest
        What the camera wrote.
    registered
        URIs that the Butler reports; None where there is no Butler.
    """
    entries = {PurePosixPath(entry.file).name: entry for entry in manifest}
    keys: dict[str, list[str]] = defaultdict(list)
    async for found in store.list():
        keys[PurePosixPath(found.key).name].append(found.key)
    faults: list[str] = []
    gate = asyncio.Semaphore(_AT_ONCE)

    async def identical(name: str, key: str) -> bool:
        async with gate:
            body = await store.get(key)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        return digest == entries[name].sha256

    present = {name: keys[name] for name in entries if name in keys}
    verdicts = await asyncio.gather(*(identical(name, at[0]) for name, at in present.items()))
    same = {name for name, verdict in zip(present, verdicts, strict=True) if verdict}
    for name in entries:
        if name not in present:
            faults.append(f"{name}: not in the store")
        elif len(present[name]) > 1:
            faults.append(f"{name}: stored {len(present[name])} times: {', '.join(present[name])}")
        elif name not in same:
            faults.append(f"{name}: stored, but not the bytes that the camera wrote")
    images = [name for name in entries if name.endswith(".fits")]
    known = _by_name(registered or ())
    if registered is not None:
        faults += list(_registration_faults(images, known))
    return Proof(
        made=len(entries),
        made_bytes=sum(entry.size_bytes for entry in entries.values()),
        stored=len(present),
        identical=len(same),
        registered=sum(len(uris) for uris in known.values()),
        images=len(images),
        faults=tuple(faults),
    )


def _registration_faults(images: Iterable[str], known: Mapping[str, list[str]]) -> Iterable[str]:
    wanted = set(images)
    for name in sorted(wanted):
        if len(known.get(name, ())) != 1:
            yield f"{name}: registered {len(known.get(name, ()))} times"
    for name in sorted(known.keys() - wanted):
        yield f"{name}: registered, but the camera did not write it"


def _by_name(uris: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        found[PurePosixPath(unquote(urlsplit(uri).path)).name].append(uri)
    return found
