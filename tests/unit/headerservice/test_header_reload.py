"""Keyword definitions that change while the service runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daemons.bus import Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import sal_schema
from daemons.bus.sal.wire import kafka_topic, subject
from headerservice.registry_check import RegisteredSchemas
from tests.support.servers import SmallRegistry
from tests.unit.headerservice.rig import OBS_ID, Image, Rig

MakeRig = Callable[..., Rig]
NEXT = "MC_O_20251121_000157"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return definitions of the site's own, which change the shipped ones a little."""
    path = tmp_path / "site/keywords.yaml"
    path.parent.mkdir()
    path.write_text("extends: LSSTCam\n", encoding="utf-8")
    return path


def add(path: Path, text: str) -> None:
    path.write_text(f"extends: LSSTCam\n{text}", encoding="utf-8")


async def reload(rig: Rig) -> None:
    """Give the command to reload, and wait until the file was looked at."""
    before = rig.service.status()["definitions"]
    rig.service.reload(rig.settings)
    await rig.eventually(lambda: rig.service.status()["definitions"] != before)


ROTATOR = """
primary:
  - section: Pointing
    keywords:
      - {keyword: ROTSPEED, type: float, from: MTDome.azimuth.velocityActual, at: start_of_integration, unit: deg/s, comment: speed of the dome}
      - {keyword: AIRMEAN, type: float, from: ptg.currentTargetStatus.airmass, at: over_exposure, pick: mean, interpolate: linear, comment: airmass}
"""  # noqa: E501 - as people write it


async def test_new_definitions_count_for_new_exposures_and_open_ones_keep_theirs(
    make_rig: MakeRig, file: Path
) -> None:
    rig = make_rig(keywords=file)
    first, second = Image(OBS_ID, rig.t0), Image(NEXT, rig.t0 + 40)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.point(rig.t0 - 2, rig.t0)
        await rig.start(first)
        await rig.integrating()
        add(file, ROTATOR)
        await reload(rig)
        status = rig.service.status()["definitions"]
        await rig.point(rig.t0 + 0.1, first.readout + 1)
        await rig.readout(first)
        await rig.end(first)
        before = await rig.header_of()
        await rig.expose(second)
        after = await rig.header_of(NEXT)
    assert status["refused"] == []
    assert before["HDRSTAT"] == after["HDRSTAT"] == "complete"
    assert "AIRMEAN" not in before
    assert after["AIRMEAN"] == pytest.approx(rig.sky.airmass)
    assert after["ROTSPEED"] is None
    assert before["HDRDEFS"] != after["HDRDEFS"] == status["digest"]


async def test_a_topic_that_new_definitions_need_is_read_from_then_on(
    make_rig: MakeRig, file: Path
) -> None:
    rig = make_rig(keywords=file)
    text = ROTATOR.replace("MTDome.azimuth.velocityActual", "ESS:301.dewPoint.dewPointItem")
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        add(file, text.replace("unit: deg/s", "unit: deg_C").replace("speed of the dome", "dew"))
        await reload(rig)
        await rig.service.ready()
        await rig.say("ESS:301.dewPoint", {"dewPointItem": -4.5}, at=rig.t0 - 0.5)
        await rig.expose(Image(OBS_ID, rig.t0))
        header = await rig.header_of()
    assert header["ROTSPEED"] == -4.5


async def test_definitions_with_mistakes_are_refused_with_their_lines_and_the_old_ones_stay(
    make_rig: MakeRig, file: Path
) -> None:
    rig = make_rig(keywords=file)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        digest = rig.service.status()["definitions"]["digest"]
        add(file, ROTATOR.replace("velocityActual", "velocity"))
        await reload(rig)
        refused = rig.service.status()["definitions"]
        await rig.expose(Image(OBS_ID, rig.t0))
        header = await rig.header_of()
        add(file, "# whole again\n")
        await reload(rig)
        mended = rig.service.status()["definitions"]
    (problem,) = refused["refused"]
    assert problem.startswith(f"{file}:6: ")
    assert "has no field velocity" in problem
    assert refused["digest"] == digest == header["HDRDEFS"]
    assert header["HDRSTAT"] == "complete"
    assert mended["refused"] == []
    assert mended["digest"] != digest


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("instrument: Other\n", "instrument"),
        ("components: {camera: CCCamera}\n", "set of exposure events"),
    ],
)
async def test_what_open_exposures_depend_on_needs_a_restart(
    make_rig: MakeRig, file: Path, text: str, what: str
) -> None:
    rig = make_rig(keywords=file)
    async with rig.running():
        add(file, text)
        await reload(rig)
        status = rig.service.status()["definitions"]
    assert f"another {what} needs a restart" in status["refused"][0]


async def test_a_file_that_is_gone_changes_nothing(make_rig: MakeRig, file: Path) -> None:
    rig = make_rig(keywords=file)
    async with rig.running():
        file.unlink()  # noqa: ASYNC240 - a file of the test
        await reload(rig)
        status = rig.service.status()["definitions"]
        assert "no such file" in status["refused"][0]
        add(file, "")
        await reload(rig)
        assert rig.service.status()["definitions"]["refused"] == []


async def test_definitions_are_compared_with_a_live_registry_and_stay_in_use(
    make_rig: MakeRig, file: Path
) -> None:
    name = Topic("MTMount", "elevation")
    spec = load_dictionary().get(name)
    fields = tuple(
        replace(field, units="rad") if field.name == "actualPosition" else field
        for field in spec.fields
    )
    with SmallRegistry() as server:
        registry = SchemaRegistry(server.registry_url)
        subject_name = subject(kafka_topic("sal", name))
        await registry.register(subject_name, sal_schema(replace(spec, fields=fields)))
        rig = make_rig(keywords=file, schemas=RegisteredSchemas(registry, "sal"))

        def disagreeing() -> list[str]:
            told: list[str] = rig.service.status()["definitions"]["disagreeing_with_registry"]
            return told

        async with rig.running():
            await rig.eventually(lambda: len(disagreeing()) == 2)
            (start, end) = disagreeing()
            await rig.set_the_scene(rig.t0 - 1)
            await rig.expose(Image(OBS_ID, rig.t0))
            header = await rig.header_of()
            # Mended at the registry: the next look says so.
            await registry.register(subject_name, sal_schema(spec))
            await reload(rig)
            await rig.eventually(lambda: disagreeing() == [])
        await registry.close()
    assert "pointing.yaml:" in start
    assert "the bus has it in rad, the definition says deg" in start
    assert "pointing.yaml:" in end
    assert header["HDRSTAT"] == "complete"
    assert rig.counter("arriero_header_findings_total", code="schema.disagrees") == 2


async def test_a_registry_that_is_away_keeps_nothing_from_starting(
    make_rig: MakeRig, file: Path
) -> None:
    server = SmallRegistry()
    registry = SchemaRegistry(server.registry_url)
    rig = make_rig(keywords=file, schemas=RegisteredSchemas(registry, "sal"))
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        header = await rig.header_of()
        assert rig.service.status()["definitions"]["disagreeing_with_registry"] == []
    await registry.close()
    assert header["HDRSTAT"] == "complete"
