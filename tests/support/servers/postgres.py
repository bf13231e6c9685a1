"""PostgreSQL with a database that the Butler can use."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.errors import MissingServerError, ServerStartError
from tests.support.servers.ports import LOOPBACK, free_port, release
from tests.support.servers.process import ServerProcess, program

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "arriero"
_SYSTEM_USER = "postgres"
_PACKAGE = "the Debian package `postgresql`"


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL's programs, the newest version's on Debian.

    Raises
    ------
    MissingServerError
        PostgreSQL is not installed.
    """
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    return Path(program("initdb", _PACKAGE)).resolve().parent


class Postgres(ServerProcess):
    """PostgreSQL that trusts everybody on loopback; data are not synced to disk.

    PostgreSQL refuses to run as root. A root session runs it as the system user
    `postgres`, with the one capability that lets this user into the test's folder.
    """

    name = "postgres"
    database = "arriero"
    """Database that is created at the first start, with the extension `btree_gist`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = 0

    @property
    def dsn(self) -> str:
        """`postgresql://user@host:port/database`."""
        return self.dsn_of(self.database)

    def dsn_of(self, database: str) -> str:
        """Return the URL of another database of this server."""
        return f"postgresql://{_USER}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create a database with `btree_gist` and return its URL."""
        self.query(f'create database "{name}"', database="postgres")
        self.query("create extension btree_gist", database=name)
        return self.dsn_of(name)

    def query(self, sql: str, *, database: str | None = None) -> str:
        """Run SQL with `psql` and return its unaligned output."""
        psql = str(postgres_bin() / "psql")
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        done = subprocess.run(
            [psql, *options, self.dsn_of(database or self.database)],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise ServerStartError(f"postgres refused `{sql}`: {done.stderr}")
        return done.stdout.strip()

    def choose_ports(self) -> None:
        release(self.port)
        self.port = free_port()

    def prepare(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        if os.geteuid() == 0:
            owner = _system_user()
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
        initdb = str(postgres_bin() / "initdb")
        command = [initdb, "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [program("setpriv", "util-linux"), *self.privileges(), "--", *command, "--no-sync"],
            capture_output=True,
            check=False,
            cwd="/",
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise ServerStartError(f"initdb cannot make {self._data}: {done.stdout}{done.stderr}")

    def command(self) -> Sequence[str]:
        options = ["-h", LOOPBACK, "-p", str(self.port), "-c", "unix_socket_directories="]
        options += ["-c", "fsync=off", "-c", "max_connections=200"]
        return [str(postgres_bin() / "postgres"), "-D", str(self._data), *options]

    def privileges(self) -> Sequence[str]:
        if os.geteuid() != 0:
            return ()
        owner = _system_user()
        return (
            f"--reuid={owner.pw_uid}",
            f"--regid={owner.pw_gid}",
            "--init-groups",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
        )

    def answers(self) -> bool:
        ready = [str(postgres_bin() / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        if subprocess.run(ready, check=False, timeout=10).returncode:
            return False
        names = self.query("select datname from pg_database", database="postgres").split()
        if self.database not in names:
            self.create_database(self.database)
        return True

    def pause(self) -> None:
        super().pause()  # first the one that would start more
        for pid in self._backends():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        super().resume()
        for pid in self._backends():
            with contextlib.suppress(ProcessLookupError):  # it ended as soon as it could run
                os.kill(pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]

    @property
    def _data(self) -> Path:
        return self.directory / "data"


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise MissingServerError(
            f"PostgreSQL refuses to run as root and there is no user `{_SYSTEM_USER}`: "
            f"install {_PACKAGE}, or run the tests as an ordinary user"
        ) from None
