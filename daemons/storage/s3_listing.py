"""Listings of a bucket in key order, whatever order the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal

from daemons.storage.interface import ObjectInfo, StoreError, StoreUnavailableError
from daemons.storage.keys import HIDDEN

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef


class Listing:
    """One way to list a bucket; blocking.

    Parameters
    ----------
    fetch
        `list_objects_v2` of the store's bucket, with our errors and repetition.
    base
        The store's prefix; it is taken off the keys.
    how
        `flat`: page by page as the store gives them, which S3 says is in key order.
        `folders`: folder by folder, each sorted here.
    """

    def __init__(
        self, fetch: Callable[..., Any], base: str, how: Literal["flat", "folders"]
    ) -> None:
        self._fetch = fetch
        self._base = base
        self._how = how

    def batches(self, prefix: str) -> Iterator[tuple[ObjectInfo, ...]]:
        """Yield the objects whose key begins with a prefix, some at a time, in key order.

        Raises
        ------
        StoreError
            The store lists its keys in another order.
        StoreUnavailableError
            What answers is no S3.
        """
        found = self._flat if self._how == "flat" else self._folder
        for batch in found(self._base + prefix):
            kept = tuple(info for info in batch if info.key.split("/", 1)[0] != HIDDEN)
            if kept:
                yield kept

    def _flat(self, prefix: str) -> Iterator[tuple[ObjectInfo, ...]]:
        last = ""
        for page in self._pages(prefix):
            batch = tuple(self._info(found) for found in page.get("Contents", []))
            for info in batch:
                if info.key < last:
                    raise StoreError(
                        f"this store lists {info.key} behind {last}, which is not in key order: "
                        "set `listing: folders`"
                    )
                last = info.key
            yield batch

    def _folder(self, prefix: str) -> Iterator[tuple[ObjectInfo, ...]]:
        entries: dict[str, ObjectInfo | None] = {}
        for page in self._pages(prefix, Delimiter="/"):
            entries |= {found["Prefix"]: None for found in page.get("CommonPrefixes", [])}
            entries |= {found["Key"]: self._info(found) for found in page.get("Contents", [])}
        waiting: list[ObjectInfo] = []
        for name in sorted(entries):
            info = entries[name]
            if info is not None:
                waiting.append(info)
                continue
            yield tuple(waiting)
            waiting.clear()
            yield from self._folder(name)
        yield tuple(waiting)

    def _pages(self, prefix: str, **options: str) -> Iterator[Any]:
        while True:
            page = self._fetch(Prefix=prefix, **options)
            if "IsTruncated" not in page:
                raise StoreUnavailableError(
                    "what answers is no S3: its listing is none; look at `endpoint_url`"
                )
            yield page
            if not page["IsTruncated"]:
                return
            options["ContinuationToken"] = page["NextContinuationToken"]

    def _info(self, found: ObjectTypeDef) -> ObjectInfo:
        return ObjectInfo(
            key=found["Key"].removeprefix(self._base),
            size_bytes=found["Size"],
            etag=found["ETag"].strip('"'),
            modified=found["LastModified"].astimezone(UTC),
            metadata={},
        )
