"""Whatever is dropped into the drop directory, the good files go on."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons.simulators.manifest import Manifest
from tests.support.host import Host, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NIGHT_IMAGES = 4


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "host", services=["forwarder", "registrar"])
    host.simulator(exposures=1, detectors=NIGHT_IMAGES, calibrations=0)
    yield host
    host.close()


def reasons(host: Host) -> dict[str, list[str]]:
    """Return the codes beside each quarantined file."""
    return {
        path.name.removesuffix(".reason.json"): sorted(
            {finding["code"] for finding in json.loads(path.read_text())["findings"]}
        )
        for path in host.quarantine.rglob("*.reason.json")
    }


async def test_bad_files_are_set_aside_with_the_reason_and_the_night_goes_on(host: Host) -> None:
    assert host.simulate().wait(60) == 0
    good = next(host.drop.rglob("*_R22_S00.fits"))
    whole = good.read_bytes()
    night = good.parent
    cut = night / good.name.replace("S00", "S22")
    cut.write_bytes(whole[: len(whole) * 2 // 5 + 1000])
    (night / "notes.fits").write_text("this is no FITS file, it is my shopping list\n" * 20)
    (night / "empty.fits").touch()
    nameless = night / "nameless.fits"
    nameless.write_bytes(without_card(whole, "OBSID"))

    services = host.run()

    expected = {cut.name, "notes.fits", "empty.fits", "nameless.fits"}
    await eventually(lambda: reasons(host).keys() >= expected, what="quarantine", host=host)
    images = [name for name in host.camera_files() if name.endswith(".fits")]
    await eventually(
        lambda: host.registered() == dict.fromkeys(images, 1), what="the good files", host=host
    )
    codes = reasons(host)
    assert codes.keys() == expected
    assert "structure.truncated" in codes[cut.name]
    assert "structure.not_fits" in codes["notes.fits"]
    assert "file.empty" in codes["empty.fits"]
    code, answer = host.command("quarantine", "list")
    assert code == 0
    assert {Path(file["path"]).name for file in answer["files"]} == expected
    assert all(file["detail"] for file in answer["files"])
    assert (await host.ask("/readyz"))["ready"] is True
    assert services.stop() == 0


async def test_a_file_that_is_removed_while_it_is_read_harms_nobody(host: Host) -> None:
    services = host.run()
    await host.until_ready()
    stop = threading.Event()

    def come_and_go() -> None:
        number = 0
        while not stop.is_set():
            fleeting = host.drop / f"fleeting_{number % 7}.fits"
            fleeting.write_bytes(os.urandom(2_000_000))
            fleeting.unlink()
            number += 1

    trouble = threading.Thread(target=come_and_go)
    trouble.start()
    try:
        simulation = host.simulate()
        assert await asyncio.to_thread(simulation.wait, 60) == 0
        images = [
            Path(entry.file).name
            for entry in Manifest.read(host.manifest_path).values()
            if entry.file.endswith(".fits")
        ]
        assert len(images) == NIGHT_IMAGES
        await eventually(
            lambda: host.registered() == dict.fromkeys(images, 1), what="the good files", host=host
        )
    finally:
        stop.set()
        trouble.join()
    assert services.stop() == 0


def without_card(content: bytes, keyword: str) -> bytes:
    """Return a FITS file whose primary header lacks a card and its checksum."""
    header = bytearray(content[: 2880 * 8])
    for name in (keyword, "CHECKSUM", "DATASUM"):
        at = next(
            at for at in range(0, len(header), 80) if header[at : at + 8] == f"{name:<8}".encode()
        )
        header[at : at + 80] = b"COMMENT a card was removed here".ljust(80)
    return bytes(header) + content[2880 * 8 :]
