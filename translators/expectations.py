"""What is expected of a file beyond the FITS standard: its number of HDUs and its checksums.

A file cut exactly at the end of an HDU is a perfect FITS file with good
checksums; only who knows how many HDUs the instrument writes can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from translators.errors import UnknownDetectorError
from translators.findings import Finding, Severity
from translators.focalplane import detector_by_name
from translators.identity import ImageKind
from translators.inspection import CardValue, Hdu, Verdict
from translators.instruments import Instrument, instrument_of
from translators.policy import InspectionPolicy

_SHOWN = 8
"""How many HDUs a sentence names."""


def expectation_findings(
    hdus: Sequence[Hdu],
    primary: Mapping[str, CardValue],
    *,
    policy: InspectionPolicy,
    intact: bool,
) -> Iterator[Finding]:
    """Compare what was read with what is expected.

    Parameters
    ----------
    hdus
        As read.
    primary
        Cards of the primary header.
    policy
        How strict to be.
    intact
        Whether the structure is sound to the end of the file. Where it is not, the
        number of HDUs and the checksums of the last one say nothing new.
    """
    instrument = instrument_of(primary)
    if intact:
        yield from _count_findings(hdus, primary, instrument, policy)
    checked = hdus if intact else hdus[:-1]
    yield from _wrong_checksums(checked, instrument, policy)
    yield from _borrowed_checksums(checked)
    yield from _absent_checksums(checked, instrument, policy)


def expected_hdus(primary: Mapping[str, CardValue], instrument: Instrument) -> int | None:
    """Return how many HDUs an instrument writes into a file with this primary header.

    None where the header does not tell which kind of file it is.
    """
    rules = instrument.files
    if rules.stamps_card is not None and rules.stamps_card in primary:
        stamps = primary[rules.stamps_card]
        return 1 + stamps if isinstance(stamps, int) else None
    return rules.hdus.get(_kind(primary, instrument))


def _kind(primary: Mapping[str, CardValue], instrument: Instrument) -> ImageKind:
    try:
        name = f"{primary.get('RAFTBAY')}_{primary.get('CCDSLOT')}"
        return detector_by_name(instrument.name, name).kind
    except UnknownDetectorError:
        return ImageKind.SCIENCE


def _count_findings(
    hdus: Sequence[Hdu],
    primary: Mapping[str, CardValue],
    instrument: Instrument | None,
    policy: InspectionPolicy,
) -> Iterator[Finding]:
    expected = policy.expected_hdus
    if expected is None and instrument is not None:
        expected = expected_hdus(primary, instrument)
    if not hdus or expected is None or len(hdus) == expected:
        return
    last = hdus[-1].name or f"HDU {len(hdus) - 1}"
    if len(hdus) < expected:
        yield Finding(
            "structure.hdu_count",
            Severity.ERROR,
            f"the file ends after {len(hdus)} of {expected} HDUs, behind {last}, exactly at the "
            "end of an HDU: the rest is missing. Ask the camera for the file again",
        )
    else:
        yield Finding(
            "structure.hdu_count",
            Severity.WARNING,
            f"the file has {len(hdus)} HDUs and {expected} are expected; the last is {last}. If "
            "the camera writes more now, change `files` in the instrument's data",
        )


def _wrong_checksums(
    hdus: Sequence[Hdu], instrument: Instrument | None, policy: InspectionPolicy
) -> Iterator[Finding]:
    wrong = [hdu for hdu in hdus if Verdict.WRONG in {hdu.datasum, hdu.checksum}]
    if not wrong:
        return
    severity = policy.wrong_checksum
    if severity is None:
        severity = Severity.ERROR if instrument is None else instrument.files.wrong_checksum
    cards = [
        card
        for card, verdicts in (
            ("DATASUM", {hdu.datasum for hdu in wrong}),
            ("CHECKSUM", {hdu.checksum for hdu in wrong}),
        )
        if Verdict.WRONG in verdicts
    ]
    which = f"HDU {wrong[0].index} ({wrong[0].name or wrong[0].kind}): its"
    if len(wrong) > 1:
        which = f"{len(wrong)} of {len(hdus)} HDUs ({_listed(wrong)}): their"
    yield Finding(
        "checksum.wrong",
        severity,
        f"{which} bytes do not fit {' and '.join(cards)}; they were altered after the checksum "
        "was made. Ask the camera for the file again",
        wrong[0].index if len(wrong) == 1 else None,
    )


def _borrowed_checksums(hdus: Sequence[Hdu]) -> Iterator[Finding]:
    borrowed = [hdu for hdu in hdus if Verdict.BORROWED in {hdu.datasum, hdu.checksum}]
    if borrowed:
        yield Finding(
            "checksum.borrowed",
            Severity.WARNING,
            f"{len(borrowed)} of {len(hdus)} HDUs ({_listed(borrowed)}) carry the checksums of the "
            "image before compression (CHECKSUM and DATASUM equal ZHECKSUM and ZDATASUM); damage "
            "that happened before the file was hashed would not be noticed in them",
        )


def _listed(hdus: Sequence[Hdu]) -> str:
    more = f" and {len(hdus) - _SHOWN} more" if len(hdus) > _SHOWN else ""
    return f"HDU {', '.join(str(hdu.index) for hdu in hdus[:_SHOWN])}{more}"


def _absent_checksums(
    hdus: Sequence[Hdu], instrument: Instrument | None, policy: InspectionPolicy
) -> Iterator[Finding]:
    absent = [hdu for hdu in hdus if Verdict.ABSENT in {hdu.datasum, hdu.checksum}]
    if not absent:
        return
    written = instrument is not None and instrument.files.checksums
    severity = policy.absent_checksum or (Severity.WARNING if written else Severity.INFO)
    yield Finding(
        "checksum.absent",
        severity,
        f"{len(absent)} of {len(hdus)} HDUs carry no CHECKSUM or no DATASUM ({_listed(absent)}); "
        "damage that happened before the file was hashed would not be noticed in them",
    )
