"""A file that is cut, replaced or removed while it is read never takes the process with it.

A process that has mapped a file is killed by SIGBUS when the file is cut below what it
reads. So each case runs in a process of its own, and one case maps the file, to show that
the others would not pass by chance.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from translators.fits.source import CHUNK_BYTES

READER = textwrap.dedent(
    """
    import json, mmap, os, sys
    from pathlib import Path

    path, action, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def act():
        size = path.stat().st_size
        if action == "cut":
            os.truncate(path, int(sys.argv[4]))
        elif action == "cut and grown again":
            os.truncate(path, 0)
            os.truncate(path, size)
        elif action == "replaced":
            other = path.with_name("other")
            other.write_bytes(path.read_bytes()[:2880])
            os.replace(other, path)
        elif action == "removed":
            path.unlink()
        elif action == "made a folder":
            path.unlink()
            path.mkdir()
        elif action == "its folder moved":
            os.rename(path.parent, path.parent.with_name("moved"))

    if action == "mapped":
        with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as seen:
            os.truncate(path, 0)
            print(seen[-1])
        sys.exit(0)

    from translators.errors import UnreadableFileError
    from translators.inspect import inspect_file

    reads, readv = [0], os.readv

    def reading(descriptor, buffers):
        if reads[0] == at:
            act()
        reads[0] += 1
        return readv(descriptor, buffers)

    os.readv = reading
    try:
        inspection = inspect_file(path)
    except UnreadableFileError as error:
        print(json.dumps({"unreadable": str(error)}))
    else:
        print(json.dumps({
            "codes": [finding.code for finding in inspection.findings],
            "whole": inspection.whole,
            "size_bytes": inspection.size_bytes,
            "reads": reads[0],
        }))
    """
)
CHUNKS = 3


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file of a little more than three chunks, in a folder of its own."""
    path = tmp_path / "drop" / "image.fits"
    path.parent.mkdir()
    fits.PrimaryHDU(np.zeros(CHUNKS * CHUNK_BYTES, dtype=np.uint8)).writeto(path, checksum=True)
    return path


def reader(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READER, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def outcome(*arguments: object) -> dict[str, Any]:
    ended = reader(*arguments)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def test_a_process_that_maps_the_file_is_killed_by_a_cut(image: Path) -> None:
    assert reader(image, "mapped", 0).returncode == -signal.SIGBUS


@pytest.mark.parametrize("at", range(CHUNKS + 1))
@pytest.mark.parametrize("length", [0, 1, 2880, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_file_that_is_cut_between_two_reads_has_changed(
    image: Path, at: int, length: int
) -> None:
    size = image.stat().st_size

    told = outcome(image, "cut", at, length)

    assert told["codes"][0] == "file.changed"
    assert not told["whole"]
    assert told["size_bytes"] <= size


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("action", ["cut and grown again", "replaced", "removed"])
def test_a_file_that_is_another_now_has_changed(image: Path, action: str, at: int) -> None:
    told = outcome(image, action, at)

    assert told["codes"][0] == "file.changed"
    assert not told["whole"]


@pytest.mark.parametrize("action", ["made a folder", "its folder moved"])
def test_a_file_whose_place_is_another_now_is_told(image: Path, action: str) -> None:
    told = outcome(image, action, 1)

    assert "unreadable" in told or told["codes"][0] == "file.changed"


RACING = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from translators.errors import UnreadableFileError
    from translators.inspect import inspect_file

    print("ready", flush=True)
    told = set()
    for _ in range(int(sys.argv[2])):
        try:
            inspection = inspect_file(Path(sys.argv[1]))
        except UnreadableFileError:
            told.add("unreadable")
        else:
            told.add("whole" if inspection.whole else "found")
    print(" ".join(sorted(told)))
    """
)


def write_again(path: Path, content: bytes) -> None:
    os.truncate(path, 0)
    path.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    path.unlink()
    other.replace(path)


@pytest.mark.parametrize("change", [write_again, replace])
def test_reading_goes_on_while_a_writer_rewrites_the_file_again_and_again(
    image: Path, change: Callable[[Path, bytes], None]
) -> None:
    content = image.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", RACING, str(image), "60"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None:
            change(image, content)
        told = process.stdout.read().split()

    assert process.returncode == 0
    assert set(told) <= {"unreadable", "found", "whole"}
    assert told
