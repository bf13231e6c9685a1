"""The reference page of findings, generated from their catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemons.runtime.settings_fields import models
from translators.checks.catalogue import CATALOGUE
from translators.checks.kinds import FindingKind, Subject
from translators.checks.policy import DEFAULT, PATH_VARIABLE
from translators.checks.policy_file import Action, Limits, PolicyFile
from translators.findings import Finding

_HEAD = """\
# Findings

<!-- Generated from the catalogue of findings by `make schemas`; do not edit. -->

What `arriero check`, the forwarder and an audit find wrong with files and headers. Codes are
stable. A finding has a *severity* by what is wrong, and the *policy* of the instrument says what
is done about it:

"""
_POLICY = f"""
Without a policy an error quarantines, a warning warns, an information is noted. The policy of an
instrument is `config/instruments/NAME/checks.yaml`; a site lays its own over it with `NAME.yaml` in
a folder of `${PATH_VARIABLE}`, or with `arriero check --policy FILE`. Within a file a code counts
before a pattern such as `time.*`, and a longer pattern before a shorter one. A finding marked
*final* always quarantines: with it nothing can be done with the file. Unknown keys and codes are
refused with file and line.

`arriero check` ends with 0 where nothing is found at the level of `--fail-on`, with 1 where
something is, and with 2 where the command line or a policy makes no sense or a file cannot be
read. The level `error` counts what quarantines or holds, `warning` also what warns.

## The policy file

"""


def findings_page() -> str:
    """Return the reference page."""
    return "".join([_HEAD, *_actions(), _POLICY, *_keys(), *_catalogue()])


def _actions() -> Iterator[str]:
    told = {
        Action.QUARANTINE: "the file is set aside until a person decides",
        Action.HOLD: "the file is stored; its exposure is held back until a person decides",
        Action.WARN: "the file is used; somebody should look",
        Action.NOTE: "it is written down",
    }
    for action, sentence in told.items():
        yield f"* `{action.value}`: {sentence}.\n"


def _keys() -> Iterator[str]:
    for name, declared in PolicyFile.model_fields.items():
        if name != "limits":
            yield f"`{name}`\n: {' '.join((declared.description or '').split())}\n\n"
            yield from _nested(name, declared.annotation)
    yield "How far values may be apart, with the defaults:\n\n"
    for name, declared in Limits.model_fields.items():
        default = getattr(DEFAULT.limits, name)
        sentence = " ".join((declared.description or "").split())
        yield f"`limits.{name}` (default `{default:g}`)\n: {sentence}\n\n"


def _nested(name: str, annotation: Any) -> Iterator[str]:
    for model in models(annotation):
        for key, declared in model.model_fields.items():
            sentence = " ".join((declared.description or "").split())
            yield f"`{name}.{key}`\n: {sentence}\n\n"


def _catalogue() -> Iterator[str]:
    for subject in Subject:
        yield f"## {subject.value}\n\n"
        for kind in CATALOGUE.values():
            if kind.subject is subject:
                yield _entry(kind)


def _entry(kind: FindingKind) -> str:
    severities = ", ".join(severity.value for severity in (kind.severity, *kind.also))
    action = DEFAULT.action(Finding(kind.code, kind.severity, "")).value
    marks = f"{severities}; {action}" + (", *final*" if kind.final else "")
    return f"`{kind.code}` ({marks})\n: {kind.sentence} {kind.advice}\n\n"
