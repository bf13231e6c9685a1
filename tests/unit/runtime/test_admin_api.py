"""The admin API over a real Unix socket and real TCP."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from daemons.runtime.admin import AdminServer
from daemons.runtime.admin_client import AdminClient, AdminRequestError
from daemons.runtime.errors import (
    AlreadyRunningError,
    CommandFailedError,
    CommandRefusedError,
    SettingsError,
    UnavailableError,
    UsageError,
)
from daemons.runtime.logging import current_level
from daemons.runtime.metrics import LoopWatch, new_registry, watch_services
from daemons.runtime.reload import ReloadReport
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.secrets import SecretRef
from daemons.runtime.service import JsonObject
from daemons.runtime.state import State


class Quiet:
    """A service that waits, and breaks when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = asyncio.Event()
        self.openable = True
        self.has_status = True

    async def open(self) -> None:
        if not self.openable:
            raise OSError("no journal")

    async def work(self) -> None:
        await self.broken.wait()
        raise RuntimeError("told to break")

    async def drain(self) -> None:
        return

    async def close(self) -> None:
        return

    def status(self) -> JsonObject:
        if not self.has_status:
            raise ValueError("no status")
        return {"waiting": 3, "oldest": Path("/d/a.fits")}

    def reload(self, settings: Any) -> tuple[str, ...]:
        del settings
        return ()


class Set:
    """Two services with their admin server."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder / "admin.sock"
        self.services = {name: Quiet(name) for name in ("forwarder", "registrar")}
        self.runners = {name: ServiceRunner(quiet) for name, quiet in self.services.items()}
        registry = new_registry(host="fp01")
        watch_services(registry, list(self.runners.values()))
        self.server = AdminServer(
            list(self.runners.values()),
            registry=registry,
            **{"socket_path": self.path, "host": "fp01", **options},
        )

    async def enable(self) -> None:
        for runner in self.runners.values():
            await runner.go_to(State.ENABLED)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Set]:
    here = Set(tmp_path)
    await here.enable()
    async with here.server:
        yield here
        for runner in here.runners.values():
            await runner.stop()


@pytest.fixture
async def client(running: Set) -> AsyncIterator[AdminClient]:
    async with AdminClient(running.path) as client:
        yield client


async def test_livez_answers_while_the_loop_moves(client: AdminClient) -> None:
    assert await client.livez() == {"alive": True, "loop_silent_seconds": 0.0}


async def test_a_dead_loop_watch_is_not_alive(tmp_path: Path) -> None:
    now = [0.0]
    watch = LoopWatch(CollectorRegistry(), clock=lambda: now[0])
    async with (
        Set(tmp_path, loop_watch=watch).server,
        AdminClient(tmp_path / "admin.sock") as client,
    ):
        assert (await client.livez())["alive"] is True
        now[0] = 60.0
        assert (await client.livez())["alive"] is False


async def test_readyz_names_the_dependency_that_is_away(running: Set, client: AdminClient) -> None:
    assert (await client.readyz())["ready"] is True
    running.runners["forwarder"].health.report("store", ok=False, reason="refused")
    answer = await client.readyz()
    assert answer["ready"] is False
    forwarder = answer["services"]["forwarder"]
    assert forwarder["reason"] == "store: refused"
    assert forwarder["dependencies"]["store"]["ok"] is False
    assert forwarder["dependencies"]["store"]["since"].endswith("Z")
    assert answer["services"]["registrar"]["ready"] is True
    running.runners["forwarder"].health.report("store", ok=True, reason="")
    assert (await client.readyz())["ready"] is True


async def test_readyz_is_503_for_probes_that_look_at_the_status_alone(running: Set) -> None:
    await running.runners["registrar"].go_to(State.STANDBY)
    connector = aiohttp.UnixConnector(path=str(running.path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://arriero/readyz") as response,
    ):
        assert response.status == 503
        reason = (await response.json())["services"]["registrar"]["reason"]
    assert reason == "is in STANDBY; commands that it takes: start, exitControl"


async def test_status_tells_each_service_in_its_own_words(
    running: Set, client: AdminClient
) -> None:
    running.services["registrar"].has_status = False
    answer = await client.status()
    assert answer["host"] == "fp01"
    assert answer["pid"] == os.getpid()
    assert answer["uptime_s"] >= 0
    assert answer["services"]["forwarder"]["status"] == {"waiting": 3, "oldest": "/d/a.fits"}
    assert answer["services"]["forwarder"]["error"] is None
    assert answer["services"]["registrar"]["status"] == {"unavailable": "no status"}


async def test_metrics_are_those_of_the_registry(client: AdminClient) -> None:
    text = await client.metrics()
    assert 'arriero_service_state{service="forwarder"} 2.0' in text
    assert 'arriero_service_ready{service="registrar"} 1.0' in text


async def test_one_service_is_commanded_and_the_other_goes_on(
    running: Set, client: AdminClient
) -> None:
    assert await client.command("forwarder", "disable") == "DISABLED"
    assert running.runners["registrar"].state is State.ENABLED
    assert await client.command("forwarder", "enable") == "ENABLED"
    assert await client.command("forwarder", "drain") == "DISABLED"
    with pytest.raises(CommandRefusedError, match="drain is for a service in ENABLED"):
        await client.command("forwarder", "drain")


async def test_a_fault_is_shown_and_recovered_from(running: Set, client: AdminClient) -> None:
    service = running.services["forwarder"]
    service.broken.set()
    await running.runners["forwarder"].wait_for(State.FAULT)
    error = (await client.status())["services"]["forwarder"]["error"]
    assert error["report"] == "work of forwarder failed: told to break"
    assert (await client.readyz())["services"]["forwarder"]["reason"] == error["report"]
    service.broken.clear()
    assert await client.command("forwarder", "fault-clear") == "STANDBY"
    with pytest.raises(CommandRefusedError, match="recover is for a service in FAULT"):
        await client.command("forwarder", "recover")
    await running.runners["forwarder"].fault(101, "again")
    assert await client.command("forwarder", "recover") == "ENABLED"


async def test_a_command_that_fails_says_why(running: Set, client: AdminClient) -> None:
    await client.command("forwarder", "disable")
    await client.command("forwarder", "standby")
    running.services["forwarder"].openable = False
    with pytest.raises(CommandFailedError, match="open of forwarder failed: no journal"):
        await client.command("forwarder", "start")


async def test_wrong_requests_are_refused_with_a_sentence(client: AdminClient) -> None:
    with pytest.raises(CommandRefusedError, match="start not allowed in state ENABLED"):
        await client.command("forwarder", "start")
    with pytest.raises(UsageError, match="there is no command 'dance'; there are start, "):
        await client.command("forwarder", "dance")
    with pytest.raises(AdminRequestError, match="there is no service 'butler' here; there is for"):
        await client.command("butler", "start")
    with pytest.raises(UsageError, match="there is no log level 'LOUD'"):
        await client.set_log_level("LOUD")
    with pytest.raises(UsageError, match="send"):
        await client.post("/log-level", {"level": 10})
    with pytest.raises(SettingsError, match="no configuration to reload"):
        await client.reload()
    with pytest.raises(AdminRequestError, match="there is no /nowhere; see /status") as caught:
        await client.get("/nowhere")
    assert (caught.value.status, caught.value.remote_code) == (404, "http.404")


@pytest.mark.parametrize("body", ["{", "[1]", "5"])
async def test_a_body_that_is_no_object_is_refused(running: Set, body: str) -> None:
    connector = aiohttp.UnixConnector(path=str(running.path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://arriero/log-level", data=body) as response,
    ):
        assert response.status == 400
        assert (await response.json())["code"] == "usage"


async def test_the_log_level_is_changed(client: AdminClient) -> None:
    before = current_level("daemons.nobody")
    await client.set_log_level("CRITICAL", "daemons.nobody")
    assert current_level("daemons.nobody") == 50
    assert before != 50


async def test_a_reload_tells_what_came_of_it(running: Set, client: AdminClient) -> None:
    async def reload() -> ReloadReport:
        return ReloadReport(changed=("forwarder.scan_interval_s",), restart=("site",))

    running.server.use_reload(reload)
    assert await client.reload() == {
        "changed": ["forwarder.scan_interval_s"],
        "restart": ["site"],
        "failed": [],
    }


async def test_every_command_is_logged_with_who_gave_it(client: AdminClient) -> None:
    with capture_logs() as logs:
        await client.status()
        await client.command("forwarder", "disable")
        with pytest.raises(CommandRefusedError):
            await client.command("forwarder", "disable")
    audit = [line for line in logs if line["event"].startswith("admin_")]
    assert [line["event"] for line in audit] == ["admin_request", "admin_request_ended"] * 2
    for line in audit:
        assert line["path"] == "/services/forwarder/commands/disable"
        assert line["who"].startswith(f"uid {os.getuid()} (")
        assert line["who"].endswith(f", pid {os.getpid()}")
    assert audit[1]["outcome"] == "done"
    assert audit[3]["outcome"].startswith("command.refused: disable not allowed")


async def test_an_unforeseen_failure_is_an_error_in_json_and_in_the_log(tmp_path: Path) -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("secret detail")

    here = Set(tmp_path, extra_routes=lambda app: app.router.add_post("/broken", broken))
    async with here.server, AdminClient(here.path) as client:
        with capture_logs() as logs, pytest.raises(AdminRequestError, match="see the log"):
            await client.post("/broken")
    assert "admin_request_failed" in [line["event"] for line in logs]


async def test_services_add_routes_of_their_own(tmp_path: Path) -> None:
    async def limits(request: web.Request) -> web.Response:
        return web.json_response({"asked": dict(request.query)})

    here = Set(tmp_path, extra_routes=lambda app: app.router.add_get("/limits", limits))
    async with here.server, AdminClient(here.path) as client:
        assert await client.get("/limits", {"of": "bytes"}) == {"asked": {"of": "bytes"}}


# The Unix socket


async def test_the_socket_is_for_owner_and_group_and_is_removed(tmp_path: Path) -> None:
    here = Set(tmp_path)
    async with here.server:
        assert stat.S_IMODE(here.path.stat().st_mode) == 0o660
    assert not here.path.exists()


async def test_a_stale_socket_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    here = Set(tmp_path)
    async with here.server, AdminClient(path) as client:
        assert (await client.livez())["alive"]


async def test_a_live_socket_is_left_alone_and_its_process_named(tmp_path: Path) -> None:
    first, second = Set(tmp_path), Set(tmp_path)
    async with first.server:
        with pytest.raises(
            AlreadyRunningError, match=f"the admin socket .* is in use by process {os.getpid()}"
        ):
            await second.server.start()
        async with AdminClient(first.path) as client:
            assert (await client.livez())["alive"]


async def test_a_socket_of_another_program_is_left_alone_too(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()} listens on"):
            await Set(tmp_path).server.start()
        assert path.is_socket()


async def test_a_file_at_the_path_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "admin.sock").write_text("precious")
    with pytest.raises(SettingsError, match="is no socket: move it away"):
        await Set(tmp_path).server.start()
    assert (tmp_path / "admin.sock").read_text() == "precious"


async def test_paths_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot make the admin socket .*No such file"):
        await Set(tmp_path / "absent").server.start()
    with pytest.raises(SettingsError, match="too long for a Unix socket"):
        await Set(tmp_path / ("x" * 120)).server.start()


async def test_nobody_who_listens_is_a_sentence(tmp_path: Path) -> None:
    async with AdminClient(tmp_path / "absent.sock") as client:
        with pytest.raises(UnavailableError, match=r"nobody listens on .*absent\.sock: is the"):
            await client.livez()


async def test_an_answer_that_never_comes_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        async with AdminClient(path) as client:
            with pytest.raises(UnavailableError, match=r"did not answer .* within 0\.05 s"):
                await client.command("a", "start", timeout_s=0.05)


# TCP


async def test_tcp_beyond_loopback_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"would listen on 0\.0\.0\.0 for everybody"):
        Set(tmp_path, tcp=("0.0.0.0", 0))


def tcp_url(here: Set) -> str:
    address = here.server.tcp_address
    assert address is not None
    return f"http://{address[0]}:{address[1]}"


async def test_tcp_without_a_token_is_for_reading(tmp_path: Path) -> None:
    here = Set(tmp_path, tcp=("127.0.0.1", 0))
    async with here.server, AdminClient(tcp_url(here), token="guess") as client:
        assert (await client.status())["host"] == "fp01"
        with pytest.raises(AdminRequestError, match="can only be read") as caught:
            await client.command("forwarder", "start")
        assert caught.value.status == 403
    assert here.runners["forwarder"].state is State.STANDBY


async def test_tcp_with_the_token_may_command(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    here = Set(tmp_path, tcp=("127.0.0.1", 0), token=SecretRef(file=secret), socket_path=None)
    async with here.server:
        async with AdminClient(tcp_url(here), token="hunter2") as client:
            assert await client.command("forwarder", "start") == "DISABLED"
        for wrong in (None, "hunter", "hunter22"):
            async with AdminClient(tcp_url(here), token=wrong) as client:
                with pytest.raises(AdminRequestError, match="token is missing or wrong") as caught:
                    await client.command("forwarder", "enable")
                assert caught.value.status == 401
    assert here.runners["forwarder"].state is State.DISABLED


async def test_a_taken_port_is_a_sentence_and_leaves_no_socket(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = Set(tmp_path, tcp=taken.getsockname())
        with pytest.raises(UnavailableError, match=r"cannot listen on 127\.0\.0\.1"):
            await here.server.start()
    assert not here.path.exists()


async def test_an_answer_of_another_server_is_recognised(tmp_path: Path) -> None:
    async def other(_request: web.Request) -> web.Response:
        return web.Response(text=json.dumps([1]))

    here = Set(tmp_path, extra_routes=lambda app: app.router.add_get("/list", other))
    async with here.server, AdminClient(here.path) as client:
        with pytest.raises(AdminRequestError, match="answers no JSON object to /list"):
            await client.get("/list")
