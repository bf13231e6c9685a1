"""A real SeaweedFS at the far side of the emulated path."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kit.network import FAR
from tests.support.servers.seaweedfs import SeaweedFS, plain_client

_ASK_EVERY_S = 0.1
_ONE_WAY_S = 0.1
"""Half of the round trip: how old an answer is when it is heard."""


class FarSeaweed(SeaweedFS):
    """SeaweedFS in the far namespace.

    Parameters
    ----------
    directory
        Where its data go.
    prefix
        Of the command: enters the namespace.
    """

    def __init__(self, directory: Path, *, prefix: Sequence[str]) -> None:
        super().__init__(directory)
        self._prefix = list(prefix)

    @property
    def endpoint_url(self) -> str:
        """`http://host:port` of the S3 gateway, as the near side sees it."""
        return f"http://{FAR}:{self.port}"

    def command(self) -> Sequence[str]:
        """Return the command line, bound to the far address."""
        own = [re.sub(r"^-ip(\.bind)?=.*", rf"-ip\1={FAR}", part) for part in super().command()]
        return [*self._prefix, *own]

    def wait(self, needle: str, files: int, timeout_s: float) -> dict[str, float]:
        """Ask for the objects of an exposure until all are there; return key → moment.

        All objects of an answer have the answer's moment, so this is an upper bound that is
        a round trip and a request coarse.
        """
        client = plain_client(self.endpoint_url, self.access_key, self.secret_key)
        deadline = time.monotonic() + timeout_s
        found: dict[str, float] = {}
        prefix = "/".join(needle.strip("/").split("/"))
        while len(found) < files and time.monotonic() < deadline:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="images")
            now = time.monotonic() - _ONE_WAY_S
            for page in pages:
                for each in page.get("Contents", []):
                    key = each.get("Key", "")
                    if prefix in key and key.endswith(".fits"):
                        found.setdefault(key, now)
            time.sleep(_ASK_EVERY_S)
        return found
