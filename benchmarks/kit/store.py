"""The far side: the discarding sink as a process, and what it says of each object."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kit.host import ROOT

ACCESS_KEY, SECRET_KEY = "benchmark", "no-secret-at-all"
"""The sink asks nobody who they are; clients want to sign all the same."""
BUCKET = "images"


class Sink:
    """A running sink.

    Parameters
    ----------
    address
        Where it listens.
    prefix
        Of the command, such as one that enters a network namespace.
    verify
        Whether it reads bodies and checks digests.
    """

    def __init__(
        self, address: str = "127.0.0.1", *, prefix: Sequence[str] = (), verify: bool = False
    ) -> None:
        command = [*prefix, sys.executable, "-m", "benchmarks.kit.sink", "--address", address]
        self._child = subprocess.Popen(
            [*command, *(["--verify"] if verify else [])],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._child.stdout is not None  # noqa: S101 - a pipe was asked for
        said = self._child.stdout.readline().split()
        if said[:1] != ["ready"]:
            raise RuntimeError("the sink did not start; its error stands above")
        self.port = int(said[1])
        self.endpoint_url = f"http://{address}:{self.port}"
        self._news = threading.Condition()
        self._stored: dict[str, tuple[float, int]] = {}
        self._thread = threading.Thread(target=self._read, name="sink", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def wait(self, needle: str, files: int, timeout_s: float) -> dict[str, tuple[float, int]]:
        """Wait for FITS objects with a text in their keys; return key → (moment, bytes)."""
        with self._news:
            self._news.wait_for(lambda: len(self._matching(needle)) >= files, timeout_s)
            return self._matching(needle)

    def stop(self) -> None:
        """End it."""
        self._child.terminate()
        self._child.wait(10)
        self._thread.join(5)
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _matching(self, needle: str) -> dict[str, tuple[float, int]]:
        return {
            key: told
            for key, told in self._stored.items()
            if needle in key and key.endswith(".fits")
        }

    def _read(self) -> None:
        assert self._child.stdout is not None  # noqa: S101 - as above
        for line in self._child.stdout:
            told = json.loads(line)
            with self._news:
                self._stored.setdefault(told["key"], (told["at"], told["bytes"]))
                self._news.notify_all()


def write_keys(
    folder: Path, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> dict[str, dict[str, str]]:
    """Write credentials to files, and return the settings of a store that name them."""
    named = {}
    for name, secret in (("access_key", access_key), ("secret_key", secret_key)):
        path = folder / name
        path.write_text(secret, encoding="ascii")
        path.chmod(0o600)
        named[name] = {"file": str(path)}
    return named
