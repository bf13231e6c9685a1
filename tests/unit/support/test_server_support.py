"""The machinery that starts real servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import provision
from tests.support.servers import MissingServerError, ServerProcess, ServerStartError
from tests.support.servers.cache import apicurio_jar, cache_directory, kafka_libs, require
from tests.support.servers.errors import PortTakenError
from tests.support.servers.ports import free_port, release
from tests.support.servers.process import program
from tests.support.servers.together import start_all

REPOSITORY = Path(__file__).parents[3]

LISTENER = """
import signal, socket, sys
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    connection.close()
"""


class Listener(ServerProcess):
    """A server that is as small as can be."""

    name = "listener"
    ready_timeout_s = 20.0
    stop_timeout_s = 0.5

    def __init__(self, directory: Path, mode: str = "", ports: Sequence[int] = ()) -> None:
        super().__init__(directory)
        self.mode = mode
        self.port = 0
        self._given = list(ports)

    def choose_ports(self) -> None:
        release(self.port)
        self.port = self._given.pop(0) if self._given else free_port()

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", LISTENER, str(self.port), self.mode]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


class Broken(Listener):
    name = "broken"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", "print('no such setting: colour'); raise SystemExit(3)"]


class Silent(Listener):
    name = "silent"
    ready_timeout_s = 0.5

    def command(self) -> Sequence[str]:
        return ["sleep", "60"]


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_ports_are_free_distinct_and_below_the_ephemeral_range() -> None:
    ports = [free_port(also=[10_000]) for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(port > 1024 and port + 10_000 < 32_768 for port in ports)
    for port in ports:
        release(port)


def test_a_port_that_one_session_holds_is_not_chosen_by_another() -> None:
    port = free_port()
    script = (
        "import socket\n"
        "held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        f"held.bind('\\0arriero-test-port-{port}')\n"
    )
    taken = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"Address already in use" in taken.stderr
    release(port)
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


def test_a_server_keeps_its_port_across_kill_stop_and_restart(tmp_path: Path) -> None:
    with Listener(tmp_path / "listener") as server:
        port, pids = server.port, [server.pid]
        server.kill()
        assert not server.running
        server.start()
        pids.append(server.pid)
        server.stop()
        server.start()
        pids.append(server.pid)
        server.restart()
        assert server.port == port
        assert server.pid not in pids
    assert not server.running
    assert server.log_path.read_text().count("listening") == 4


def test_a_frozen_server_is_stopped_and_a_stubborn_one_killed(tmp_path: Path) -> None:
    for mode in ("", "stubborn"):
        server = Listener(tmp_path / f"listener{mode}", mode).start()
        pid = server.pid
        server.pause()
        assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "T"
        server.resume()
        server.pause()
        server.stop()
        assert not alive(pid)


def test_a_start_that_fails_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match=r"status 3(.|\n)*no such setting: colour"):
        Broken(tmp_path / "broken").start()


def test_a_server_that_never_answers_is_killed_and_told(tmp_path: Path) -> None:
    server = Silent(tmp_path / "silent")
    with pytest.raises(ServerStartError, match=r"did not answer within 0.5 s"):
        server.start()
    assert not server.running


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        with Listener(tmp_path / "listener", ports=[taken]) as server:
            assert server.port != taken
        with pytest.raises(PortTakenError):
            Listener(tmp_path / "unlucky", ports=[taken] * 3).start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_the_process_that_started_them(
    tmp_path: Path, how: signal.Signals
) -> None:
    script = (
        "import signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, 'tests/unit/support')\n"
        "from test_server_support import Listener\n"
        "server = Listener(Path(sys.argv[1]))\n"
        "starter = threading.Thread(target=server.start)\n"  # its end must not end the server
        "starter.start(); starter.join(); time.sleep(0.2)\n"
        "assert server.running\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "listener")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as session:
        assert session.stdout is not None
        pid = int(session.stdout.readline())
        assert alive(pid)
        session.send_signal(how)
        session.wait(20)
    for _ in range(200):
        if not alive(pid):
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert not alive(pid)


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(MissingServerError, match=r"install the Debian package `x`.*provision"):
        program("no-such-program-anywhere", "the Debian package `x`")


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARRIERO_CACHE", str(tmp_path / "cache"))
    assert cache_directory() == tmp_path / "cache"
    assert kafka_libs().parent == apicurio_jar().parent.parent == tmp_path / "cache"
    with pytest.raises(MissingServerError, match=r"Apache Kafka.*provision"):
        require(kafka_libs(), "Apache Kafka")
    monkeypatch.delenv("ARRIERO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "arriero"


def test_unknown_servers_are_named(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="no server named rabbitmq"),
        start_all(tmp_path, {"rabbitmq"}),
    ):
        pass


@pytest.mark.parametrize(("allowed", "outcome"), [("0", "1 error"), ("1", "1 skipped")])
def test_a_test_without_its_server_fails_unless_that_is_allowed(
    tmp_path: Path, allowed: str, outcome: str
) -> None:
    (tmp_path / "test_inner.py").write_text("def test_it(kafka):\n    pass\n")
    plugins = ["-p", "tests.support.fixtures", "-p", "no:cacheprovider"]
    where = ["--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path / "test_inner.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *where],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
        env={
            **os.environ,
            "ARRIERO_CACHE": str(tmp_path / "empty"),
            "ARRIERO_ALLOW_MISSING_SERVERS": allowed,
        },
        text=True,
        timeout=60,
    )
    assert outcome in done.stdout
    if allowed == "0":
        assert "python -m tests.support.provision" in done.stdout


def test_provisioning_tells_what_is_missing_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARRIERO_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provision.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "Apache Kafka 4.1.1 is missing" in said
    assert "java is missing: apt-get install openjdk-17-jre-headless" in said
    assert list(tmp_path.iterdir()) == []


def test_provisioning_without_the_means_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARRIERO_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provision.main(["--for", "demo-real"]) == 1
    assert "no apt-get here: install what brings" in capsys.readouterr().err


def test_a_fetch_that_fails_leaves_no_half_filled_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho no route to Maven Central\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("ARRIERO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{maven.parent}{os.pathsep}{os.environ['PATH']}")
    for fetch in (provision.fetch_kafka, provision.fetch_apicurio):
        with pytest.raises(provision.ProvisionError, match="no route to Maven Central"):
            fetch()
    assert list((tmp_path / "cache").iterdir()) == []
