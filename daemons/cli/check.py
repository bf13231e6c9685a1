"""`arriero check`: what is wrong with files and headers."""

from __future__ import annotations

import json
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import click

from daemons.cli.output import json_option, print_json, print_table
from daemons.cli.sources import Sources
from daemons.runtime.errors import ArrieroError, SettingsError, UsageError
from daemons.storage import StoreError
from translators.checks.catalogue import advice, found
from translators.checks.files import CheckedExposure, CheckedFile, check_exposures, check_file
from translators.checks.policy import PATH_VARIABLE, CheckPolicy, policy_for
from translators.checks.policy_file import Action
from translators.errors import InstrumentDataError, UnreadableFileError
from translators.findings import Finding

_LEVELS = {
    "warning": frozenset({Action.WARN, Action.HOLD, Action.QUARANTINE}),
    "error": frozenset({Action.HOLD, Action.QUARANTINE}),
}
"""What is done about the findings that count at each level of `--fail-on`."""
_FOUND, _CANNOT = 1, 2
_SENSOR_LIST = "_expectedSensors.json"
"""End of the name of a list of sensors, which the camera writes beside its files."""


class CannotCheckError(ArrieroError):
    """The command line, the configuration or a policy makes no sense."""

    code = "check.impossible"
    exit_code = _CANNOT


@click.command(
    epilog="Exit code: 0 no finding at the level of --fail-on; 1 at least one; 2 the command line, "
    "the configuration or the policy makes no sense, or a file could not be read (the others were "
    "checked all the same)."
)
@click.argument("names", metavar="FILE|URI|DIR...", nargs=-1, required=True)
@click.option("--pattern", help="Names to take in folders, such as '*_R22_*.fits'.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"A site's own policy, over the instrument's and those in ${PATH_VARIABLE}.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(_LEVELS)),
    default="error",
    show_default=True,
    help="Error: findings that quarantine a file or hold an exposure; warning: also those that "
    "only warn.",
)
@click.option("-v", "--verbose", is_flag=True, help="List also what is only noted.")
@json_option
@click.option("--json-lines", "as_lines", is_flag=True, help="Print a JSON object per line.")
@click.pass_obj
def check(
    path: Path | None, /, names: tuple[str, ...], pattern: str | None, fail_on: str, **options: Any
) -> int:
    """Check files: structure, checksums, names, values, times, pointing, translation.

    Takes FITS files (also within gzip), JSON sidecars, folders with all below them, and s3:// URIs
    of the configured stores (a prefix ends in a slash). Where several files are of one exposure,
    what their headers share must agree. docs/reference/findings.md explains each code.
    """
    if options["as_json"] and options["as_lines"]:
        raise CannotCheckError("--json and --json-lines exclude each other; give one")
    report = _Report(verbose=options["verbose"], as_lines=options["as_lines"])
    try:
        policy_for(None, override=options["policy"])
        with Sources(path) as sources:
            for file in _checked(sources, names, pattern, options["policy"]):
                report.take(file)
        report.finish()
    except (InstrumentDataError, SettingsError, UsageError) as error:
        raise CannotCheckError(str(error)) from error
    if options["as_json"]:
        print_json(report.as_json())
    elif not options["as_lines"]:
        report.print_text()
    return report.exit_code(_LEVELS[fail_on])


def _checked(
    sources: Sources, names: Iterable[str], pattern: str | None, override: Path | None
) -> Iterator[CheckedFile]:
    """Check what is named, one after the other; what cannot be read is a finding."""
    for name in names:
        try:
            for place in sources.find([name], pattern):
                if place == name or not place.endswith(_SENSOR_LIST):
                    yield _checked_place(sources, place, override)
        except (UnreadableFileError, StoreError, OSError) as error:
            yield _unreadable(name, error)


def _checked_place(sources: Sources, place: str, override: Path | None) -> CheckedFile:
    try:
        with ExitStack() as stack:
            path = Path(place)
            if place.startswith("s3://"):
                path = _fetched(sources, place, stack)
            return replace(check_file(path, source=place, override=override), inspection=None)
    except (InstrumentDataError, SettingsError, UsageError):
        raise
    except (StoreError, OSError) as error:
        return _unreadable(place, error)
    # Whatever a translator makes of one file, the others are checked.
    except Exception as error:  # noqa: BLE001 - see above; the traceback goes to standard error
        traceback.print_exception(error)
        sentence = f"{type(error).__name__}: {error}; this is a fault of arriero"
        return CheckedFile(place, (found("audit.failed", sentence),))


def _fetched(sources: Sources, place: str, stack: ExitStack) -> Path:
    """Put an object into a file of its name, for as long as the stack is open."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arriero-check-")))
    path = folder / PurePosixPath(place).name
    with sources.open(place) as content:
        path.write_bytes(content.read())
    return path


def _unreadable(name: str, error: Exception) -> CheckedFile:
    sentence = str(error) or type(error).__name__
    return CheckedFile(name, (found(UnreadableFileError.code, sentence),))


@dataclass(slots=True)
class _Report:
    """Collects what was found, and says it."""

    verbose: bool
    as_lines: bool
    rows: list[tuple[str, Action, Finding]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    actions: Counter[Action] = field(default_factory=Counter)
    images: list[CheckedFile] = field(default_factory=list)
    exposures: tuple[CheckedExposure, ...] = ()
    files: int = 0
    clean: int = 0
    unreadable: int = 0

    def take(self, file: CheckedFile) -> None:
        """Take one file."""
        self.files += 1
        self.unreadable += not file.readable
        self.clean += not file.findings
        identity = file.identity
        if identity is not None:
            self.images.append(file)
        self._add(
            file.source,
            file.policy,
            file.findings,
            {
                "kind": "file",
                "file": file.source,
                "instrument": None if identity is None else identity.instrument,
                "obs_id": None if identity is None else identity.obs_id,
                "detector": None if identity is None else identity.detector_name,
            },
        )

    def finish(self) -> None:
        """Compare the files of each exposure, and conclude."""
        self.exposures = check_exposures(self.images)
        for exposure in self.exposures:
            name = f"{exposure.instrument} {exposure.obs_id} ({exposure.files} files)"
            self._add(
                name,
                exposure.policy,
                exposure.findings,
                {
                    "kind": "exposure",
                    "instrument": exposure.instrument,
                    "obs_id": exposure.obs_id,
                    "files": exposure.files,
                },
            )
        if self.as_lines:
            _print_line(self.summary())

    def _add(
        self, name: str, policy: CheckPolicy, findings: Sequence[Finding], head: dict[str, Any]
    ) -> None:
        worst = policy.worst(findings)
        told = [_finding_as_json(finding, policy) for finding in findings]
        entry = head | {"action": None if worst is None else worst.value, "findings": told}
        for finding in findings:
            action = policy.action(finding)
            self.actions[action] += 1
            self.rows.append((name, action, finding))
        if self.as_lines:
            _print_line(entry)
        else:
            self.entries.append(entry)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of files, exposures and findings."""
        return {
            "kind": "summary",
            "files": self.files,
            "clean": self.clean,
            "unreadable": self.unreadable,
            "exposures": len(self.exposures),
            **{action.value: self.actions[action] for action in Action},
        }

    def as_json(self) -> dict[str, Any]:
        """Return everything as one document."""
        return {"results": self.entries, "summary": self.summary()}

    def print_text(self) -> None:
        """Print a table and the numbers."""
        print_table(
            ("file", "action", "code", "what"),
            (
                (name, action.value, finding.code, finding.sentence)
                for name, action, finding in self.rows
                if self.verbose or action is not Action.NOTE
            ),
            empty="nothing is wrong",
        )
        counted = ", ".join(f"{self.actions[action]} to {action.value}" for action in Action)
        click.echo(
            f"{self.files} files, {self.unreadable} unreadable, {len(self.exposures)} exposures "
            f"of several files; findings: {counted}"
        )

    def exit_code(self, level: frozenset[Action]) -> int:
        """Return what the shell is told."""
        if self.unreadable:
            return _CANNOT
        return _FOUND if any(self.actions[action] for action in level) else 0


def _finding_as_json(finding: Finding, policy: CheckPolicy) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "action": policy.action(finding).value,
        "sentence": finding.sentence,
        "advice": advice(finding.code),
        "hdu": finding.hdu,
    }


def _print_line(entry: dict[str, Any]) -> None:
    click.echo(json.dumps(entry))
