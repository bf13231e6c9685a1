"""Translate a header: what image is this, and what does its observation look like.

`translate` is for the summit, where every file passes; `observation_info` is for
who receives a translated record.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import ObservationInfo, fix_header

from translators.corrections import applied_rules
from translators.errors import TranslationError, UnknownInstrumentError
from translators.findings import Finding, Severity
from translators.identity import ImageIdentity
from translators.imagename import file_name_findings, identify
from translators.inspection import CardValue
from translators.instruments import instrument_names, instrument_of
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.properties import Observation, read_observation

DETECTOR_CARDS = frozenset(
    {
        *("RAFTBAY", "CCDSLOT", "LSST_NUM", "DETSIZE", "FILENAME"),
        *("CCD_MANU", "CCD_TYPE", "CCD_SERN", "CCDTEMP", "TEMP_SET"),
        *("CONTNUM", "FIRMWARE", "REBNAME", "RAFTNAME"),
        *("SEQFILE", "SEQNAME", "SEQCKSUM", "CHECKSUM", "DATASUM"),
        *("OVERH", "OVERV", "PREH", "DATE", "MJD"),
    }
)
"""Cards that differ between the files of an exposure. No property of an exposure may be
made from one of them, but for whether DATE is DATE-OBS."""

_FIXED = "HIERARCH ASTRO METADATA FIX MODIFIED"
"""By this card astro-metadata-translator knows a header that was corrected already."""

_FILE_CARDS = DETECTOR_CARDS | {
    f"HIERARCH ASTRO METADATA FIX {what}" for what in ("MODIFIED", "DATE", "FILE", "VERSION")
}
"""Those, and what astro-metadata-translator notes in a header, the time of the fix among it."""
_REMEMBERED = 8
"""How many exposures are remembered: files of a few exposures arrive interleaved."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a header says."""

    identity: ImageIdentity
    observation: Mapping[str, Any] | None
    """`ObservationInfo.to_simple()` of what a Butler registration needs, as plain JSON;
    None for a file of guider stamps, whose header describes no exposure."""
    translator: str
    """Registered name of the translator."""
    translator_version: str
    findings: tuple[Finding, ...]


def translate(header: Mapping[str, CardValue], *, file_name: str) -> Translation:
    """Translate the primary header of an image.

    Parameters
    ----------
    header
        Cards as `Inspection.primary` has them; not changed.
    file_name
        The file's name; header and name are compared and a disagreement is a finding.

    Raises
    ------
    UnknownInstrumentError
        No instrument recognises the header.
    TranslationError
        The header does not tell what the image is; the message names the cards.
    """
    instrument = instrument_of(header)
    if instrument is None:
        raise UnknownInstrumentError(
            f"{file_name}: no instrument recognises this header (INSTRUME is "
            f"{header.get('INSTRUME')!r}, TELESCOP {header.get('TELESCOP')!r}); known are "
            f"{', '.join(instrument_names())}"
        )
    translator_class = TRANSLATORS.get(instrument.name)
    if translator_class is None:
        raise UnknownInstrumentError(
            f"{file_name}: {instrument.name} has a data file but no translator class; add it to "
            "translators/plugin.py"
        )
    fixed: dict[str, Any] = dict(header)
    if _FIXED.removeprefix("HIERARCH ") in fixed:
        # A corrected copy. In a header read from a file the card has lost its prefix.
        fixed[_FIXED] = True
    fix_header(fixed, translator_class=translator_class)
    identity = identify(translator_class(fixed), instrument, file_name=file_name)
    observation = None
    if identity.dataset_type == "raw":
        observation = _exposures.observation(translator_class, fixed, file_name=file_name)
    findings = (
        *file_name_findings(identity, instrument, fixed, file_name=file_name),
        *_correction_findings(fixed, file_name),
    )
    return Translation(
        identity=identity,
        observation=None if observation is None else observation.record(identity.detector),
        translator=str(translator_class.name),
        translator_version=translator_class.translator_version(),
        findings=findings + (() if observation is None else observation.findings),
    )


def _correction_findings(fixed: Mapping[str, Any], file_name: str) -> Iterator[Finding]:
    """Say which known faults were corrected."""
    rules = applied_rules(fixed)
    if rules:
        yield Finding(
            "header.corrected",
            Severity.INFO,
            f"{file_name}: known faults of the header were corrected for the translation, by the "
            f"rules {', '.join(rules)}; the file is as it was",
        )


class _Exposures:
    """Remembers the observation of the last exposures: it is the same for 205 detectors.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[type, Any], tuple[dict[str, Any], Observation]] = (
            OrderedDict()
        )

    def observation(
        self, translator_class: type, header: Mapping[str, Any], *, file_name: str
    ) -> Observation:
        """Return the observation of a header, translated anew unless every card is the same."""
        shared = dict(header)
        for keyword in _FILE_CARDS:
            shared.pop(keyword, None)
        shared["DATE"] = header.get("DATE") == header.get("DATE-OBS")
        key = (translator_class, header.get("OBSID"))
        with self._lock:
            known = self._known.get(key)
        if known is not None and known[0] == shared:
            return known[1]
        with offline():
            observation = read_observation(translator_class(header), file_name=file_name)
        with self._lock:
            self._known[key] = (shared, observation)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return observation


_exposures = _Exposures()


def observation_info(record: Translation | Mapping[str, Any]) -> ObservationInfo:
    """Return the observation as astro-metadata-translator's class.

    Parameters
    ----------
    record
        A translation, or the record that came with an event.

    Raises
    ------
    TranslationError
        There is no record, or it is none.
    """
    simple = record.observation if isinstance(record, Translation) else record
    if simple is None:
        raise TranslationError("the file holds guider stamps; its header describes no exposure")
    try:
        with offline():
            return ObservationInfo.from_simple(dict(simple))
    except (KeyError, TypeError, ValueError) as error:
        raise TranslationError(f"the translated record is none: {error}") from error
