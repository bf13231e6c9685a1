"""What is done about findings: instrument, site, default; and a wrong policy file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulated_headers import simulated_header
from translators.checks import keywords
from translators.checks.catalogue import CATALOGUE, found
from translators.checks.headers import header_findings
from translators.checks.policy import (
    DEFAULT,
    PATH_VARIABLE,
    CheckPolicy,
    forget_policies,
    policy_for,
)
from translators.checks.policy_file import Action, PolicyFile
from translators.errors import InstrumentDataError
from translators.findings import Finding, Severity
from translators.instruments import instrument_names


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    forget_policies()
    yield
    forget_policies()


def site_policy(folder: Path, text: str, name: str = "site.yaml") -> Path:
    path = folder / name
    path.write_text(f"version: 1\n{text}")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InstrumentDataError) as caught:
        policy_for("LSSTCam", override=path)
    return str(caught.value)


# The shipped policies.


@pytest.mark.parametrize("name", [*instrument_names(), None])
def test_values_never_set_a_file_aside(name: str | None) -> None:
    """An exposure of the sky is not repeated because its header says something odd."""
    policy = policy_for(name)
    for code, kind in CATALOGUE.items():
        if code.startswith(("time.", "physics.", "filter.", "agreement.")):
            assert policy.action(Finding(code, kind.severity, "x")) is not Action.QUARANTINE


@pytest.mark.parametrize("name", [*instrument_names(), None])
def test_a_broken_file_is_always_set_aside(name: str | None) -> None:
    policy = policy_for(name)
    for code in ("structure.truncated", "structure.not_fits", "translation.failed", "file.empty"):
        assert policy.action(found(code, "x")) is Action.QUARANTINE


def test_lost_header_values_hold_the_exposure_of_a_real_camera() -> None:
    null_block = found("header.null_block", "x")
    assert policy_for("LSSTCam").action(null_block) is Action.HOLD
    assert policy_for("LSSTComCam").action(null_block) is Action.HOLD
    assert policy_for("LSSTCamSim").action(null_block) is Action.NOTE
    assert policy_for(None).action(null_block) is Action.WARN


def test_an_instrument_without_a_policy_has_the_default() -> None:
    assert policy_for("NoSuchCam") == DEFAULT == CheckPolicy()
    assert policy_for(None) == DEFAULT


def test_kin_take_over_what_they_do_not_say() -> None:
    kin, parent = policy_for("LSSTComCamSim"), policy_for("LSSTCam")
    assert kin.registration == parent.registration
    assert kin.site == parent.site
    assert kin.like == "LSSTComCam"
    assert policy_for("LATISS").site != parent.site


# Weighing.


def test_findings_get_the_severity_of_what_is_done(tmp_path: Path) -> None:
    text = "quarantine: [time.mjd]\nhold: [checksum.wrong]\nnote: [header.range]\n"
    policy = policy_for("LSSTCam", override=site_policy(tmp_path, text))
    findings = [found(code, "x") for code in ("time.mjd", "checksum.wrong", "header.range")]
    weighed = policy.weighed(findings)
    assert [each.severity for each in weighed] == [Severity.ERROR, Severity.WARNING, Severity.INFO]
    assert [each.sentence for each in weighed] == ["x"] * 3
    assert policy.worst(findings) is Action.QUARANTINE
    assert policy.worst(findings[1:]) is Action.HOLD
    assert policy.holds(findings) == (findings[1],)
    assert policy.worst([]) is None


@given(st.lists(st.sampled_from(sorted(CATALOGUE)), max_size=6))
def test_weighing_twice_is_weighing_once(codes: list[str]) -> None:
    policy = policy_for("LSSTCam")
    once = policy.weighed(found(code, "x") for code in codes)
    assert policy.weighed(once) == once


def test_a_code_of_another_package_is_dealt_with_by_its_severity() -> None:
    policy = policy_for("LSSTCam")
    assert policy.action(Finding("placement.failed", Severity.ERROR, "x")) is Action.QUARANTINE
    assert policy.action(Finding("sidecar.odd", Severity.WARNING, "x")) is Action.WARN


def test_a_code_counts_before_a_pattern_and_the_longer_pattern_first() -> None:
    file = PolicyFile(
        version=1, note=("*",), warn=("time.*",), hold=("time.mj*",), quarantine=("time.order",)
    )
    assert file.action("time.order") is Action.QUARANTINE
    assert file.action("time.mjd") is Action.HOLD
    assert file.action("time.unset") is Action.WARN
    assert file.action("header.range") is Action.NOTE
    assert PolicyFile(version=1).action("header.range") is None


def test_a_pattern_does_not_weaken_what_nothing_can_be_done_with(tmp_path: Path) -> None:
    policy = policy_for("LSSTCam", override=site_policy(tmp_path, "note: ['*']\n"))
    assert policy.action(found("translation.failed", "x")) is Action.QUARANTINE
    assert policy.action(found("header.registration", "x")) is Action.NOTE


# A site's own.


def test_a_site_lays_its_own_over_the_instrument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_policy(tmp_path, "quarantine: [header.null_block]\n", "LSSTCam.yaml")
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join(["/no/such/folder", str(tmp_path)]))
    null_block = found("header.null_block", "x")
    assert policy_for("LSSTCam").action(null_block) is Action.QUARANTINE
    assert policy_for("LATISS").action(null_block) is Action.HOLD
    named = site_policy(tmp_path, "warn: [header.null_block]\n", "other.yaml")
    assert policy_for("LSSTCam", override=named).action(null_block) is Action.WARN
    assert policy_for("LSSTCam").registration


def test_a_site_changes_a_limit_and_keeps_the_others(tmp_path: Path) -> None:
    path = site_policy(tmp_path, "limits: {null_cards: 0, mjd_s: 0.001}\n")
    policy = policy_for("LSSTCam", override=path)
    assert policy.limits.null_cards == 0
    assert policy.limits.pointing_arcmin == policy_for("LSSTCam").limits.pointing_arcmin
    codes = [
        each.code for each in header_findings(simulated_header() | {"RA": None}, policy=policy)
    ]
    assert codes == ["header.null_block"]


def test_a_site_allows_another_text(tmp_path: Path) -> None:
    header = simulated_header() | {"IMGTYPE": "SELFIE"}
    path = site_policy(tmp_path, "allowed: {IMGTYPE: [Selfie], TIMESYS: [TAI]}\n")
    assert "header.value" in [each.code for each in header_findings(header)]
    policy = policy_for("LSSTCam", override=path)
    assert "header.value" not in [each.code for each in header_findings(header, policy=policy)]


# A wrong file.


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("hold: []\nquarantin: [time.mjd]\n", 3, "unknown key quarantin"),
        ("limits:\n  null_cards: 3\n  airmas: 2\n", 4, "unknown key limits.airmas"),
        ("limits:\n  null_cards: many\n", 3, "limits.null_cards"),
        ("limits: {airmass: -1}\n", 2, "limits.airmass"),
        ("allowed:\n  VIGN_MIN:\n    - NO\n", 4, "allowed.VIGN_MIN.0"),
        ("site: {longitude_deg: 0, latitude_deg: 91, height_m: 0}\n", 2, "site.latitude_deg"),
        ("hold: [a]\nhold: [b]\n", 3, "hold stands twice, first in line 2"),
    ],
)
def test_a_fault_is_told_with_file_and_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = site_policy(tmp_path, text)
    sentence = refusal(path)
    assert f"{path}:{line}: " in sentence
    assert said in sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("warn: [time.mdj]\n", "no finding has the code 'time.mdj'"),
        ("warn: [tim.*]\n", "no finding has the code 'tim.*'"),
        ("warn: [time.mjd]\nhold: [time.mjd]\n", "decide for one"),
        ("note: [translation.failed]\n", "can only be below quarantine"),
    ],
)
def test_codes_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(site_policy(tmp_path, text))


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    assert "cannot be read" in refusal(path)
    path.write_text("a: [b\n")
    assert "no YAML" in refusal(path)
    forget_policies()
    path.write_bytes(b"\xff\xfe\xfd")
    assert "no YAML" in refusal(path)
    forget_policies()
    path.write_text("- a\n")
    assert str(path) in refusal(path)
    forget_policies()
    path.write_text("")
    assert "version" in refusal(path)


# Definitions of keywords.


def test_definitions_are_read_with_what_they_extend() -> None:
    rules = keywords.keyword_rules("LSSTCam")
    exposure = rules.keywords["EXPTIME"]
    assert (exposure.type, exposure.unit, exposure.low) == ("float", "s", 0.0)
    assert rules.keywords["RA"].unit == "deg"
    assert "CALIB LASER_WAVE" in rules.keywords
    assert {"ROTPA", "OBSID", "FILTER"} <= set(rules.required("OBJECT"))
    assert "ROTPA" not in set(rules.required("BIAS"))


def test_an_instrument_without_definitions_has_those_of_its_kin_or_none() -> None:
    assert keywords.keyword_rules("NoSuchCam", "LSSTCam") == keywords.keyword_rules("LSSTCam")
    assert not keywords.keyword_rules("NoSuchCam").keywords
