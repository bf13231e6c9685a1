"""YAML the way a configuration wants it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.runtime.errors import SettingsError
from daemons.runtime.yaml_file import parse_document, read_document


def value_of(text: str) -> Any:
    document = parse_document(f"key: {text}\n", name="c.yaml")
    assert document.problems == ()
    return document.data["key"]


@pytest.mark.parametrize(
    "word",
    [
        "NO",
        "no",
        "yes",
        "On",
        "off",
        "y",
        "n",
        "2024-04-04",
        "1:30",
        "1_000",
        "12e",
        "r",
        "_",
        "0b11",
        "=",
    ],
)
def test_words_that_yaml_1_1_would_change_stay_texts(word: str) -> None:
    assert value_of(word) == word


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0o644", 0o644),
        ("0xFF", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ('"5"', "5"),
        ("'true'", "true"),
        ("!!str 5", "5"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["0644", "-007", "00", "08", "0_1"])
def test_a_number_with_a_leading_zero_is_refused_with_what_to_write(text: str) -> None:
    (problem,) = parse_document(f"a: 1\nkey: {text}\n", name="c.yaml").problems
    assert str(problem).startswith(f"c.yaml:2: key: {text} starts with a zero")
    assert "quote a text" in problem.hint


def test_lines_are_kept_for_keys_and_items() -> None:
    document = parse_document("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n", name="c.yaml")
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "y"): 5,
    }
    assert document.where(("a", "missing")) == "c.yaml:1"
    assert document.where(("elsewhere",)) == "c.yaml"


def test_a_duplicate_key_names_both_lines_and_the_first_counts() -> None:
    document = parse_document("a: 1\nb: 2\na: 3\n", name="c.yaml")
    assert document.data == {"a": 1, "b": 2}
    assert [str(problem) for problem in document.problems] == [
        "c.yaml:3: a: is given twice, first in line 1; keep one"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: !!python/object:os.system x", "tag"),
        ("a: !env HOME", "tag"),
        ("a: !!int '5'", "tag"),
        ("b: &b {x: 1}\na:\n  <<: *b", "merge keys"),
        ("? [1, 2]\n: 3", "a key is not a plain word"),
        ("a: &a [*a]", "inside its own anchor"),
    ],
)
def test_what_a_configuration_does_not_need_is_refused(text: str, what: str) -> None:
    (problem,) = parse_document(text, name="c.yaml").problems
    assert what in problem.what


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: [1\nb: 2", "c.yaml:2: is no YAML"),
        ("a: 1\n\tb: 2", "c.yaml:2: is no YAML"),
        ("a: 1\n---\nb: 2", "c.yaml:2: is no YAML"),
        ("a: *nothing", "c.yaml:1: is no YAML"),
        ("a: 1\nb: \x07", "c.yaml:2: holds the character #x0007"),
        ("- a\n- b", "c.yaml:1: the configuration is not a mapping"),
        ("just text", "c.yaml:1: the configuration is not a mapping"),
        ("[" * 5000, "c.yaml: is nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(text: str, start: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_document(text, name="c.yaml")
    assert str(caught.value).startswith(start)


def test_aliases_that_explode_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)
    )
    with pytest.raises(SettingsError, match="more than 100000 entries"):
        parse_document(bomb, name="c.yaml")


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# nothing yet\n")
    assert read_document(path).data == {}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        read_document(tmp_path / "absent.yaml")
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read_document(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"latin\.yaml:2: is not UTF-8"):
        read_document(latin)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(path).data == {"a": 1}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**15), max_value=10**15)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), JSON, max_size=5))
def test_json_reads_as_what_it_is(data: dict[str, Any]) -> None:
    document = parse_document(json.dumps(data, ensure_ascii=False), name="c.json")
    assert document.problems == ()
    assert document.data == data


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert isinstance(parse_document(text, name="c.yaml").data, dict)
