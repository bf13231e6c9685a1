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
