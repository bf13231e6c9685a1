"""What an operator types at a running host, and what comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "host", services=["forwarder", "registrar"])
    host.document["forwarder"]["send_roots"] = [str(tmp_path / "resend")]
    host.simulator(exposures=1, detectors=1, calibrations=0)
    yield host
    host.close()


async def test_an_operator_sends_looks_decides_and_commands(host: Host, tmp_path: Path) -> None:
    assert host.command("status")[0] == 69, "nobody answers yet"
    assert host.simulate().wait(60) == 0
    good = next(host.drop.rglob("*.fits"))
    resend = tmp_path / "resend"
    resend.mkdir()
    for file in (good, good.with_suffix(".json")):
        file.rename(resend / file.name)
    damaged = bytearray((resend / good.name).read_bytes())
    damaged[-3000] ^= 0xFF
    bad = resend / good.name.replace("R22_S00", "R22_S00_damaged")
    bad.write_bytes(damaged)
    services = host.run()
    await host.until_ready()

    code, sent = host.command("send", str(resend / good.name))
    assert code == 0
    assert sent[0]["key"].endswith(f"/{good.name}")
    await eventually(lambda: host.registered() == {good.name: 1}, what="registered", host=host)
    code, refused = host.command("send", "/etc/hostname")
    assert (code, refused[0]["reason"]) == (1, "file.refused")

    code, sent = host.command("send", str(bad), "--wait", "20")
    assert (code, sent[0]["state"]) == (1, "quarantined")
    _code, listed = host.command("quarantine", "list")
    (number,) = [file["id"] for file in listed["files"]]
    _code, shown = host.command("quarantine", "show", str(number))
    assert {finding["code"] for finding in shown["findings"]} >= {"checksum.wrong"}
    assert host.command("quarantine", "reject", str(number), "--why", "damaged by a test")[0] == 0
    code, _again = host.command("quarantine", "release", str(number + 999), "--why", "no such file")
    assert code == 1

    assert host.command("queue")[1]["files"] == []
    assert host.command("refused", "list")[1] == {"waiting": []}
    assert host.command("command", "forwarder", "disable") == (0, "DISABLED")
    code, status = host.command("status")
    assert (code, status["services"]["forwarder"]["state"]) == (1, "DISABLED")
    assert host.command("command", "forwarder", "disable")[0] == 75, "not allowed in this state"
    assert host.command("command", "forwarder", "enable") == (0, "ENABLED")

    host.document["logging"]["level"] = "DEBUG"
    host.document["nonsense"] = True
    host.write()
    services.signal(signal.SIGHUP)
    await eventually(lambda: "reload_refused" in services.tail(200), what="the refusal", host=host)
    del host.document["nonsense"]
    host.write()
    services.signal(signal.SIGHUP)
    await eventually(
        lambda: '"event": "reloaded"' in services.tail(400), what="the reload", host=host
    )
    assert services.stop() == 0


async def test_an_operator_pauses_limits_drains_and_tries_again(host: Host) -> None:
    host.document["services"] = ["forwarder"]
    host.write()
    services = host.run()
    await host.until_ready()

    code, paused = host.command("pause", "--wait", "5", "--why", "a cable is changed")
    assert (code, paused["mode"], paused["in_hand"]) == (0, "paused", 0)
    services.kill()
    services = host.run()
    await host.until_ready()
    assert host.simulate().wait(60) == 0
    images = [name for name in host.camera_files() if name.endswith(".fits")]

    def waiting() -> set[str]:
        found = host.command("queue")[1]["files"]
        return {Path(file["path"]).name for file in found}

    await eventually(lambda: waiting() >= set(images), what="noted, not sent", host=host)
    code, in_force = host.command("limits")
    assert (code, in_force["mode"]) == (0, "paused"), "a pause outlasts a restart"
    assert in_force["set_by_operators"]["mode"]["why"] == "a cable is changed"
    code, in_force = host.command("limits", "--concurrency", "3", "--bandwidth", "1Gb/s")
    assert (code, in_force["concurrency"]) == (0, 3)
    assert in_force["bandwidth_bytes_per_s"] == 125_000_000
    assert host.command("limits", "--bandwidth", "fast")[0] == 2
    code, reset = host.command("limits", "--reset")
    assert (code, reset["bandwidth_bytes_per_s"]) == (0, None)

    assert host.command("resume")[0] == 0
    code, drained = host.command("drain", "--wait", "60")
    assert (code, drained["drained"], drained["mode"]) == (0, True, "draining")
    assert waiting() == set()
    obs_id = images[0].rpartition("_R")[0]
    code, again = host.command("requeue", "--exposure", obs_id, "--announce")
    assert (code, again["announced"]) == (0, len(images))
    assert host.command("requeue", "999999")[0] == 1
    assert host.command("requeue")[0] == 1
    assert host.command("resume")[0] == 0
    assert services.stop() == 0
