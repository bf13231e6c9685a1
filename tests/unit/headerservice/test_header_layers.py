"""Definition files that extend others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemons.runtime.errors import SettingsError
from headerservice.layers import Layers, raise_for, read_layers

BASE = """\
instrument: Base
components: {camera: MTCamera, ptg: MTPtg}
primary:
  - section: One
    keywords:
      - {keyword: A, type: str, value: a, comment: first}
      - {keyword: B, type: int, value: 2, comment: second}
  - section: Last
    keywords:
      - {keyword: Z, type: str, value: z, comment: last}
sensors:
  topic: camera.logevent_focalPlaneSummaryInfo
  keywords:
    - {keyword: S, type: str, field: ccdSlot, comment: slot}
"""


def read(tmp_path: Path, own: str, **others: str) -> Layers:
    (tmp_path / "base.yaml").write_text(BASE)
    for name, text in others.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    path = tmp_path / "own.yaml"
    path.write_text(own)
    return read_layers(path)


def sections(layers: Layers) -> dict[str, list[str]]:
    return {
        section["section"]: [entry["keyword"] for entry in section["keywords"]]
        for section in layers.data["primary"]
    }


def entry(layers: Layers, keyword: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        each
        for section in layers.data["primary"]
        for each in section["keywords"]
        if each["keyword"] == keyword
    ]
    assert len(found) == 1
    return found[0]


def test_what_a_file_says_is_laid_over_what_it_extends(tmp_path: Path) -> None:
    layers = read(
        tmp_path,
        """\
extends: base.yaml
instrument: Own
components: {camera: CCCamera}
primary:
  - section: One
    without: [A]
    keywords:
      - {keyword: B, value: 3}
      - {keyword: C, type: str, value: c, comment: third}
  - section: Between
    after: One
    keywords:
      - {keyword: D, type: str, value: d, comment: fourth}
sensors:
  keywords:
    - {keyword: T, type: str, field: raftBay, comment: bay}
""",
    )
    raise_for(layers, [])
    assert layers.data["instrument"] == "Own"
    assert layers.data["components"] == {"camera": "CCCamera", "ptg": "MTPtg"}
    assert sections(layers) == {"One": ["B", "C"], "Between": ["D"], "Last": ["Z"]}
    assert entry(layers, "B") == {"keyword": "B", "type": "int", "value": 3, "comment": "second"}
    assert [each["keyword"] for each in layers.data["sensors"]["keywords"]] == ["S", "T"]
    assert [path.name for path in layers.files] == ["base.yaml", "own.yaml"]
    assert layers.where(("primary", 0, "keywords", 0, "value")) == f"{tmp_path}/own.yaml:8"
    assert layers.where(("primary", 0, "keywords", 0, "type")) == f"{tmp_path}/base.yaml:7"
    assert layers.where(("components", "ptg")) == f"{tmp_path}/base.yaml:2"


def test_null_takes_a_key_away(tmp_path: Path) -> None:
    layers = read(
        tmp_path,
        """\
extends: base.yaml
sensors: null
primary:
  - section: One
    keywords:
      - {keyword: B, value: null, compute: revision}
""",
    )
    assert "sensors" not in layers.data
    assert entry(layers, "B") == {
        "keyword": "B",
        "type": "int",
        "compute": "revision",
        "comment": "second",
    }


def test_a_section_that_loses_all_its_keywords_goes(tmp_path: Path) -> None:
    own = "extends: base.yaml\nprimary:\n  - {section: Last, without: Z}\n"
    assert list(sections(read(tmp_path, own))) == ["One"]


def test_a_file_that_two_others_extend_is_laid_once_and_first(tmp_path: Path) -> None:
    one = "extends: base.yaml\nprimary:\n  - {section: One, keywords: [{keyword: A, value: one}]}\n"
    other = "extends: base.yaml\ncomponents: {ptg: ATPtg}\n"
    layers = read(tmp_path, "extends: [one.yaml, other.yaml]\n", one=one, other=other)
    raise_for(layers, [])
    assert entry(layers, "A")["value"] == "one"
    assert layers.data["components"]["ptg"] == "ATPtg"
    assert [path.stem for path in layers.files] == ["base", "one", "other", "own"]


def test_the_digest_is_that_of_all_files(tmp_path: Path) -> None:
    before = read(tmp_path, "extends: base.yaml\n").digest
    (tmp_path / "base.yaml").write_text(BASE.replace("first", "primo"))
    assert read_layers(tmp_path / "own.yaml").digest != before


def test_shipped_definitions_can_be_extended_by_name(tmp_path: Path) -> None:
    layers = read(tmp_path, "extends: LSSTCam\ninstrument: Mine\n")
    raise_for(layers, [])
    assert layers.data["instrument"] == "Mine"
    assert "OBSID" in sections(layers)["Identity of the image"]


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ("extends: nowhere.yaml\n", "own.yaml:1: extends: there is no nowhere.yaml; looked for"),
        ("extends: own.yaml\n", "own.yaml:1: extends: own.yaml extends itself"),
        ("extends: round.yaml\n", "round.yaml:1: extends: own.yaml extends itself"),
        ("extends: 7\n", "own.yaml:1: extends: is not the name of a file"),
        (
            "extends: base.yaml\nprimary:\n  - {section: N, after: Nil, keywords: []}\n",
            "own.yaml:3: after: there is no section 'Nil'",
        ),
        (
            "extends: base.yaml\nprimary:\n  - section: One\n    without: [Q]\n",
            "own.yaml:4: without: there is no keyword 'Q' here",
        ),
        ("extends: base.yaml\na: 1\na: 2\n", "own.yaml:3: a: is given twice"),
    ],
)
def test_what_cannot_be_laid_is_told_with_its_line(tmp_path: Path, own: str, says: str) -> None:
    layers = read(tmp_path, own, round="extends: own.yaml\n")
    with pytest.raises(SettingsError) as caught:
        raise_for(layers, [])
    assert f"{tmp_path}/{says}" in caught.value.problems[0]


@pytest.mark.parametrize(
    "own",
    [
        "primary: 7\n",
        "primary: [7, {section: 8, keywords: 9}, {section: One, keywords: {a: b}}]\n",
        "primary:\n  - {section: One, keywords: [7, {keyword: 8}, null]}\n",
        "sensors: 7\n",
        "components: 7\n",
        "primary: null\n",
        "witnesses: 3\n",
    ],
)
def test_a_file_of_any_other_form_is_left_to_be_refused(tmp_path: Path, own: str) -> None:
    layers = read(tmp_path, f"extends: base.yaml\n{own}")
    assert isinstance(layers.data, dict)
