"""`arriero translators`: list, new and test, as a data engineer uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from daemons.cli.translators import translators

SHIPPED = Path(__file__).parents[1] / "translators" / "headers"
HEADER = """\
INSTRUME= 'lsstCam '
OBSID   = 'MC_C_20211212_000310'
CONTRLLR= 'C       '
DAYOBS  = '20211212'
SEQNUM  =                  310 / of the night
RAFTBAY = 'R22     '
CCDSLOT = 'S22     '
IMGTYPE = 'FLAT    '
EXPTIME =                  7.5
DATE-OBS= '2021-12-13T04:58:56.398'
FILTER  = 'SDSSi   '
END
"""
EXPECTED = """\
# A flat on the test stand.
translator: LSSTCam
properties:
  exposure_id: 3021121200310
  datetime_begin: 2021-12-13T04:58:56.398
  exposure_time: 7.5
  altaz_begin: null
"""

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    runner = CliRunner()

    def invoke(*arguments: object) -> Result:
        result = runner.invoke(
            translators, [str(each) for each in arguments], standalone_mode=False
        )
        if result.exception is not None:
            raise result.exception
        return result

    return invoke


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    (tmp_path / "flat.hdr").write_text(HEADER)
    (tmp_path / "flat.expect.yaml").write_text(EXPECTED)
    return tmp_path


def failed(result: Result) -> bool:
    return bool(result.return_value == 1)


def test_shipped_fixtures_of_our_instruments_are_as_expected(run: Run) -> None:
    results = json.loads(run("test", SHIPPED, "--json").output)

    assert [each for each in results if not each["passed"]] == []
    assert len(results) >= 15
    assert sum(each["compared"] for each in results) > 450


def test_list_tells_ours_and_those_of_other_packages(run: Run) -> None:
    known = {each["name"]: each for each in json.loads(run("list", "--json").output)}

    assert known["LSSTCam"]["origin"] == "arriero"
    assert known["LSST_LATISS"]["instrument"] == "LATISS"
    assert known["DECam"]["origin"] == "astro-metadata-translator"
    assert known["DECam"]["class"].endswith("DecamTranslator")
    assert "LSSTCam" in run("list").output


def test_as_expected(fixture: Path, run: Run) -> None:
    result = run("test", fixture)

    assert not failed(result)
    assert result.output == "ok     flat.hdr: 5\n1 fixtures as expected\n"


def test_difference_is_told_with_both_values_and_its_line(fixture: Path, run: Run) -> None:
    path = fixture / "flat.expect.yaml"
    path.write_text(EXPECTED.replace("exposure_time: 7.5", "exposure_time: 8.5"))

    result = run("test", fixture)

    assert failed(result)
    assert result.output.splitlines()[:4] == [
        "DIFFER flat.hdr: 1 of 5",
        f"    {path}:6: exposure_time",
        "      - 8.5",
        "      + 7.5",
    ]
    (told,) = json.loads(run("test", fixture, "--json").output)
    assert told["differences"] == [
        {"property": "exposure_time", "expected": 8.5, "found": 7.5, "where": f"{path}:6"}
    ]


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("translator: LSSTCam", "translator: LSSTComCam", "translator"),
        ("exposure_id: 3021121200310", "exposure_id: 3021121200310.5", "exposure_id"),
        ("04:58:56.398", "04:58:56.399", "datetime_begin"),
        ("altaz_begin: null", "altaz_begin: [1.0, 2.0]", "altaz_begin"),
        ("altaz_begin: null", "detector_name: null", "detector_name"),
        ("altaz_begin: null", "has_simulated_content: 0", "has_simulated_content"),
        ("translator: LSSTCam", "fails: translation.failed", "fails"),
    ],
)
def test_every_kind_of_difference_is_seen(
    before: str, after: str, name: str, fixture: Path, run: Run
) -> None:
    (fixture / "flat.expect.yaml").write_text(EXPECTED.replace(before, after))

    (told,) = json.loads(run("test", fixture, "--json").output)

    assert [each["property"] for each in told["differences"]] == [name]


def test_number_within_the_tolerance_is_the_same(fixture: Path, run: Run) -> None:
    text = EXPECTED.replace("exposure_time: 7.5", "exposure_time: 7.501")
    (fixture / "flat.expect.yaml").write_text(text)
    assert failed(run("test", fixture))

    (fixture / "flat.expect.yaml").write_text(f"tolerance: 0.001\n{text}")
    assert not failed(run("test", fixture))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("flat.expect.yaml", "properties:\n  exposure: 5\n", "flat.expect.yaml:1: "),
        ("flat.expect.yaml", "translator: A\nfoo: 5\n", "flat.expect.yaml:2: unknown key foo"),
        ("flat.expect.yaml", "a: [\n", "flat.expect.yaml"),
        ("flat.expect.yaml", "translator: A\ntranslator: B\n", "flat.expect.yaml:2: "),
        (
            "flat.expect.yaml",
            "properties:\n  datetime_begin: noon\n",
            "flat.expect.yaml:2: datetime_begin: 'noon' is no time",
        ),
        ("flat.hdr", "INSTRUME= 'lsstCam'\nEXPTIME = thirty\nEND\n", "flat.hdr:2: "),
        ("flat.hdr", "", "flat.hdr holds no card"),
        ("other.hdr", HEADER, "there is no other.expect.yaml beside it"),
        ("other.expect.yaml", EXPECTED, "there is no header beside it"),
    ],
)
def test_wrong_fixture_is_named_with_file_and_line_and_the_others_go_on(
    name: str, content: str, says: str, fixture: Path, run: Run
) -> None:
    (fixture / "good.hdr").write_text(HEADER)
    (fixture / "good.expect.yaml").write_text(EXPECTED)
    (fixture / name).write_text(content)

    result = run("test", fixture)

    assert failed(result)
    assert says in result.output
    assert "ok     good.hdr: 5" in result.output


def test_folder_without_fixtures_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(Exception, match="has no fixtures"):
        run("test", tmp_path)


def test_update_writes_everything_of_a_new_fixture(fixture: Path, run: Run) -> None:
    (fixture / "flat.expect.yaml").unlink()

    result = run("test", fixture, "--update")

    assert not failed(result)
    assert result.output.startswith("WROTE  flat.hdr: ")
    written = yaml.safe_load((fixture / "flat.expect.yaml").read_text())
    assert written["translator"] == "LSSTCam"
    assert written["properties"]["exposure_id"] == 3021121200310
    assert len(written["properties"]) > 25
    assert run("test", fixture).output.startswith("ok     flat.hdr")


def test_update_keeps_the_choice_of_properties_and_the_comment(fixture: Path, run: Run) -> None:
    path = fixture / "flat.expect.yaml"
    path.write_text(EXPECTED.replace("7.5", "99"))

    run("test", fixture, "--update")

    text = path.read_text()
    assert text.startswith("# A flat on the test stand.\n")
    properties = yaml.safe_load(text)["properties"]
    assert list(properties) == ["exposure_id", "datetime_begin", "exposure_time", "altaz_begin"]
    assert properties["exposure_time"] == 7.5
    assert run("test", fixture, "--update").output.startswith("ok     flat.hdr")
    assert path.read_text() == text


def test_header_that_must_fail_is_pinned_by_its_code(fixture: Path, run: Run) -> None:
    (fixture / "flat.hdr").write_text(HEADER.replace("lsstCam ", "Nobody  "))

    run("test", fixture, "--update")

    written: dict[str, Any] = yaml.safe_load((fixture / "flat.expect.yaml").read_text())
    assert written == {"fails": "translation.unknown_instrument"}
    assert not failed(run("test", fixture))


def test_new_begins_a_translator_as_yaml(tmp_path: Path, run: Run) -> None:
    header = tmp_path / "example.hdr"
    header.write_text(HEADER.replace("lsstCam ", "DomeCam "))
    output = tmp_path / "translator.yaml"

    printed = run("new", header).output
    run("new", header, "-o", output)

    assert output.read_text() == printed
    assert "DomeCam" in printed
    assert "#" in printed
    assert isinstance(yaml.safe_load(printed), dict)


def test_new_does_not_overwrite(tmp_path: Path, run: Run) -> None:
    header = tmp_path / "example.hdr"
    header.write_text(HEADER)
    output = tmp_path / "translator.yaml"
    output.write_text("mine")

    with pytest.raises(Exception, match="is there already"):
        run("new", header, "-o", output)

    assert output.read_text() == "mine"
