"""Where commands read headers: files, folders, and objects in the configured stores."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import unquote, urlsplit

from daemons.runtime.errors import UsageError
from translators.find import find_files, images

if TYPE_CHECKING:
    from daemons.storage import ObjectStore
    from daemons.storage.settings import StoreSettings


class Sources:
    """Finds and opens what a command line names; a context manager.

    Parameters
    ----------
    config
        The host's configuration: its stores say how `s3://` URIs are reached. It is
        read when the first URI comes.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._exits = ExitStack()
        self._settings: dict[str, StoreSettings] | None = None
        self._stores: dict[str, ObjectStore] = {}
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._exits.close()

    def find(self, names: Iterable[str], pattern: str | None = None) -> Iterator[str]:
        """Yield paths and URIs of files: those named, and those below what is named.

        Raises
        ------
        UnreadableFileError
            A path does not exist.
        UsageError
            A URI is of no configured store.
        """
        for name in names:
            if not _is_object(name):
                yield from map(str, find_files([_path(name)], pattern))
            elif name.endswith("/"):
                yield from self._below(name, pattern)
            else:
                yield name

    def open(self, place: str) -> BinaryIO:
        """Open a file or fetch an object.

        Raises
        ------
        OSError
            The file cannot be read.
        StoreError
            The object cannot be fetched.
        """
        if not _is_object(place):
            return _path(place).open("rb")
        store, key = self._located(place)
        return io.BytesIO(self._loop().run(store.get(key)))

    def _below(self, prefix: str, pattern: str | None) -> Iterator[str]:
        store, key = self._located(prefix)

        async def listed() -> list[str]:
            return [info.key async for info in store.list(key)]

        folders: dict[str, list[str]] = {}
        for found in self._loop().run(listed()):
            folder, _, name = found.rpartition("/")
            folders.setdefault(folder, []).append(name)
        for folder, names in sorted(folders.items()):
            yield from (
                store.uri(str(PurePosixPath(folder, name))) for name in images(names, pattern)
            )

    def _located(self, uri: str) -> tuple[ObjectStore, str]:
        """Return the store of a URI and the key in it."""
        parts = urlsplit(uri)
        bucket = parts.netloc.rpartition("@")[2]
        path = unquote(parts.path.removeprefix("/"))
        for name, settings in self._configured().items():
            is_its_bucket = settings.scheme == "s3" and settings.bucket == bucket
            if is_its_bucket and path.startswith(settings.prefix):
                return self._store(name, settings), path.removeprefix(settings.prefix)
        raise UsageError(
            f"{uri}: no store of the configuration is s3://{bucket}; name it under `stores` with "
            "its endpoint_url and keys, and pass the file with `arriero --config`"
        )

    def _configured(self) -> dict[str, StoreSettings]:
        from daemons.cli.settings import load  # noqa: PLC0415 - slow, for URIs only

        if self._settings is None:
            self._settings = load(self._config).value.stores
        return self._settings

    def _store(self, name: str, settings: StoreSettings) -> ObjectStore:
        from daemons.storage.factory import open_store  # noqa: PLC0415 - slow, for URIs only

        if name not in self._stores:
            runner = self._loop()
            store = self._stores[name] = open_store(name, settings)
            self._exits.callback(lambda: runner.run(store.close()))
        return self._stores[name]

    def _loop(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._exits.push(self._runner)
        return self._runner


def _is_object(name: str) -> bool:
    return name.startswith("s3://")


def _path(name: str) -> Path:
    return Path(unquote(urlsplit(name).path) if name.startswith("file://") else name)
