"""Where artifacts that no package manager of the system brings are kept: Kafka, Apicurio."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.servers.errors import MissingServerError

KAFKA_VERSION = "4.1.1"
"""Version of Apache Kafka that the tests run."""
APICURIO_VERSION = "2.6.13.Final"
"""Version of the Apicurio schema registry that the tests run."""


def cache_directory() -> Path:
    """Return `$ARRIERO_CACHE`, or `arriero` in the user's cache folder."""
    named = os.environ.get("ARRIERO_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "arriero"


def kafka_libs() -> Path:
    """Return the folder where the jars of Kafka are, or belong."""
    return cache_directory() / f"kafka-{KAFKA_VERSION}"


def apicurio_home() -> Path:
    """Return the folder where Apicurio is unpacked, or belongs."""
    return cache_directory() / f"apicurio-{APICURIO_VERSION}"


def apicurio_jar() -> Path:
    """Return the path of Apicurio's runner, there or not."""
    return apicurio_home() / f"apicurio-registry-app-{APICURIO_VERSION}-runner.jar"


def require(path: Path, what: str) -> Path:
    """Return a path of the cache that must be there.

    Raises
    ------
    MissingServerError
        It is not.
    """
    if not path.exists():
        raise MissingServerError(
            f"{what} is not in {cache_directory()}: run `python -m tests.support.provision`, "
            "which fetches it from Maven Central (needs `java` and `mvn`)"
        )
    return path
