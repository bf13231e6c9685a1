"""Settings from file, environment and command line, and what is said about mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, PositiveFloat, SecretStr, model_validator
from pydantic_settings import BaseSettings

from daemons.runtime.errors import SettingsError
from daemons.runtime.secrets import SecretRef
from daemons.runtime.settings import (
    LoadedSettings,
    Reloadable,
    RootSettings,
    SectionModel,
    load_settings,
    schema,
)


class S3(SectionModel):
    kind: Literal["s3"]
    """Kind of the store."""
    endpoint: str
    """URL of the store."""
    secret_key: SecretStr | None = None
    """The key."""
    credentials: SecretRef | None = None
    """Where the key is."""


class Directory(SectionModel):
    kind: Literal["directory"]
    """Kind of the store."""
    folder: Path
    """Where it is."""


class Forwarder(SectionModel):
    drop_directory: Path
    """Where the camera writes."""
    scan_interval_s: Annotated[PositiveFloat, Reloadable()] = 30.0
    """Seconds between two looks."""
    key_template: str = "{instrument}/{file}"
    """Name of an object."""
    detectors: tuple[str, ...] = ()
    """Which detectors."""
    labels: dict[str, str] = Field(default={})
    """Labels of metrics."""
    overwrite: bool = False
    """Whether to overwrite."""
    limit: int | None = 5
    """How many at once; null: as many as there are."""
    low_s: float = 0.0
    """Lower bound."""
    high_s: float = 1.0
    """Upper bound."""

    @model_validator(mode="after")
    def _ordered(self) -> Forwarder:
        if self.low_s > self.high_s:
            raise ValueError("low_s must not be above high_s")
        return self


class Host(RootSettings):
    site: str = "summit"
    """Name of the site."""
    broker: str = "memory:"
    """URL of the broker."""
    token: str | None = None
    """A secret that should have been a SecretRef."""
    forwarder: Forwarder | None = None
    """The forwarder."""
    stores: dict[str, Annotated[S3 | Directory, Field(discriminator="kind")]] = Field(default={})
    """Stores by name."""


def load(
    tmp_path: Path, text: str, environ: dict[str, str] | None = None, **overrides: object
) -> LoadedSettings[Host]:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_settings(Host, path, environ=environ or {}, overrides=dotted)


def problems(
    tmp_path: Path, text: str, environ: dict[str, str] | None = None, **overrides: object
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, environ, **overrides)
    assert "\n".join(caught.value.problems) == str(caught.value)
    return [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]


def test_the_strongest_source_wins_and_is_named(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "site: tucson\nforwarder:\n  drop_directory: /file\n  scan_interval_s: 1\n  limit: 2\n",
        {"ARRIERO_FORWARDER__SCAN_INTERVAL_S": "2", "ARRIERO_FORWARDER__LIMIT": "3", "HOME": "/"},
        forwarder__limit="4",
    )
    forwarder = loaded.value.forwarder
    assert forwarder is not None
    assert (forwarder.drop_directory, forwarder.scan_interval_s, forwarder.limit) == (
        Path("/file"),
        2.0,
        4,
    )
    assert loaded.origin("site").endswith("config.yaml:1")
    assert loaded.origin("forwarder.drop_directory").endswith("config.yaml:3")
    assert loaded.origin("forwarder.scan_interval_s") == (
        "environment ARRIERO_FORWARDER__SCAN_INTERVAL_S"
    )
    assert loaded.origin("forwarder.limit") == "command line"
    assert loaded.origin("forwarder.key_template") == "default"


def test_without_a_file_environment_and_defaults_suffice() -> None:
    loaded = load_settings(Host, None, environ={"ARRIERO_FORWARDER__DROP_DIRECTORY": "/data"})
    assert loaded.value.site == "summit"
    assert loaded.value.forwarder is not None
    assert loaded.value.forwarder.drop_directory == Path("/data")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRIERO_SITE", "base")
    assert load_settings(Host, None).value.site == "base"


def test_a_root_that_is_built_by_hand_takes_nothing_from_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SITE", "elsewhere")
    assert Host().site == "summit"


def test_a_root_that_would_read_the_environment_by_itself_is_refused() -> None:
    class Loose(BaseSettings):
        site: str = ""

    with pytest.raises(TypeError, match="RootSettings"):
        load_settings(Loose, None, environ={})


def test_lists_and_mappings_of_the_environment_are_json(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "forwarder: {drop_directory: /d, labels: {Camera: a}}",
        {
            "ARRIERO_FORWARDER__DETECTORS": '["R22_S11", "R22_S12"]',
            "ARRIERO_FORWARDER__LABELS__CAMERA": "b",
            "ARRIERO_FORWARDER__LABELS__SITE": "c",
            "ARRIERO_FORWARDER__KEY_TEMPLATE": "{file}",
            "ARRIERO_FORWARDER__LIMIT": "null",
            "ARRIERO_FORWARDER__OVERWRITE": "yes",
            "ARRIERO_STORES": '{"near": {"kind": "directory", "folder": "/n"}}',
            "ARRIERO_STORES__NEAR__FOLDER": "/m",
        },
    )
    forwarder = loaded.value.forwarder
    assert forwarder is not None
    assert forwarder.detectors == ("R22_S11", "R22_S12")
    assert forwarder.labels == {"Camera": "b", "site": "c"}
    assert forwarder.key_template == "{file}"
    assert forwarder.limit is None
    assert forwarder.overwrite is True
    assert loaded.value.stores["near"] == Directory(kind="directory", folder=Path("/m"))
    assert loaded.origin("stores.near.kind") == "environment ARRIERO_STORES"
    assert loaded.origin("stores.near.folder") == "environment ARRIERO_STORES__NEAR__FOLDER"
    assert loaded.origin("forwarder.labels.Camera").startswith("environment ")


def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    text = "forwarder:\n  drop_directory: /d\n\n  scan_interval: 3\nsight: x\n"
    assert problems(tmp_path, text) == [
        "config.yaml:4: forwarder.scan_interval: unknown key; did you mean `scan_interval_s`?",
        "config.yaml:5: sight: unknown key; did you mean `site`?",
    ]


def test_an_unknown_key_that_resembles_none_lists_the_known_ones(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "stores:\n  a:\n    kind: directory\n    folder: /a\n    xyz: 1\n")
    assert line == (
        "config.yaml:5: stores.a.xyz: unknown key; known here: kind, endpoint, secret_key, "
        "credentials, folder"
    )


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "site: 5\nsite: 6\nforwarder:\n  scan_interval_s: -1\n  limit: 010\n"
        "stores:\n  a: {kind: s4}\n"
    )
    found = problems(
        tmp_path,
        text,
        {"ARRIERO_FORWARDER__DETECTORS": "[a", "ARRIERO_STORE__A": "1"},
        forwarder__labels="{",
        forwarder__nonsense="1",
    )
    keys = {line.split(": ")[1] for line in found}
    assert keys == {
        "site",
        "forwarder.scan_interval_s",
        "forwarder.limit",
        "forwarder.detectors",
        "forwarder.drop_directory",
        "forwarder.labels",
        "forwarder.nonsense",
        "store.a",
        "stores.a",
    }
    assert len(found) == len(keys)


def test_a_missing_key_is_told_at_its_section(tmp_path: Path) -> None:
    assert problems(tmp_path, "site: a\nforwarder:\n  limit: 3\n") == [
        "config.yaml:2: forwarder.drop_directory: is required"
    ]


def test_the_finding_of_a_validator_is_told_at_its_section(tmp_path: Path) -> None:
    text = "\nforwarder:\n  drop_directory: /d\n  low_s: 3\n"
    assert problems(tmp_path, text) == ["config.yaml:2: forwarder: low_s must not be above high_s"]


def test_a_number_for_a_text_says_to_quote_it(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "site: 5\n")
    assert (
        line
        == "config.yaml:1: site: input should be a valid string, not 5; put the value in quotes"
    )


def test_a_site_named_no_stays_a_text(tmp_path: Path) -> None:
    assert load(tmp_path, "site: NO\n").value.site == "NO"


def test_a_key_of_another_kind_of_section_says_so(tmp_path: Path) -> None:
    text = "stores:\n  a:\n    kind: directory\n    folder: /a\n    endpoint: http://b\n"
    assert problems(tmp_path, text) == [
        "config.yaml:5: stores.a.endpoint: unknown key; it goes with another kind of this section"
    ]


def test_an_empty_section_says_what_to_write(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "stores:\n  a:\n")
    assert line.startswith("config.yaml:2: stores.a: ")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "ARRIERO_FORWARDR__LIMIT",
            (
                "environment ARRIERO_FORWARDR__LIMIT: forwardr.limit: unknown key; "
                "did you mean `forwarder`?"
            ),
        ),
        (
            "ARRIERO_ZEBRA__X",
            "environment ARRIERO_ZEBRA__X: zebra.x: unknown key; unset the variable",
        ),
        ("ARRIERO_SITES", "environment ARRIERO_SITES: sites: unknown key; did you mean `site`?"),
        (
            "ARRIERO_FORWARDER__SCAN__X",
            (
                "environment ARRIERO_FORWARDER__SCAN__X: forwarder.scan: unknown key; known here: "
                "drop_directory, scan_interval_s, key_template, detectors, labels, overwrite, "
                "limit, low_s, high_s"
            ),
        ),
    ],
)
def test_a_mistyped_variable_is_refused(tmp_path: Path, name: str, line: str) -> None:
    assert problems(tmp_path, "forwarder: {drop_directory: /d}", {name: "1"}) == [line]


def test_a_variable_of_another_program_is_left_alone_and_listed(tmp_path: Path) -> None:
    loaded = load(tmp_path, "", {"ARRIERO_CONFIG": "config.yaml", "ARRIEROS": "x"})
    assert loaded.ignored_environment == ("ARRIERO_CONFIG",)


def test_keys_that_pydantic_settings_keeps_for_itself_are_unknown(tmp_path: Path) -> None:
    assert problems(tmp_path, "_env_file: .env\n") == [
        "config.yaml:1: _env_file: unknown key; remove it"
    ]


def test_secrets_are_neither_shown_nor_repeated_in_messages(tmp_path: Path) -> None:
    text = (
        "broker: kafka://user:hunter2@broker:9092\ntoken: hunter2\nstores:\n  a:\n    kind: s3\n"
        "    endpoint: http://e\n    secret_key: hunter2\n"
    )
    loaded = load(tmp_path, text)
    assert loaded.value.token == "hunter2"
    assert "hunter2" not in repr(loaded.show()) + loaded.text() + json.dumps(loaded.as_json())
    assert "kafka://user:**********@broker:9092" in loaded.text()
    broken = text.replace("secret_key: hunter2", "secret_key: [hunter2]").replace(
        "kind: s3", "kind: directory"
    )
    assert not [line for line in problems(tmp_path, broken) if "hunter2" in line]


def test_the_effective_configuration_is_shown_with_origins_and_loads_again(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "forwarder:\n  drop_directory: /d\n  labels: {a.b: c}\n",
        {"ARRIERO_SITE": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
    )
    shown = {setting.key: setting for setting in loaded.show()}
    assert shown["site"].origin == "environment ARRIERO_SITE"
    assert shown["forwarder.limit"].value == 5
    assert shown["forwarder.limit"].origin == "default"
    assert shown["stores"].value == {}
    assert f'  drop_directory: "/d"  # {tmp_path}/config.yaml:2\n' in loaded.text()
    assert load(tmp_path, loaded.text()).value == loaded.value


def test_the_schema_describes_every_setting() -> None:
    found = schema(Host)
    assert found["$schema"].startswith("https://json-schema.org/draft/2020-12")
    forwarder = found["$defs"]["Forwarder"]
    assert forwarder["additionalProperties"] is False
    assert forwarder["properties"]["scan_interval_s"]["x-reloadable"] is True
    assert "x-reloadable" not in forwarder["properties"]["limit"]
    for name, field in forwarder["properties"].items():
        assert field["description"], name


def test_sections_are_frozen() -> None:
    forwarder = Forwarder(drop_directory=Path("/d"))
    with pytest.raises(ValueError, match="frozen"):
        forwarder.limit = 3  # type: ignore[misc]


def test_overrides_may_be_values(tmp_path: Path) -> None:
    loaded = load(tmp_path, "", forwarder={"drop_directory": Path("/d"), "detectors": ["a"]})
    assert loaded.value.forwarder is not None
    assert loaded.value.forwarder.detectors == ("a",)


def test_the_file_is_not_changed_by_overlays(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("forwarder: {drop_directory: /d, labels: {a: b}}")
    first = load_settings(Host, path, environ={"ARRIERO_FORWARDER__LABELS__A": "c"})
    second = load_settings(Host, path, environ={})
    assert first.value != second.value
    assert os.fspath(path) in second.origin("forwarder.labels.a")


NAMES = st.sampled_from(
    ["site", "broker", "forwarder", "stores", "drop_directory", "limit", "kind", "a", "x"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab/-. ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, ANYTHING, max_size=5))
def test_any_configuration_loads_or_is_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_text(json.dumps(data, indent=1))
    try:
        load_settings(Host, path, environ={})
    except SettingsError as error:
        for line in error.problems:
            assert line.startswith(f"{path}:"), line
            assert line.removeprefix(f"{path}:").split(":")[0].isdigit(), line
