"""One process at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemons.runtime.errors import AlreadyRunningError
from daemons.runtime.lock import InstanceLock

HOLDER = """
import sys, time
from pathlib import Path
from daemons.runtime.lock import InstanceLock
lock = InstanceLock(Path(sys.argv[1]), purpose="the journal")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_file_tells_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.lock"
    with InstanceLock(path, purpose="the journal") as lock:
        assert lock.held
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not lock.held
    assert path.read_text() == ""


def test_a_second_one_is_refused_with_the_pid_and_a_dead_ones_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "journal.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            AlreadyRunningError, match=rf"the journal is in use by process {holder.pid} \(since 2"
        ) as caught:
            InstanceLock(path, purpose="the journal").acquire()
        assert caught.value.exit_code == 75
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with InstanceLock(path, purpose="the journal"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_holder_without_a_note_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.lock"
    with InstanceLock(path, purpose="the journal"):
        path.write_text("{")
        with pytest.raises(AlreadyRunningError, match="in use by another process"):
            InstanceLock(path, purpose="the journal").acquire()


def test_it_can_be_taken_again_after_its_release(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "l", purpose="x")
    for _ in range(2):
        with lock:
            assert lock.held
    lock.release()


def test_a_folder_that_is_absent_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        InstanceLock(tmp_path / "absent" / "l", purpose="x").acquire()
