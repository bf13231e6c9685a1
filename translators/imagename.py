"""Which image a file is, by its header, compared with its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from translators.cardtranslator import CardTranslator
from translators.errors import TranslationError, TranslatorsError, UnknownDetectorError
from translators.findings import Finding, Severity
from translators.focalplane import Detector, detector_by_name
from translators.identity import ImageIdentity
from translators.instruments import Instrument

_NAME = re.compile(
    r"(?P<obs_id>(?P<code>[A-Z]{2})_(?P<controller>[A-Z])_(?P<day>\d{8})_(?P<seq>\d{6}))"
    r"(?:_(?P<raft>R[0-9X]{2})_(?P<sensor>S[0-9GW]\d))?"
    r"(?P<guider>_guider)?"
    r"(?=[._]|$)"
)
_OBS_ID = re.compile(r"[A-Z]{2}_(?P<controller>[A-Z])_(?P<day>\d{8})_(?P<seq>\d{6})")


@dataclass(frozen=True, slots=True)
class ImageName:
    """What a file name says."""

    obs_id: str
    detector: str | None
    """Raft and sensor; None where the name has none."""
    guider: bool
    """Whether it is named as a file of guider stamps."""


def parse_image_name(file_name: str) -> ImageName | None:
    """Read a name such as `MC_O_20250501_000123_R22_S11.fits`; None where it is none."""
    match = _NAME.search(file_name)
    if match is None:
        return None
    detector = f"{match['raft']}_{match['sensor']}" if match["raft"] else None
    return ImageName(match["obs_id"], detector, match["guider"] is not None)


def identify(
    translator: CardTranslator, instrument: Instrument, *, file_name: str
) -> ImageIdentity:
    """Work out from a header which image it is of.

    Raises
    ------
    TranslationError
        Cards are missing or wrong; the message names all of them.
    """
    values: dict[str, Any] = {}
    faults = []
    for name in ("observation_id", "exposure_id", "observing_day", "detector_num"):
        try:
            values[name] = getattr(translator, f"to_{name}")()
        except (KeyError, TypeError, ValueError, OverflowError, TranslatorsError) as error:
            faults.append(f"{name} ({error})")
        else:
            if values[name] is None:
                faults.append(f"{name} (not defined)")
    if faults:
        raise TranslationError(
            f"{file_name}: the header does not tell which image this is: {'; '.join(faults)}"
        )
    detector = _detector(translator, instrument)
    stamps = instrument.files.stamps_card
    guider = stamps is not None and translator.is_key_ok(stamps)
    return ImageIdentity(
        instrument=instrument.name,
        obs_id=values["observation_id"],
        exposure_id=values["exposure_id"],
        day_obs=values["observing_day"],
        seq_num=translator.to_observation_counter(),
        detector=detector.id,
        detector_name=detector.name,
        kind=detector.kind,
        dataset_type="guider_raw" if guider else "raw",
        run=instrument.guider_run if guider else instrument.raw_run,
    )


def _detector(translator: CardTranslator, instrument: Instrument) -> Detector:
    return detector_by_name(instrument.name, translator.to_detector_unique_name())


def file_name_findings(
    identity: ImageIdentity,
    instrument: Instrument,
    header: Mapping[str, Any],
    *,
    file_name: str,
) -> Iterator[Finding]:
    """Compare a header with its file's name, and its OBSID with its other cards."""
    for what, in_header, in_name in _disagreements(identity, instrument, file_name):
        yield Finding(
            "identity.file_name_disagrees",
            Severity.ERROR,
            f"{file_name}: {what} is {in_header} by the header and {in_name} by the file's name; "
            "one of the two is another image's. Find out which",
        )
    yield from _obs_id_findings(identity, header, file_name)


def _disagreements(
    identity: ImageIdentity, instrument: Instrument, file_name: str
) -> Iterator[tuple[str, str, str]]:
    named = parse_image_name(file_name)
    if named is None:
        return
    if named.obs_id != identity.obs_id:
        yield "OBSID", identity.obs_id, named.obs_id
    if named.detector is not None:
        try:
            detector = detector_by_name(instrument.name, named.detector).name
        except UnknownDetectorError:
            detector = named.detector
        if detector != identity.detector_name:
            yield "the detector", identity.detector_name, named.detector
    if named.guider != (identity.dataset_type == "guider_raw"):
        kinds = {True: "a file of guider stamps", False: "a raw"}
        yield "the kind of file", kinds[not named.guider], kinds[named.guider]


def _obs_id_findings(
    identity: ImageIdentity, header: Mapping[str, Any], file_name: str
) -> Iterator[Finding]:
    """Compare OBSID with DAYOBS, SEQNUM and CONTRLLR, from which the exposure id is made."""
    match = _OBS_ID.fullmatch(identity.obs_id)
    if match is None:
        return
    controller = header.get("CONTRLLR") or match["controller"]
    by_cards = (identity.day_obs, identity.seq_num, controller)
    by_obs_id = (int(match["day"]), int(match["seq"]), match["controller"])
    if by_cards != by_obs_id:
        yield Finding(
            "identity.cards_disagree",
            Severity.ERROR,
            f"{file_name}: OBSID is {identity.obs_id}, but DAYOBS, SEQNUM and CONTRLLR are "
            f"{by_cards[0]}, {by_cards[1]} and {controller}; correct the header",
        )
