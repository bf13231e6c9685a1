"""Findings about what a header says, and about the headers of one exposure."""

from __future__ import annotations

from translators.checks.kinds import FindingKind, Subject
from translators.findings import Severity

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

KINDS = (
    FindingKind(
        "header.registration",
        Subject.TRANSLATION,
        _ERROR,
        "A card without which an image cannot be registered is absent or undefined.",
        "Correct the header, or add a correction for the exposure.",
    ),
    FindingKind(
        "header.missing",
        Subject.CARDS,
        _WARNING,
        "Cards that the instrument's keyword definitions require are absent or undefined.",
        "Look at the header service's report on this exposure; add a correction if it matters.",
    ),
    FindingKind(
        "header.null_block",
        Subject.CARDS,
        _WARNING,
        "Many required cards are undefined at once: the header service's values did not come.",
        "Compare with the other detectors of the exposure and fill the cards by a correction.",
    ),
    FindingKind(
        "header.type",
        Subject.CARDS,
        _WARNING,
        "A value is of another type than its definition says, such as text for a number.",
        "Correct the program that wrote it.",
    ),
    FindingKind(
        "header.range",
        Subject.CARDS,
        _WARNING,
        "A number is outside what can be true.",
        "Look at the device that it came from.",
    ),
    FindingKind(
        "header.unit",
        Subject.CARDS,
        _WARNING,
        "A number is out of range and plausible in another unit, or the comment of its card "
        "states another unit than the definition.",
        "Correct the unit where the value is written, and add a correction rule with its factor.",
    ),
    FindingKind(
        "header.value",
        Subject.CARDS,
        _WARNING,
        "A text is none of the allowed values.",
        "Correct the program that wrote it, or allow the value in the instrument's checks.yaml.",
    ),
    FindingKind(
        "header.impossible",
        Subject.CARDS,
        _WARNING,
        "A value cannot be a measurement: not a number, infinite, denormal, or airmass below 1.",
        "The value was never filled in; look at the device that it came from.",
    ),
    FindingKind(
        "header.idle_pointing",
        Subject.CARDS,
        Severity.INFO,
        "In an image that does not look at the sky the airmass is below 1, or coordinates are 0.",
        "Nothing; the telescope tracked nothing and its values mean nothing.",
    ),
    FindingKind(
        "time.unset",
        Subject.TIME,
        _WARNING,
        "A date is of 1970 or earlier: a clock that was never set.",
        "Set the clock; add a correction with the true time.",
    ),
    FindingKind(
        "time.unreadable",
        Subject.TIME,
        _WARNING,
        "A date card holds no date in ISO form.",
        "Correct the program that wrote it.",
    ),
    FindingKind(
        "time.order",
        Subject.TIME,
        _WARNING,
        "Begin and end are in the wrong order, or too near for the exposure time.",
        "Find out which of DATE-OBS, DATE-BEG, DATE-END and EXPTIME is wrong.",
    ),
    FindingKind(
        "time.shutter",
        Subject.TIME,
        _WARNING,
        "The shutter was open in a dark or bias, or for another time than the exposure's.",
        "Look at the shutter, or whether SHUTTIME is of an earlier exposure.",
    ),
    FindingKind(
        "time.mjd",
        Subject.TIME,
        _WARNING,
        "A date differs from the MJD of the same instant.",
        "A difference of 37 s is TAI taken for UTC. The translator uses MJD-BEG first.",
    ),
    FindingKind(
        "time.day_obs",
        Subject.TIME,
        _WARNING,
        "DAYOBS is not the observing day of the begin.",
        "Find out whether the clock or the day is wrong.",
    ),
    FindingKind(
        "physics.pointing",
        Subject.POINTING,
        _WARNING,
        "Right ascension and declination of the mount do not fit azimuth, elevation and time.",
        "Look for a stale value, a wrong unit or a wrong time scale.",
    ),
    FindingKind(
        "physics.target",
        Subject.POINTING,
        _WARNING,
        "The target is far from where the mount pointed.",
        "The target is probably that of an earlier exposure.",
    ),
    FindingKind(
        "physics.airmass",
        Subject.POINTING,
        _WARNING,
        "The airmass does not fit the elevation.",
        "Look for a stale value.",
    ),
    FindingKind(
        "physics.hour_angle",
        Subject.POINTING,
        _WARNING,
        "The hour angle does not fit right ascension and time.",
        "It is wanted in hours; look for degrees, or a stale value.",
    ),
    FindingKind(
        "physics.site",
        Subject.POINTING,
        _WARNING,
        "OBSGEO-X, -Y, -Z are not where the telescope stands.",
        "Look at the signs; Z is negative in the south.",
    ),
    FindingKind(
        "filter.unknown",
        Subject.FILTER,
        _WARNING,
        "The instrument has no filter of this name.",
        "Correct the name, or add the filter to instrument.yaml.",
    ),
    FindingKind(
        "filter.band",
        Subject.FILTER,
        _WARNING,
        "FILTBAND is not the band of FILTER.",
        "Find out which filter was in the beam.",
    ),
    FindingKind(
        "filter.slot",
        Subject.FILTER,
        _WARNING,
        "FILTSLOT is no slot, or not the one of FILTER.",
        "Find out which filter was in the beam.",
    ),
    FindingKind(
        "agreement.undefined",
        Subject.AGREEMENT,
        _WARNING,
        "Some detectors lack values that the others of the exposure have.",
        "Take the values from the others; find out why that writer got none.",
    ),
    FindingKind(
        "agreement.differs",
        Subject.AGREEMENT,
        _WARNING,
        "A card that the detectors of an exposure share is not the same for all.",
        "Look at the host that wrote the detectors that stand apart.",
    ),
    FindingKind(
        "agreement.detector_twice",
        Subject.AGREEMENT,
        _WARNING,
        "Two files say that they are the same detector of the same exposure.",
        "Find out which one is true.",
    ),
)
"""In the order of the reference page."""
