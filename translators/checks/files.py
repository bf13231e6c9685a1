"""Check files: FITS, gzip around it, or the JSON sidecar of a header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from translators.checks.agreement import agreement_findings
from translators.checks.catalogue import found
from translators.checks.headers import header_findings
from translators.checks.policy import DEFAULT, CheckPolicy, policy_for
from translators.errors import (
    InstrumentDataError,
    SidecarError,
    TranslationError,
    UnreadableFileError,
)
from translators.findings import Finding
from translators.fits.comments import card_units
from translators.identity import ImageIdentity
from translators.inspect import inspect_file
from translators.inspection import CardValue, Inspection
from translators.instruments import instrument_of
from translators.sidecar import header_from_sidecar
from translators.translate import DETECTOR_CARDS, translate

SIDECAR_SUFFIX = ".json"
_SIDECAR_MAX_BYTES = 1 << 20
"""No sidecar of a primary header is longer."""
_STRUCTURAL = frozenset({"SIMPLE", "BITPIX", "NAXIS", "EXTEND"})


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file and what was found."""

    source: str
    """Path or URI, as it was named."""
    findings: tuple[Finding, ...]
    """With the severities of the policy."""
    policy: CheckPolicy = DEFAULT
    header: Mapping[str, CardValue] = field(default_factory=dict)
    """The primary header as written; empty where it could not be read."""
    inspection: Inspection | None = None
    """None for a sidecar, and where the file could not be read."""
    identity: ImageIdentity | None = None
    """None where the header does not tell which image it is."""

    @property
    def readable(self) -> bool:
        """False where the file could not be opened or read at all."""
        return not any(finding.code == UnreadableFileError.code for finding in self.findings)


@dataclass(frozen=True, slots=True)
class CheckedExposure:
    """The files of one exposure against each other."""

    instrument: str
    obs_id: str
    files: int
    """How many were compared."""
    findings: tuple[Finding, ...]
    policy: CheckPolicy


def check_file(
    path: Path, *, source: str | None = None, override: Path | None = None
) -> CheckedFile:
    """Check a file: its structure and checksums, its header, its names, its translation.

    Parameters
    ----------
    path
        Where its bytes are. A name that ends in `.json` is a sidecar.
    source
        How it is called, such as the URI that it came from; its folders and its name
        are compared with the header. None: the path.
    override
        A site's own policy.

    Returns
    -------
    CheckedFile
        Whatever is wrong with the file is a finding.

    Raises
    ------
    InstrumentDataError
        A file below `config/instruments`, or the policy, is wrong.
    """
    source = str(path) if source is None else source
    try:
        if source.endswith(SIDECAR_SUFFIX):
            return _check_sidecar(path, source, override)
        inspection = inspect_file(path)
    except (UnreadableFileError, SidecarError) as error:
        return CheckedFile(source, (found(error.code, str(error)),))
    checked = check_header(
        inspection.primary,
        source=source,
        override=override,
        before=inspection.findings,
        units=card_units(inspection.header_block),
    )
    return replace(checked, inspection=inspection)


def check_header(
    header: Mapping[str, CardValue],
    *,
    source: str,
    override: Path | None = None,
    before: Iterable[Finding] = (),
    units: Mapping[str, str] | None = None,
) -> CheckedFile:
    """Check and translate a primary header.

    Parameters
    ----------
    header
        Its cards; not changed.
    source
        Path or URI of its file.
    override
        A site's own policy.
    before
        What was found about its file already.
    units
        Units that the comments of its cards state, by keyword; None where they are not known.

    Raises
    ------
    InstrumentDataError
        A file below `config/instruments`, or the policy, is wrong.
    """
    instrument = instrument_of(header)
    policy = policy_for(None if instrument is None else instrument.name, override=override)
    findings, identity = [*before], None
    if header:
        try:
            translation = translate(header, file_name=PurePosixPath(source).name)
        except InstrumentDataError:
            raise
        except TranslationError as error:
            findings.append(found(error.code, str(error)))
        else:
            identity = translation.identity
            findings += translation.findings
        findings += header_findings(header, path=source, policy=policy, units=units)
    return CheckedFile(source, policy.weighed(findings), policy, header, identity=identity)


def _check_sidecar(path: Path, source: str, override: Path | None) -> CheckedFile:
    try:
        if path.stat().st_size > _SIDECAR_MAX_BYTES:
            raise SidecarError("the file is longer than the sidecar of a header can be")
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error.strerror}") from error
    return check_header(header_from_sidecar(content), source=source, override=override)


def check_exposures(files: Iterable[CheckedFile]) -> tuple[CheckedExposure, ...]:
    """Compare the files of each exposure of which there is more than one.

    Parameters
    ----------
    files
        As `check_file` returned them. Guider stamps, and files of which nobody knows
        which image they are, are left out.
    """
    exposures: dict[tuple[str, str], list[CheckedFile]] = {}
    for file in files:
        if file.identity is not None and file.identity.dataset_type == "raw":
            key = file.identity.instrument, file.identity.obs_id
            exposures.setdefault(key, []).append(file)
    return tuple(
        _check_exposure(instrument, obs_id, members)
        for (instrument, obs_id), members in exposures.items()
        if len(members) > 1
    )


def _check_exposure(instrument: str, obs_id: str, files: list[CheckedFile]) -> CheckedExposure:
    policy = files[0].policy
    headers = [
        (file.identity.detector_name, file.header) for file in files if file.identity is not None
    ]
    findings = agreement_findings(headers, own=DETECTOR_CARDS | _STRUCTURAL | policy.per_detector)
    return CheckedExposure(instrument, obs_id, len(files), policy.weighed(findings), policy)
