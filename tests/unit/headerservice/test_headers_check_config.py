"""`arriero headers check-config`, and definitions against a live registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import SalDictionary, TopicSpec, load_dictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.bus.sal.schema import AvroSchema, sal_schema
from daemons.bus.sal.wire import kafka_topic, subject
from daemons.cli.main import main
from headerservice.catalogue import RegistryCatalogue, topic_spec
from tests.support.servers import SmallRegistry
from tests.unit.headerservice.rig import topic

EXIT_UNUSABLE = 78
EXIT_USAGE = 64
ELEVATION = Topic("MTMount", "elevation")


@pytest.fixture
def dictionary() -> SalDictionary:
    return load_dictionary()


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with SmallRegistry() as running:
        yield running


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["headers", "check-config", *arguments])
    return int(ended.value.code or 0)


def test_shipped_definitions_are_listed_with_their_sources(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("LATISS") == 0
    told = capsys.readouterr().out
    assert "ATPtg.mountPositions.elevationCalculatedAngle" in told
    assert "keywords of LATISS out of 27 topics" in told


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("GenericCamera", "--index", "102", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["file"].endswith("GenericCamera/keywords-102.yaml")
    assert [Path(each).name for each in told["files"]][-2:] == [
        "star-tracker.yaml",
        "keywords-102.yaml",
    ]
    keyword = next(each for each in told["keywords"] if each["keyword"] == "FOCUSZ")
    assert keyword["sources"] == ["MTHexapod:1.application.demand[2]"]
    assert keyword["at"] == "start of integration"
    assert "GenericCamera:102.logevent_startIntegration" in told["topics"]


def test_a_file_with_mistakes_is_told_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: LSSTCam\n"
        "primary:\n"
        "  - section: Pointing\n"
        "    keywords:\n"
        "      - {keyword: ELSTART, unit: rad}\n"
        "      - {keyword: AZSTART, from: MTMount.azimuth.actualPos}\n"
    )
    assert run(str(path)) == EXIT_UNUSABLE
    told = capsys.readouterr().err
    assert f"{path}:5: " in told
    assert "the bus has it in deg, the definition says rad" in told
    assert f"{path}:6: " in told
    assert "has no field actualPos" in told
    assert run(str(path), "--json") == EXIT_UNUSABLE
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert len(report["problems"]) == 2


def test_a_site_may_bring_a_dictionary_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, more = tmp_path / "mine.yaml", tmp_path / "topics.json"
    path.write_text(
        "extends: LSSTCam\nprimary:\n  - section: Weather\n    keywords:\n"
        "      - {keyword: CLOUDS, type: float, from: Sky.clouds.part, at: end, comment: clouds}\n"
    )
    rows: list[list[Any]] = [["part", "double", "", 1]]
    entry = {"indexed": False, "topics": {"clouds": rows}}
    more.write_text(json.dumps({"components": {"Sky": entry}}))
    assert run(str(path)) == EXIT_UNUSABLE
    assert "no topic Sky.clouds" in capsys.readouterr().err
    assert run(str(path), "--dictionary", str(more)) == 0


def test_what_to_check_comes_from_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "host.yaml"
    config.write_text(
        f"stores: {{facility: {{url: file://{tmp_path}/store}}}}\n"
        f"headerservice: {{state_directory: {tmp_path}, instrument: LSSTComCam}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["-c", str(config), "headers", "check-config", "--json"])
    assert not ended.value.code, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["instrument"] == "LSSTComCam"


@pytest.mark.parametrize("what", [(), ("NoSuchCamera",), ("no/such/file.yaml",)])
def test_nothing_to_check_is_told(
    what: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*what) == EXIT_USAGE
    assert capsys.readouterr().err


# Against a live registry.


def register(server: SmallRegistry, spec: TopicSpec) -> None:
    async def put() -> None:
        registry = SchemaRegistry(server.registry_url)
        try:
            name = kafka_topic("sal", Topic(spec.component, spec.name))
            await registry.register(subject(name), sal_schema(spec))
        finally:
            await registry.close()

    asyncio.run(put())


def test_definitions_that_agree_with_a_registry_are_fine(
    registry: SmallRegistry, dictionary: SalDictionary, capsys: pytest.CaptureFixture[str]
) -> None:
    register(registry, dictionary.get(ELEVATION))
    assert run("LSSTCam", "--registry", registry.registry_url, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "MTMount.azimuth" in told["unregistered"]
    assert "MTMount.elevation" not in told["unregistered"]
    # It is only read: nothing of ours is registered.
    assert registry.subjects == ("lsst.sal.MTMount.elevation-value",)


def test_a_field_that_a_registry_has_otherwise_is_told(
    registry: SmallRegistry, dictionary: SalDictionary, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dictionary.get(ELEVATION)
    changed = tuple(
        replace(field, units="rad") if field.name == "actualPosition" else field
        for field in spec.fields
        if field.name != "actualPositionTimestamp"
    )
    register(registry, replace(spec, fields=changed))
    assert run("LSSTCam", "--registry", registry.registry_url) == EXIT_UNUSABLE
    told = capsys.readouterr().err
    assert "the bus has it in rad, the definition says deg" in told
    assert "has no field actualPositionTimestamp" in told


def test_a_registry_that_is_away_is_told(
    registry: SmallRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.stop()
    assert run("LSSTCam", "--registry", registry.registry_url) == 69
    assert "schema registry" in capsys.readouterr().err


def test_a_registered_schema_says_what_the_dictionary_says(dictionary: SalDictionary) -> None:
    for name in (
        *(
            "MTMount.elevation",
            "MTHexapod.application",
            "ESS.temperature",
            "DIMM.logevent_dimmMeasurement",
        ),
        *("MTCamera.focal_plane_sensor", "ATPtg.mountPositions"),
    ):
        spec = dictionary.get(topic(name))
        found = topic_spec(topic(name), sal_schema(spec).document)
        assert found.indexed == spec.indexed
        for field, known in zip(found.fields, spec.fields, strict=True):
            assert (field.name, field.avro_type, field.units, field.count, field.nullable) == (
                *(known.name, known.avro_type, known.units, known.count),
                known.nullable,
            )


def test_a_schema_with_types_that_sal_does_not_have_leaves_them_out(
    dictionary: SalDictionary,
) -> None:
    fields = [
        {"name": "a", "type": {"type": "map", "values": "int"}},
        {"name": "b", "type": ["null", "double"], "units": 7},
        {"name": "c", "type": {"type": "array", "items": "float"}},
        "nonsense",
    ]
    document = {"type": "record", "name": "x", "namespace": "lsst.sal.Y", "fields": fields}
    spec = topic_spec(Topic("Y", "x"), AvroSchema(json.dumps(document)).document)
    assert [(each.name, each.nullable, each.units) for each in spec.fields] == [
        ("b", True, ""),
        ("c", False, ""),
    ]
    catalogue = RegistryCatalogue(dictionary, {Topic("Y", "x"): spec})
    assert catalogue.get(Topic("Y", "x")) is spec
    with pytest.raises(BusError, match="is not indexed"):
        catalogue.get(Topic("Y", "x", 3))
    with pytest.raises(BusError, match="no topic"):
        catalogue.get(Topic("Y", "z"))
