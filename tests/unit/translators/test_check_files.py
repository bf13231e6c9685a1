"""Checking whole files: FITS, gzip, sidecars, and what is none."""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemons.simulators.header_document import HeaderDocument
from daemons.simulators.night import ImageType
from tests.support.simulated_headers import image_of, simulated_file, simulated_header
from translators.checks.files import check_file, check_header
from translators.checks.policy_file import Action
from translators.errors import InstrumentDataError
from translators.findings import Finding, Severity
from translators.sidecar import sidecar_bytes

KINDS = [
    ("R22_S11", ImageType.OBJECT),
    ("R44_SW0", ImageType.OBJECT),
    ("R04_SG1", ImageType.OBJECT),
    ("R01_S20", ImageType.BIAS),
    ("R10_S12", ImageType.FLAT),
]


def codes(path: Path, **options: Any) -> list[str]:
    return [finding.code for finding in check_file(path, **options).findings]


@pytest.mark.parametrize(("sensor", "kind"), KINDS)
def test_nothing_is_wrong_with_a_simulated_file(
    tmp_path: Path, sensor: str, kind: ImageType
) -> None:
    checked = check_file(simulated_file(tmp_path, kind, sensor))
    assert checked.findings == ()
    assert checked.readable
    assert checked.identity is not None
    assert checked.identity.detector_name == sensor


def test_a_simulated_file_without_a_header_service_is_stored_all_the_same(tmp_path: Path) -> None:
    path = simulated_file(tmp_path, header=HeaderDocument())
    checked = check_file(path)
    assert "header.null_block" in [each.code for each in checked.findings]
    assert checked.policy.worst(checked.findings) is Action.HOLD
    assert not [each for each in checked.findings if each.severity is Severity.ERROR]


def test_the_network_is_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a check wants the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert codes(simulated_file(tmp_path)) == []


def test_findings_of_structure_header_and_name_come_together(tmp_path: Path) -> None:
    path = simulated_file(tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(b"AMSTART =")
    content[place : place + 80] = b"AMSTART =                  0.0".ljust(80)
    wrong = tmp_path / path.name.replace("R22_S11", "R22_S12")
    wrong.write_bytes(content[:-1000])
    found = codes(wrong)
    assert {"structure.truncated", "checksum.wrong", "header.impossible"} <= set(found)
    assert "identity.file_name_disagrees" in found


def test_gzip_is_looked_through(tmp_path: Path) -> None:
    plain = simulated_file(tmp_path)
    wrapped = plain.with_name(f"{plain.name}.gz")
    wrapped.write_bytes(gzip.compress(plain.read_bytes(), 1))
    assert codes(wrapped) == []


def test_a_sidecar_is_checked_as_the_header_that_it_holds(tmp_path: Path) -> None:
    header = simulated_header() | {"AMSTART": 0.0}
    path = tmp_path / f"{image_of(ImageType.OBJECT).obs_id}_R22_S11.json"
    path.write_bytes(sidecar_bytes(header))
    assert codes(path) == ["header.impossible"]
    other = path.with_name(path.name.replace("R22_S11", "R22_S12"))
    other.write_bytes(sidecar_bytes(header))
    assert codes(other) == ["identity.file_name_disagrees", "header.impossible"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no json", "sidecar.invalid"),
        (b"[1, 2]", "sidecar.invalid"),
        (json.dumps({"__CONTENT__": "translated"}).encode(), "sidecar.invalid"),
        (b" " * (1 << 21), "sidecar.invalid"),
    ],
)
def test_a_json_file_that_is_no_sidecar_is_told(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "MC_O_20261103_000016_R22_S11.json"
    path.write_bytes(content)
    assert codes(path) == [code]


@pytest.mark.parametrize("name", ["gone.fits", "gone.json"])
def test_a_file_that_is_not_there_is_a_finding(tmp_path: Path, name: str) -> None:
    checked = check_file(tmp_path / name)
    assert [each.code for each in checked.findings] == ["file.unreadable"]
    assert not checked.readable


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert codes(tmp_path) == ["file.unreadable"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "file.empty"), (b"PNG" * 2000, "structure.not_fits")]
)
def test_what_is_no_fits_file_is_told_and_nothing_else(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    assert codes(path) == [code]


def test_a_header_of_no_instrument_is_told() -> None:
    checked = check_header({"SIMPLE": True, "INSTRUME": "NoSuchCam"}, source="x.fits")
    assert [each.code for each in checked.findings] == ["translation.unknown_instrument"]
    assert checked.identity is None


def test_a_header_that_does_not_tell_what_it_is_of_is_told_with_its_cards() -> None:
    header = simulated_header() | {"SEQNUM": None}
    checked = check_header(header, source="x.fits")
    found = [each.code for each in checked.findings]
    assert found[:2] == ["translation.failed", "header.registration"]
    assert all(each.severity is Severity.ERROR for each in checked.findings[:2])


KEYWORDS = st.sampled_from(sorted(simulated_header()))
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(changed=st.dictionaries(KEYWORDS, VALUES, max_size=8), name=st.text(max_size=12))
def test_any_header_under_any_name_is_checked(changed: dict[str, Any], name: str) -> None:
    checked = check_header(simulated_header() | changed, source=name)
    assert all(isinstance(each, Finding) for each in checked.findings)


def test_the_name_of_the_source_counts_and_not_where_its_bytes_are(tmp_path: Path) -> None:
    path = simulated_file(tmp_path)
    elsewhere = tmp_path / "download"
    path.rename(elsewhere)
    obs_id = image_of(ImageType.OBJECT).obs_id
    uri = f"s3://raw/LSSTCam/20261103/{obs_id}/{obs_id}_R22_S11.fits"
    assert codes(elsewhere, source=uri) == []
    assert codes(elsewhere, source=uri.replace("/20261103/", "/20261104/")) == [
        "identity.path_disagrees"
    ]


def test_a_policy_that_is_wrong_stops_the_check(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 2\n")
    with pytest.raises(InstrumentDataError, match=r"policy\.yaml:1"):
        check_file(simulated_file(tmp_path), override=policy)
