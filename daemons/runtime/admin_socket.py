"""The Unix socket of the admin API: private from its first instant, never stale."""

from __future__ import annotations

import contextlib
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from daemons.runtime.errors import AlreadyRunningError, SettingsError
from daemons.runtime.lock import InstanceLock

_MODE = 0o660
_MAX_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux, unix(7)."""
_CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: pid, uid, gid."""


def peer_credentials(peer: socket.socket) -> tuple[int, int, int]:
    """Return pid, uid and gid of whoever is at the other end of a Unix socket."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid


class AdminSocket:
    """A Unix socket at a path, taken over from the dead and left to the living."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def bound(self) -> Iterator[socket.socket]:
        """Bind the socket, mode 0660; remove it at the end.

        Raises
        ------
        AlreadyRunningError
            Another process listens there; the message names its pid.
        SettingsError
            The path cannot be used.
        """
        if len(bytes(self.path)) > _MAX_PATH_BYTES:
            raise SettingsError(
                f"the path {self.path} is too long for a Unix socket: at most "
                f"{_MAX_PATH_BYTES} bytes"
            )
        lock = InstanceLock(
            self.path.with_name(self.path.name + ".lock"), purpose=f"the admin socket {self.path}"
        )
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
                self._clear()
                bound = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                bound.bind(str(self.path))
                self.path.chmod(_MODE)  # before anybody can connect: nothing listens yet
                inode = self.path.stat().st_ino
            except OSError as error:
                raise SettingsError(
                    f"cannot make the admin socket {self.path}: {error.strerror}; the folder "
                    "must exist and be ours (systemd: RuntimeDirectory=)"
                ) from error
            stack.callback(self._remove, inode)
            yield bound

    def _clear(self) -> None:
        """Remove the socket of a dead process."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SettingsError(
                f"{self.path} is there and is no socket: move it away, or name another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            pid, _, _ = peer_credentials(probe)
        raise AlreadyRunningError(
            f"process {pid} listens on {self.path}: stop it first, or give this process another "
            "admin socket"
        )

    def _remove(self, inode: int) -> None:
        """Remove our socket, unless another stands there by now."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == inode:
                self.path.unlink()
