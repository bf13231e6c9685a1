"""Checks of the names in a header against the path and the instrument.

The file's own name, and OBSID against its parts, are checked by the translation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from translators.checks.catalogue import found
from translators.checks.subject import HeaderSubject, listed
from translators.errors import UnknownDetectorError
from translators.findings import Finding
from translators.focalplane import detector_by_name
from translators.imagename import parse_image_name

_OBS_ID = re.compile(r"[A-Z]{2}_[A-Z]_\d{8}_\d{6}")
_DAY = re.compile(r"20\d\d-?[01]\d-?[0-3]\d")
_VENDOR = re.compile(r"(ITL|E2V)")


def name_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Check names of exposure, camera and sensor."""
    yield from _path_findings(subject)
    yield from _card_findings(subject)
    yield from _sequence_findings(subject)
    yield from _camera_findings(subject)
    yield from _vendor_findings(subject)


def _path_findings(subject: HeaderSubject) -> Iterator[Finding]:
    if subject.path is None:
        return
    folders = subject.path.parent.parts
    obs_id, day_obs = subject.text("OBSID"), str(subject.header.get("DAYOBS", "")).replace("-", "")
    faults = []
    exposures = [folder for folder in folders if _OBS_ID.fullmatch(folder)]
    if obs_id is not None and exposures and exposures[-1] != obs_id:
        faults.append(f"the folder {exposures[-1]} is of another exposure than OBSID, {obs_id}")
    days = [folder for folder in folders if _DAY.fullmatch(folder)]
    if day_obs.isdecimal() and days and days[-1].replace("-", "") != day_obs:
        faults.append(f"the folder {days[-1]} is of another day than DAYOBS, {day_obs}")
    if faults:
        yield found("identity.path_disagrees", listed(faults))


def _card_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Compare FILENAME, which a writer may have copied from elsewhere, with the other cards."""
    named, obs_id = parse_image_name(subject.text("FILENAME") or ""), subject.text("OBSID")
    if named is None:
        return
    faults = []
    if obs_id is not None and named.obs_id != obs_id:
        faults.append(f"OBSID is {obs_id}")
    detector = f"{subject.text('RAFTBAY')}_{subject.text('CCDSLOT')}"
    if named.detector is not None and "None" not in detector and named.detector != detector:
        faults.append(f"RAFTBAY and CCDSLOT are {detector}")
    if faults:
        yield found(
            "identity.filename_card",
            f"FILENAME is {subject.header['FILENAME']}, and {' and '.join(faults)}",
        )


def _sequence_findings(subject: HeaderSubject) -> Iterator[Finding]:
    current, last = subject.number("CURINDEX"), subject.number("MAXINDEX")
    if current is not None and last is not None and current > last:
        yield found(
            "identity.sequence",
            f"CURINDEX is {current:g} of MAXINDEX, {last:g}; the group would end before it began",
        )


def _camera_findings(subject: HeaderSubject) -> Iterator[Finding]:
    if subject.instrument is None or not subject.instrument.camera_codes:
        return
    codes, faults = subject.instrument.camera_codes, []
    code, obs_id = subject.text("CAMCODE"), subject.text("OBSID")
    if code is not None and code not in codes:
        faults.append(f"CAMCODE is {code}")
    if obs_id is not None and _OBS_ID.fullmatch(obs_id) and obs_id[:2] not in codes:
        faults.append(f"OBSID is {obs_id}")
    if faults:
        yield found(
            "identity.camera_code",
            f"{listed(faults)}; the code of {subject.instrument.name} is {' or '.join(codes)}",
        )


def _vendor_findings(subject: HeaderSubject) -> Iterator[Finding]:
    raft, slot = subject.text("RAFTBAY"), subject.text("CCDSLOT")
    if subject.instrument is None or raft is None or slot is None:
        return
    try:
        detector = detector_by_name(subject.instrument.name, f"{raft}_{slot}")
    except UnknownDetectorError:
        return
    stands = _VENDOR.match(detector.physical_type)
    faults = []
    for card in ("LSST_NUM", "CCD_MANU"):
        named = _VENDOR.match((subject.text(card) or "").upper())
        if stands is not None and named is not None and named[1] != stands[1]:
            faults.append(f"{card} is {subject.header[card]}")
    if faults:
        yield found(
            "identity.sensor_vendor",
            f"{listed(faults)}, and the sensor in {detector.name} is made by {stands[1]}"
            if stands is not None
            else listed(faults),
        )
