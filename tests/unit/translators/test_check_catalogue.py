"""The catalogue of findings against the sources that raise them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import translators
from daemons.cli.findings_page import findings_page
from translators import errors
from translators.checks import kinds_file, kinds_header
from translators.checks.catalogue import CATALOGUE, advice, found, kind_of
from translators.checks.kinds import FindingKind
from translators.findings import Severity

_ROOT = Path(translators.__file__).parent
_MAKERS = frozenset({"Finding", "found", "_find"})
_NO_FINDINGS = frozenset({errors.TranslatorsError.code, errors.InstrumentDataError.code})
"""Errors of the installation, which are no findings about a file."""
_CODE = re.compile(r"[a-z0-9]+(\.[a-z0-9_]+)+")


class Raised(NamedTuple):
    """One place in the sources that makes a finding."""

    code: str
    severity: Severity | None
    place: str


def _raised() -> Iterator[Raised]:
    for path in sorted(_ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name(node.func) in _MAKERS:
                yield from _made(node, f"{path.relative_to(_ROOT)}:{node.lineno}")
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.TranslatorsError):
            yield Raised(error.code, None, error.__name__)


def _made(call: ast.Call, place: str) -> Iterator[Raised]:
    severities = [
        Severity[node.attr]
        for node in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(node, ast.Attribute) and _name(node.value) == "Severity"
    ]
    for node in ast.walk(call.args[0]) if call.args else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Raised(node.value, severities[0] if severities else None, place)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


RAISED = [each for each in _raised() if each.code not in _NO_FINDINGS]


def _pairs() -> set[str]:
    """Codes that stand in a table beside what they say and are raised from there."""
    source = (_ROOT / "checks" / "cards.py").read_text()
    return {code for code in CATALOGUE if f'("{code}", ' in source}


def test_no_code_is_raised_that_the_catalogue_lacks() -> None:
    unknown = {f"{each.code} in {each.place}" for each in RAISED if each.code not in CATALOGUE}
    assert not unknown, "add these to translators/checks/kinds_file.py or kinds_header.py"


def test_no_code_is_in_the_catalogue_that_nothing_raises() -> None:
    assert set(CATALOGUE) - {each.code for each in RAISED} - _pairs() == set()


def test_a_finding_has_a_severity_that_the_catalogue_knows() -> None:
    wrong = {
        f"{each.code} {each.severity} in {each.place}"
        for each in RAISED
        if each.severity is not None
        and each.code in CATALOGUE
        and each.severity not in {CATALOGUE[each.code].severity, *CATALOGUE[each.code].also}
    }
    assert not wrong


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.code)
def test_an_entry_says_what_is_wrong_and_what_to_do(kind: FindingKind) -> None:
    assert _CODE.fullmatch(kind.code)
    for text in (kind.sentence, kind.advice):
        assert text.endswith(".")
        assert text[0].isupper()
    assert not kind.final or kind.severity is Severity.ERROR


def test_no_code_stands_twice() -> None:
    assert len(CATALOGUE) == len(kinds_file.KINDS) + len(kinds_header.KINDS)


def test_a_finding_takes_its_severity_from_the_catalogue_unless_told() -> None:
    assert found("time.mjd", "x").severity is Severity.WARNING
    assert found("time.mjd", "x", severity=Severity.INFO).severity is Severity.INFO
    with pytest.raises(KeyError):
        found("no.such", "x")


def test_a_code_of_another_package_has_no_advice() -> None:
    assert kind_of("exposure.no_start") is None
    assert advice("exposure.no_start") == ""
    assert advice("file.empty").startswith("Ask the camera")


def test_the_page_explains_every_code_once() -> None:
    page = findings_page()
    for kind in CATALOGUE.values():
        assert page.count(f"\n`{kind.code}` (") == 1
        assert kind.advice in page
