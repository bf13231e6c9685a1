"""What is particular to the store in a directory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemons.storage.directory import DirectoryStore
from daemons.storage.folder import _told
from daemons.storage.interface import (
    AccessRefusedError,
    ObjectExistsError,
    StoreError,
    StoreUnavailableError,
)
from tests.support.waiting import until

REPOSITORY = Path(__file__).parents[3]
NOBODY = 65534


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryStore]:
    store = DirectoryStore("here", tmp_path / "objects")
    yield store
    await store.close()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_objects_are_plain_files(store: DirectoryStore, tmp_path: Path) -> None:
    await store.put("night/image.fits", b"pixels", metadata={"one": "1"})
    assert (tmp_path / "objects/night/image.fits").read_bytes() == b"pixels"
    assert store.uri("night/image.fits") == f"file://{tmp_path}/objects/night/image.fits"


async def test_a_file_that_somebody_put_there_is_an_object(
    store: DirectoryStore, tmp_path: Path
) -> None:
    await store.check()
    (tmp_path / "objects/by-hand").write_bytes(b"abc")
    info = await store.head("by-hand")
    assert info is not None
    assert (info.size_bytes, info.etag) == (3, hashlib.md5(b"abc").hexdigest())  # noqa: S324
    assert info.metadata == {}
    with pytest.raises(ObjectExistsError):
        await store.put("by-hand", b"x", if_absent=True)


async def test_replacing_and_deleting_leave_nothing_behind(
    store: DirectoryStore, tmp_path: Path
) -> None:
    for content in (b"1", b"22", b"333"):
        await store.put("night/image", content, metadata={"size": str(len(content))})
    with pytest.raises(ObjectExistsError):
        await store.put("night/image", b"x", if_absent=True)
    assert len(files_below(tmp_path / "objects")) == 2
    await store.delete("night/image")
    assert files_below(tmp_path / "objects") == []
    assert not (tmp_path / "objects/night").exists()


async def test_links_and_folders_are_no_objects(store: DirectoryStore, tmp_path: Path) -> None:
    await store.put("folder/object", b"x")
    (tmp_path / "objects/link").symlink_to("folder/object")
    assert await store.head("link") is None
    assert await store.head("folder") is None
    assert [info.key async for info in store.list()] == ["folder/object"]


@pytest.mark.parametrize("if_absent", [True, False])
async def test_a_key_cannot_be_the_folder_of_others(
    store: DirectoryStore,
    if_absent: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    await store.put("a/b", b"x")
    with pytest.raises(StoreError, match="cannot also be the folder"):
        await store.put("a", b"x", if_absent=if_absent)
    with pytest.raises(StoreError, match="cannot also be the folder"):
        await store.put("a/b/c", b"x", if_absent=if_absent)
    assert await store.get("a/b") == b"x"
    assert await store.head("a/b/c") is None


async def test_parts_that_are_too_long_for_a_file_name_are_refused(store: DirectoryStore) -> None:
    with pytest.raises(ValueError, match="over 255 bytes"):
        await store.put("x" * 256, b"x")


async def test_a_mount_point_without_its_mount_is_not_filled(tmp_path: Path) -> None:
    root = tmp_path / "mount-point"
    root.mkdir()
    store = DirectoryStore("here", root, create=False)
    for call in (store.check(), store.put("a", b"x"), store.head("a"), store.get("a")):
        with pytest.raises(StoreUnavailableError, match="mkdir -p"):
            await call
    assert list(root.iterdir()) == []
    await store.close()


async def test_a_directory_that_was_there_is_not_made_anew(
    store: DirectoryStore, tmp_path: Path
) -> None:
    await store.put("a", b"x")
    (tmp_path / "objects").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailableError):
        await store.put("b", b"x")
    assert not (tmp_path / "objects").exists()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Take away the right to write below a folder, from root too."""
    folder.chmod(0o500)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_directory_that_may_not_be_written_is_refused_access(
    store: DirectoryStore, tmp_path: Path
) -> None:
    await store.check()
    with (
        unprivileged(tmp_path / "objects"),
        pytest.raises(AccessRefusedError, match="let user") as caught,
    ):
        await store.put("a", b"x")
    (tmp_path / "objects").chmod(0o700)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENOSPC, StoreUnavailableError, "make room"),
        (errno.EDQUOT, StoreUnavailableError, "make room"),
        (errno.EIO, StoreUnavailableError, "mounted and in order"),
        (errno.ESTALE, StoreUnavailableError, "mounted and in order"),
        (errno.EROFS, AccessRefusedError, "let user"),
        (errno.ENOTDIR, StoreError, "folder of others"),
    ],
)
def test_what_the_system_says_becomes_our_error(
    number: int, kind: type[StoreError], sentence: str
) -> None:
    told = _told(OSError(number, os.strerror(number)), Path("/data"))
    assert type(told) is kind
    assert sentence in str(told)
    assert "/data" in str(told)


async def test_a_cancelled_put_leaves_nothing_unfinished(
    store: DirectoryStore, tmp_path: Path
) -> None:
    image = tmp_path / "image.fits"
    with image.open("wb") as sparse:
        sparse.truncate(1 << 30)
    put = asyncio.create_task(store.put("image", image))
    unfinished = tmp_path / "objects/.arriero/unfinished"
    await until(lambda: unfinished.is_dir() and any(unfinished.iterdir()))
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    await store.close()
    assert files_below(tmp_path / "objects") == []


async def test_check_tidies_up_after_puts_that_were_killed_long_ago(
    store: DirectoryStore, tmp_path: Path
) -> None:
    await store.check()
    folder = tmp_path / "objects/.arriero/unfinished"
    old, young = folder / "old", folder / "young"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    await store.check()
    assert list(folder.iterdir()) == [young]


async def test_a_name_that_is_no_text_is_left_out_of_the_listing(
    store: DirectoryStore, tmp_path: Path
) -> None:
    await store.put("good", b"x")
    (tmp_path / "objects" / os.fsdecode(b"bad-\xff")).touch()
    assert [info.key async for info in store.list()] == ["good"]


async def test_puts_and_deletions_of_one_folder_may_race(store: DirectoryStore) -> None:
    async def come_and_go(number: int) -> None:
        for _ in range(15):
            await store.put(f"night/{number}", b"x", metadata={"number": str(number)})
            head = await store.head(f"night/{number}")
            assert head is not None
            assert head.metadata == {"number": str(number)}
            await store.delete(f"night/{number}")

    await asyncio.gather(*map(come_and_go, range(6)))
    assert [info async for info in store.list()] == []


async def test_readers_see_bytes_and_metadata_of_one_put(store: DirectoryStore) -> None:
    bodies = [bytes([number]) * (1000 + number) for number in range(4)]

    async def write(number: int) -> None:
        for _ in range(15):
            await store.put("image", bodies[number], metadata={"number": str(number)})

    async def read() -> None:
        for _ in range(60):
            head = await store.head("image")
            if head is not None:
                body = bodies[int(head.metadata["number"])]
                assert head.size_bytes == len(body)
                assert head.etag == hashlib.md5(body).hexdigest()  # noqa: S324
            await asyncio.sleep(0)

    await asyncio.gather(*map(write, range(4)), read(), read())


WRITER = """
import asyncio, hashlib, os, sys
from itertools import count
from pathlib import Path
from daemons.storage.directory import DirectoryStore

async def main():
    store = DirectoryStore("killed", Path(sys.argv[1]), workers=4)
    async def write(name):
        for number in count():
            body = os.urandom(50_000 + number % 7)
            digest = hashlib.sha256(body).hexdigest()
            await store.put(f"night/{name}", body, metadata={"sha256": digest})
            await store.put(f"night/{name}-{number}", body, metadata={"sha256": digest},
                            if_absent=True)
            print(f"night/{name}-{number}", digest, flush=True)
    await asyncio.gather(*(write(name) for name in "abcd"))

asyncio.run(main())
"""


def acknowledged_before_kill(root: Path, lines: int) -> dict[str, str]:
    """Let a process write, kill it after so many puts, return what it said it had stored."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().split() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
    return {line[0]: line[1] for line in said}


@pytest.mark.parametrize("lines", [1, 4, 9, 23, 40])
async def test_a_process_killed_at_any_instant_leaves_whole_objects(
    store: DirectoryStore, tmp_path: Path, lines: int
) -> None:
    acknowledged = await asyncio.to_thread(acknowledged_before_kill, tmp_path / "objects", lines)
    listed = [info.key async for info in store.list("night/")]
    assert set(acknowledged) <= set(listed)
    for key in listed:
        head = await store.head(key)
        content = await store.get(key)
        assert head is not None
        assert head.size_bytes == len(content)
        assert head.metadata["sha256"] == hashlib.sha256(content).hexdigest()
        assert acknowledged.get(key, head.metadata["sha256"]) == head.metadata["sha256"]
