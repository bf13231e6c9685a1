"""Notices of the file system, from a real kernel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons.forwarder.notice import Ended, Hint, Notices


class Heard:
    def __init__(self) -> None:
        self.hints: dict[bytes, dict[Ended, float]] = {}
        self.overflows = 0
        self.news = threading.Condition()

    def hint(self, hint: Hint) -> None:
        with self.news:
            self.hints.setdefault(hint.path, {}).setdefault(hint.ended, time.monotonic())
            self.news.notify_all()

    def overflow(self) -> None:
        with self.news:
            self.overflows += 1
            self.news.notify_all()

    def wait(self, path: Path, ended: Ended) -> float:
        key = os.fsencode(path)
        with self.news:
            assert self.news.wait_for(lambda: ended in self.hints.get(key, {}), 10), self.hints
            return self.hints[key][ended]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def notices(root: Path, heard: Heard) -> Iterator[Notices]:
    notices = Notices(on_hint=heard.hint, on_overflow=heard.overflow)
    notices.start(os.fsencode(root))
    yield notices
    notices.stop()


@pytest.mark.usefixtures("notices")
def test_a_rename_within_the_tree_is_told_as_one_and_not_held_back(
    root: Path, heard: Heard
) -> None:
    delays = []
    for number in range(40):
        temporary, final = root / f".{number}.tmp", root / f"{number}.fits"
        temporary.write_bytes(b"x")
        renamed = time.monotonic()
        temporary.rename(final)
        delays.append(heard.wait(final, Ended.MOVED) - renamed)
    # The library holds the pair of a rename back for 0.5 s; a third of that for most
    # of them leaves room for a busy machine.
    assert sorted(delays)[len(delays) // 2] < 0.15


@pytest.mark.usefixtures("notices")
def test_a_rename_from_outside_a_close_and_a_hard_link_are_told(
    root: Path, tmp_path: Path, heard: Heard
) -> None:
    outside = tmp_path / "outside.fits"
    outside.write_bytes(b"x")
    os.link(outside, root / "linked.fits")
    heard.wait(root / "linked.fits", Ended.CREATED)
    outside.rename(root / "moved.fits")
    heard.wait(root / "moved.fits", Ended.MOVED)
    (root / "written.fits").write_bytes(b"x")
    heard.wait(root / "written.fits", Ended.CLOSED)


def write_until_heard(path: Path, heard: Heard) -> None:
    """Write a file until its close is told: a folder is watched a moment after it was made."""
    deadline = time.monotonic() + 10
    while Ended.CLOSED not in heard.hints.get(os.fsencode(path), {}):
        assert time.monotonic() < deadline, heard.hints
        path.write_bytes(b"x")
        time.sleep(0.02)


@pytest.mark.usefixtures("notices")
def test_new_folders_and_renamed_folders_are_watched(root: Path, heard: Heard) -> None:
    (root / "a" / "b").mkdir(parents=True)
    write_until_heard(root / "a" / "b" / "1.fits", heard)
    (root / "a").rename(root / "c")
    write_until_heard(root / "c" / "b" / "2.fits", heard)


def test_watching_ends_with_the_folder_and_can_begin_again(
    notices: Notices, root: Path, heard: Heard
) -> None:
    assert notices.watching
    root.rmdir()
    deadline = time.monotonic() + 10
    while notices.watching and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not notices.watching
    with pytest.raises(OSError, match="No such file"):
        notices.start(os.fsencode(root))
    assert not notices.watching
    root.mkdir()
    notices.start(os.fsencode(root))
    (root / "a.fits").write_bytes(b"x")
    heard.wait(root / "a.fits", Ended.CLOSED)


def test_an_overflow_of_the_kernels_queue_is_told(
    notices: Notices, root: Path, heard: Heard
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 200_000:
        pytest.skip(f"fs.inotify.max_queued_events is {limit}: too many for a test")
    inotify = notices._inotify
    assert inotify is not None
    one, other = root / "one", root / "other"
    one.write_bytes(b"x")
    heard.wait(one, Ended.CLOSED)
    with inotify._lock:  # the reader cannot go on: the queue in the kernel runs over
        one.rename(other)
        for _ in range(limit):
            other.rename(one)
            one.rename(other)
    with heard.news:
        assert heard.news.wait_for(lambda: heard.overflows > 0, 30)


def test_no_thread_is_left_after_stopping(root: Path, heard: Heard) -> None:
    before = set(threading.enumerate())
    notices = Notices(on_hint=heard.hint, on_overflow=heard.overflow)
    for _ in range(3):
        notices.start(os.fsencode(root))
    notices.stop()
    notices.stop()
    assert set(threading.enumerate()) <= before
