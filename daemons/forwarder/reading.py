"""One read of a file, and what follows from it: fit to send, not whole yet, or to set aside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daemons.forwarder.errors import (
    DecisionRefusedError,
    FileChangedError,
    FileGoneError,
    PlacementError,
)
from daemons.forwarder.model import FileIdentity, JournalEntry, Reason, blocking, shown
from daemons.forwarder.placing import place, run_of
from daemons.forwarder.scan import refuse
from daemons.forwarder.settings import ForwarderSettings
from translators.checks.headers import header_findings
from translators.checks.policy import policy_for
from translators.errors import SidecarError, TranslatorsError, UnreadableFileError
from translators.findings import Finding, Severity
from translators.fits.comments import card_units
from translators.inspect import inspect_file
from translators.inspection import Inspection
from translators.sidecar import header_from_sidecar, sidecar_bytes
from translators.translate import Translation, translate

UNFINISHED = frozenset(
    {
        "structure.truncated",
        "structure.hdu_count",
        "file.empty",
        "file.changed",
        "gzip.broken",
        str(Reason.UNREADABLE),
    }
)
"""Findings that a file has while its writer is still at it; time may mend them."""

_SUFFIX = re.compile(rb"(?<=.)(\.(fits|fit|fts)(\.fz|\.gz)?|\.[^.]*)$")
_SIDECAR_MAX_BYTES = 1 << 20
"""No sidecar of a primary header is longer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One read of an image."""

    identity: FileIdentity
    """Of the file that was read."""
    inspection: Inspection | None
    """None where it could not be read."""
    translation: Translation | None
    """None where the header does not tell what the image is."""
    object_key: str | None
    """None where it cannot be placed."""
    findings: tuple[Finding, ...]
    """Of all steps, weighed by the instrument's policy."""
    sidecar: bytes | None = None
    holds: tuple[str, ...] = ()
    """Codes of findings for which the exposure is held back."""

    @property
    def sha256(self) -> str | None:
        """Digest of the file; None where it could not be read."""
        return None if self.inspection is None else self.inspection.sha256


@dataclass(frozen=True, slots=True)
class Fit:
    """The file can be sent."""

    inspection: Inspection
    translation: Translation
    object_key: str
    sidecar: bytes | None
    findings: tuple[Finding, ...]
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The file is not whole, or not yet."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Unfit:
    """The file must be set aside."""

    findings: tuple[Finding, ...]


def judge(
    reading: Reading, *, waived: tuple[str, ...], witnessed: bool
) -> Fit | Unfinished | Unfit:
    """Decide what to do with a file that was read.

    Whatever is wrong with a file whose writer was not seen to finish may be
    because it has not finished.
    """
    against = blocking(reading.findings, waived)
    parts = (reading.inspection, reading.translation, reading.object_key)
    if against:
        unfinished = not witnessed or any(finding.code in UNFINISHED for finding in against)
        return Unfinished(against) if unfinished else Unfit(against)
    inspection, translation, object_key = parts
    if inspection is None or translation is None or object_key is None:
        # A waiver cannot make up for what is not known.
        return Unfit(blocking(reading.findings, ()))
    return Fit(
        inspection, translation, object_key, reading.sidecar, reading.findings, reading.holds
    )


def read_image(entry: JournalEntry, settings: ForwarderSettings) -> Reading:
    """Inspect, translate and place a file. Blocks, so it belongs in a thread.

    Raises
    ------
    FileGoneError
        It is no longer there.
    FileChangedError
        It is another file than the journal's, or was written to meanwhile.
    """
    before = check_unchanged(entry)
    path = Path(os.fsdecode(entry.location))
    try:
        inspection = inspect_file(path)
    except UnreadableFileError as error:
        check_unchanged(entry)
        finding = Finding(str(Reason.UNREADABLE), Severity.ERROR, str(error))
        return Reading(before, None, None, None, (finding,))
    check_unchanged(entry)
    return _understand(entry, before, inspection, settings)


def companion(entry: JournalEntry, suffixes: tuple[str, ...]) -> bytes | None:
    """Return the file beside an image that says that somebody still works on it. Blocks.

    That is its name with one of the suffixes behind it, or its name without the suffix
    that it has itself.
    """
    for suffix in map(os.fsencode, suffixes):
        names = [entry.location + suffix]
        if entry.location.endswith(suffix):
            names.append(entry.location.removesuffix(suffix))
        for name in names:
            if os.path.lexists(name):
                return name
    return None


def identity_now(entry: JournalEntry) -> FileIdentity:
    """Return the identity of what is at a file's place now. Blocks.

    Raises
    ------
    DecisionRefusedError
        There is nothing.
    """
    try:
        return FileIdentity.from_stat(os.lstat(entry.location))
    except FileNotFoundError as error:
        raise DecisionRefusedError(
            f"{shown(entry.location)} is no longer there; it can only be rejected"
        ) from error


def check_unchanged(entry: JournalEntry) -> FileIdentity:
    """Return the file's identity, or raise where it is not the one that the journal knows."""
    try:
        status = os.lstat(entry.location)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileGoneError(f"{shown(entry.location)} is no longer there") from error
    if refuse(entry.location, status) is not None:
        raise FileGoneError(f"{shown(entry.location)} is no longer a regular file")
    identity = FileIdentity.from_stat(status)
    if identity != entry.identity:
        raise FileChangedError(f"{shown(entry.location)} was written to or replaced")
    return identity


def _understand(
    entry: JournalEntry, identity: FileIdentity, inspection: Inspection, settings: ForwarderSettings
) -> Reading:
    findings = list(inspection.findings)
    translation: Translation | None = None
    object_key: str | None = None
    if inspection.primary:
        try:
            translation = translate(inspection.primary, file_name=shown(entry.file_name))
        except TranslatorsError as error:
            findings.append(Finding(error.code, Severity.ERROR, str(error)))
    if translation is not None:
        image = translation.identity
        image = replace(image, run=run_of(settings.run_templates, image))
        translation = replace(translation, identity=image)
        findings.extend(translation.findings)
        try:
            object_key = place(settings.key_template, image, entry.file_name)
        except PlacementError as error:
            findings.append(Finding(error.code, Severity.ERROR, str(error)))
    sidecar, more = _sidecar(entry, inspection, settings)
    findings.extend(more)
    name = None if translation is None else translation.identity.instrument
    policy = policy_for(name, override=settings.checks)
    if inspection.primary:
        findings.extend(
            header_findings(
                inspection.primary,
                path=shown(entry.path),
                policy=policy,
                units=card_units(inspection.header_block),
            )
        )
    return Reading(
        identity,
        inspection,
        translation,
        object_key,
        policy.weighed(findings),
        sidecar,
        tuple(finding.code for finding in policy.holds(findings)),
    )


def _sidecar(
    entry: JournalEntry, inspection: Inspection, settings: ForwarderSettings
) -> tuple[bytes | None, list[Finding]]:
    """Return the sidecar to store, and what is wrong with the camera's own."""
    if settings.sidecar == "none":
        return None, []
    if settings.sidecar == "camera":
        own, findings = _camera_sidecar(entry, inspection.primary)
        if own is not None:
            return own, findings
        return sidecar_bytes(inspection.primary), findings
    return sidecar_bytes(inspection.primary), []


def _camera_sidecar(
    entry: JournalEntry, header: Mapping[str, Any]
) -> tuple[bytes | None, list[Finding]]:
    path = sidecar_name(entry.path)
    try:
        return _checked_sidecar(path, header), []
    except FileNotFoundError:
        return None, []
    except (OSError, SidecarError) as error:
        sentence = (
            f"the camera's sidecar {shown(path)} is not used: {error}; one is made from the "
            "primary header"
        )
        return None, [Finding("sidecar.invalid", Severity.WARNING, sentence)]


def _checked_sidecar(path: bytes, header: Mapping[str, Any]) -> bytes:
    status = os.lstat(path)
    if refuse(path, status) is not None or status.st_size > _SIDECAR_MAX_BYTES:
        raise SidecarError("it is no regular file, or longer than a header can be")
    content = Path(os.fsdecode(path)).read_bytes()
    named = header_from_sidecar(content).get("OBSID")
    if named != header.get("OBSID"):
        raise SidecarError(f"its OBSID is {named}, the image's {header.get('OBSID')}")
    return content


def sidecar_name(path: bytes) -> bytes:
    """Return the path of an image's sidecar: `.json` in place of `.fits`, `.fits.fz` and so on."""
    folder, slash, name = path.rpartition(b"/")
    return folder + slash + _SUFFIX.sub(b"", name) + b".json"


@dataclass(frozen=True, slots=True)
class SensorList:
    """A list of expected sensors."""

    obs_id: str
    detectors: frozenset[str]
    """Names such as `R22_S11`, of the whole exposure."""
    content: bytes


def read_sensor_list(entry: JournalEntry) -> SensorList | Finding:
    """Read a list of expected sensors; a finding where it is none. Blocks.

    Raises
    ------
    FileChangedError
        It is gone or another file than the journal's.
    """
    check_unchanged(entry)
    try:
        content = Path(os.fsdecode(entry.location)).read_bytes()
        obs_id, detectors = _expected(json.loads(content))
    except (OSError, ValueError) as error:
        return Finding(
            "attachment.invalid",
            Severity.ERROR,
            f"{shown(entry.path)} is no list of expected sensors: {error}; ask the camera for it "
            "again",
        )
    check_unchanged(entry)
    return SensorList(obs_id, detectors, content)


def _expected(found: Any) -> tuple[str, frozenset[str]]:
    obs_id = found.get("obsId") if isinstance(found, dict) else None
    sensors = found.get("expectedSensors") if isinstance(found, dict) else None
    if isinstance(obs_id, str) and isinstance(sensors, dict):
        return obs_id, frozenset(sensors)
    raise ValueError("it needs `obsId`, a text, and `expectedSensors`, an object")
